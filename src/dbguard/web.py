"""What a monitor may ask over HTTP: `/metrics` and `/healthz`. Read only; neither needs nor gives away a secret."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from dbguard.errors import ConfigError
from dbguard.health import Health
from dbguard.metrics import Metrics
from dbguard.pulse import TOO_OLD

_PATIENCE = 10.0
"""Seconds that one request may take, from connecting to the last byte of the answer."""
_MOST = 32
"""Connections at once; more are closed, so that nobody can use up the threads and files a backup needs."""

_Look = Callable[[], Health | None]

log = logging.getLogger(__name__)


def serve(listen: str, metrics: Metrics, health: _Look) -> WSGIServer:
    """Answers on `host:port` (without a host: on every IPv4 address) in the background, until the process ends.
    `health` gives the last look, None before the first. Raises ConfigError."""
    host, _, port = listen.rpartition(":")
    try:
        server = make_server(host, int(port), _Site(metrics, health), _Server, _Handler)
    except OSError as error:
        raise ConfigError(f"listen: {listen}: {error.strerror or error}") from error
    except (OverflowError, TypeError, ValueError) as error:  # a port above 65535; a host that cannot be a name
        raise ConfigError(f"listen: {listen}: {error}") from error
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    return server


def verdict(health: Health | None, now: datetime) -> dict[str, Any]:
    """What `/healthz` says. `healthy` is about the targets and the sidecar: one that does not look any more is not."""
    if health is None:
        return {"healthy": False, "reason": "dbguard has not looked yet"}
    fresh = abs(now - health.at) < TOO_OLD  # a look in the future: the clock was set back, and nobody looked since
    return {
        "healthy": health.healthy and fresh,
        **({} if fresh else {"reason": "dbguard has not looked for 5 minutes or more"}),
        "looked": f"{health.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "problems": dict(health.problems),
        "targets": {one.target: dict(one.problems) for one in health.targets if one.problems},
    }


class _Site:
    """The WSGI application."""

    def __init__(self, metrics: Metrics, health: _Look) -> None:
        self._health = health
        self._routes = {"/metrics": metrics.app, "/healthz": self._healthz}

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        route = self._routes.get(environ["PATH_INFO"])
        if route is None:
            return _answer(start, "404 Not Found", "there are /metrics and /healthz\n")
        if environ["REQUEST_METHOD"] != "GET":
            return _answer(start, "405 Method Not Allowed", "", ("Allow", "GET"))
        return route(environ, start)

    def _healthz(self, _: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        said = verdict(self._health(), datetime.now(UTC))
        if said["healthy"]:
            return _answer(start, "200 OK", "ok\n")
        body = json.dumps(said, indent=2) + "\n"
        return _answer(start, "503 Service Unavailable", body, ("Content-Type", "application/json"))


def _answer(start: StartResponse, status: str, body: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    start(status, [*({"Content-Type": "text/plain; charset=utf-8"} | dict(headers)).items()])
    return [body.encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = _MOST
    allow_reuse_port = False  # a taken port is an error

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._places = threading.BoundedSemaphore(_MOST)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """As the parent's, without asking the DNS for this machine's full name: that can take half a minute."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def process_request_thread(self, request: Any, client_address: object) -> None:  # noqa: ANN401 — the parent's own
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request was not answered")


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        super().setup()
        self._deadline = threading.Timer(_PATIENCE, _hang_up, [self.connection])
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        self._deadline.cancel()
        super().finish()

    def log_message(self, *_: object) -> None:
        """No access log."""

    def get_stderr(self) -> Any:  # noqa: ANN401 — the parent's own
        """Where an error inside the application goes; the client is told nothing of it."""
        return _ToLog()


class _ToLog(io.StringIO):
    def flush(self) -> None:
        if text := self.getvalue():
            log.error("a request was not answered: %s", text)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it has gone already
        connection.shutdown(socket.SHUT_RDWR)
