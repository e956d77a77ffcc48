"""What the engine answers, in our words."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import docker
import requests

from dbguard.errors import CallRefused, EngineUnavailable, ExecFailed, NotFound


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """The engine's errors in our words."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFound(f"{what}: not found") from error
    except docker.errors.APIError as error:
        if error.response is not None and error.response.status_code == 409:
            raise ExecFailed(f"{what}: {error.explanation}") from error
        said = f"{what}: the engine answered {error.explanation or error}"
        if error.response is not None and error.response.status_code == 403:
            hint = "a socket proxy refused it: docs/socket-proxies.md lists what each job asks"
            raise CallRefused(said, hint=hint) from error
        raise EngineUnavailable(said) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineUnavailable(
            f"the Docker Engine does not answer: {error}",
            hint="is it running, and may this user open its socket? `docker info` must work",
        ) from error


def own_socket(stream: Any) -> socket.socket:  # noqa: ANN401 — docker-py has no type for it
    """The connection under docker-py's stream, ours alone: closing it closes it. The script in the container says
    nothing before it has read its first line, so no byte can already sit in the HTTP client's buffer."""
    if stream._response.status_code != 101:
        stream._response.close()
        raise EngineUnavailable(
            "something between dbguard and the engine took the stream of a program for an answer of its own: it "
            "cannot carry a backup",
            hint="a socket proxy must let `Upgrade: tcp` through, as HAProxy 3.2 does: docs/socket-proxies.md",
        )
    raw = getattr(stream, "_sock", stream)
    if isinstance(raw, ssl.SSLSocket) or not isinstance(raw, socket.socket):
        raise EngineUnavailable(
            "this connection to the engine cannot carry a backup: TLS and ssh cannot close one direction",
            hint="run dbguard on the docker host, or as the sidecar there",
        )
    own = raw.dup()
    stream._response.close()
    stream.close()
    return own
