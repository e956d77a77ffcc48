# The sidecar. Needs BuildKit: `docker compose build`, or `docker build .`.
#
# Behind a package mirror or a certificate authority of your own, pass the pip configuration as secret `pip_conf` and
# the bundle of certificates as secret `ca`. Neither ends up in the image.
#
# The digest decides, the tag is there to be read: `docker buildx imagetools inspect python:3.13-slim` prints today's
# digest (that of the index, for all architectures); change both together.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# Dependencies first, and in a layer of their own: they change less often than the source. Only wheels, so that nothing
# is compiled here, under emulation least of all.
FROM ${PYTHON_IMAGE} AS dependencies
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY requirements.lock .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \
    python3 -m venv --without-pip /opt/dbguard \
 && python3 -m pip --python /opt/dbguard install --only-binary :all: --require-hashes --requirement requirements.lock

# The code alone, below /code: what changes with every release is then a layer of one megabyte.
FROM dependencies AS code
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \
    python3 -m pip install "hatchling>=1.26"
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN python3 -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels /source \
 && python3 -m pip --python /opt/dbguard install --no-deps --no-index --root /code /wheels/*.whl

FROM ${PYTHON_IMAGE}
# State is for every user that `user:` may name, as /tmp is. A new volume takes this mode over.
RUN ["install", "--directory", "--mode", "1777", "/var/lib/dbguard"]
COPY --from=dependencies /opt/dbguard /opt/dbguard
COPY --from=code /code /

# As in src/dbguard/__init__.py, which no instruction here can read; a test compares them.
ARG VERSION=0.1.0
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="dbguard" \
      org.opencontainers.image.description="Backs up MySQL and MariaDB in Docker Compose stacks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      dbguard.role="sidecar"
ENV PATH=/opt/dbguard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DBGUARD_STATE=/var/lib/dbguard \
    DBGUARD_STORAGE=file:///backups
# A volume even where nobody names one: Compose hands it on to the container that replaces this one, and it can be
# written below a read-only root.
VOLUME /var/lib/dbguard
# Root: whoever may use the engine's socket is root on the host anyway.
ENTRYPOINT ["dbguard"]
CMD ["run"]
# Unhealthy when a target's newest good backup is too old, not only when this process has died. Engine 25 and newer
# look every 5 s during the start period; asking for that in words is an error to older builders.
HEALTHCHECK --interval=1m --timeout=10s --start-period=5m CMD ["dbguard", "health"]
