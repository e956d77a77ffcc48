# The sidecar. Needs BuildKit: `docker compose build`, or `docker build .`.
#
# Behind a package mirror or a certificate authority of your own, pass the pip configuration as secret `pip_conf` and
# the bundle of certificates as secret `ca`. Neither ends up in the image.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

# Dependencies first: they change less often than the source.
COPY requirements.lock .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt,required=false \
    python3 -m pip install "hatchling>=1.26" \
 && python3 -m venv --without-pip /opt/dbguard \
 && python3 -m pip --python /opt/dbguard install --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN python3 -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels /source \
 && python3 -m pip --python /opt/dbguard install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="dbguard" \
      org.opencontainers.image.description="Backs up MySQL and MariaDB in Docker Compose stacks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      dbguard.role="sidecar"
COPY --from=build /opt/dbguard /opt/dbguard
ENV PATH=/opt/dbguard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DBGUARD_STORAGE=file:///backups
# Root: whoever may use the engine's socket is root on the host anyway.
ENTRYPOINT ["dbguard"]
CMD ["run"]
