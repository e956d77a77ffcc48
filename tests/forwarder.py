"""What stands in front of the engine's socket in a test: every byte passes both ways, and somebody looks on."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Protocol


class Connection(Protocol):
    """Passes on what one connection carries, until its ends are closed."""

    def requests(self) -> None:
        """Client to engine."""

    def answers(self) -> None:
        """Engine to client."""


class Forwarder:
    """Listens on a socket of its own: give `host` to dbguard as DOCKER_HOST."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.socket = folder / "engine.sock"
        self.host = f"unix://{self.socket}"
        self._upstream = upstream
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def connection(self, client: socket.socket, engine: socket.socket) -> Connection:
        raise NotImplementedError

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self._upstream)
                threading.Thread(target=self._serve, args=[client, engine], daemon=True).start()

    def _serve(self, client: socket.socket, engine: socket.socket) -> None:
        connection = self.connection(client, engine)
        with client, engine:
            other = threading.Thread(target=connection.requests, daemon=True)
            other.start()
            connection.answers()
            other.join()
