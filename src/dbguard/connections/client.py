"""A session by the database's own client, kept running in the container."""

from __future__ import annotations

import contextlib
import secrets
import time

from dbguard import sql
from dbguard.connections.held import OPENING, Held, failure, left
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.model import Target
from dbguard.sql import Row


class ClientConnection(Held):
    """It ends with the first error, for that is when the client ends."""

    way = "client"
    _ends_with_any_error = True

    def __init__(self, containers: Containers, target: Target) -> None:
        self.why_not_tunnel: str | None = None
        argv = ENGINES[target.server.engine].client(target.programs.client, target.server.socket)
        # a client that connects again in silence would go on without the locks
        super().__init__(containers, target, (*argv, "--unbuffered", "--skip-reconnect"), target.login)
        self._fence = f"fence-{secrets.token_hex(8)}"
        self._delimiter = f"${secrets.token_hex(5)}"  # 15 characters at most
        with self._opening():
            deadline = time.monotonic() + OPENING
            self._say(f"delimiter {self._delimiter}\nSELECT CONNECTION_ID()", deadline)
            self.number = int(self._heard(b"\n", deadline))

    def _ask(self, statement: str, deadline: float) -> list[Row]:
        self._say(f"{statement}\n{self._delimiter}\nSELECT '{self._fence}', CONNECTION_ID()", deadline)
        answer = sql.decoded(self._heard(f"{self._fence}\t{self.number}\n".encode(), deadline))
        return [sql.row(line) for line in answer.split("\n")[:-1]]

    def _say(self, statement: str, deadline: float) -> None:
        self._line.socket.settimeout(left(deadline))
        with contextlib.suppress(ConnectionError):  # it has ended: `_heard` finds out why
            self._line.socket.sendall(f"{statement}\n{self._delimiter}\n".encode())

    def _heard(self, end: bytes, deadline: float) -> bytes:
        """All that comes before `end`, which is the last that comes."""
        answer = bytearray()
        while not answer.endswith(end):
            self._line.socket.settimeout(left(deadline))
            with contextlib.suppress(ConnectionError):
                if data := self._line.socket.recv(1 << 18):
                    answer += data
                    continue
            raise failure(*sql.server_error(self._line.end() or "the client ended without a word"))
        return bytes(answer[: -len(end)])
