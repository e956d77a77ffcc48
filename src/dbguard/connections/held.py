"""What both ways have in common: a program in the container that carries one session, and how such a session ends."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import DbguardError, QueryFailed, SessionLost
from dbguard.model import Login, Target
from dbguard.process import Process
from dbguard.sql import Row

OPENING = 20.0
_ENDING = 5.0
"""Seconds for what should take a fraction of one."""
_SESSION_ENDED = {1053, 1152, 1184, 1927, 3169, 4031, *range(2000, 3000)}
"""Server shutdown, aborted (1152, 1184), killed (MariaDB, MySQL), idle for too long; from 2000 on a client lost it."""
_GUARD = r"""
read -r number
case $number in '' | *[!0-9]*) exit 0 ;; esac
echo
read -r _ || printf 'KILL %s;\n' "$number" | "$@"
"""
"""A server at work, or waiting for a lock, does not look whether its client is there: MySQL 9.7 was seen to wait with
FLUSH TABLES WITH READ LOCK for a dead one, and everybody else behind it. So a line cut without a word is a KILL. The
login is read then; a session that has ended is not killed, for another may have its number by now."""


class Line:
    """A program in the container that runs while it is fed. Its stdin and stdout are what `socket` leads to."""

    def __init__(self, containers: Containers, container: str, command: Command) -> None:
        self.said: deque[str] = deque(maxlen=100)
        process = containers.start(container, command, stall=_ENDING)
        process.on_message = self.said.append
        self.socket, far = socket.socketpair()
        self._thread = threading.Thread(target=_carry, args=[process, far], name="connection", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self, seconds: float = _ENDING) -> str:
        """Waits for the program's end. What it said on stderr."""
        self._thread.join(max(seconds, 0.0))
        return "\n".join(self.said)


class Held(ABC):
    """A session behind a program in the container, and the guard that ends it should we not come to that."""

    way: str
    _ends_with_any_error = False

    def __init__(self, containers: Containers, target: Target, argv: tuple[str, ...], login: Login) -> None:
        self.number = 0
        self._why_over: str | None = None
        self._busy = False
        client = ENGINES[target.server.engine].client(target.programs.client, target.server.socket)
        guard = Command(argv=("sh", "-c", _GUARD, "guard", *client), login=target.login, feed=True)
        self._line = Line(containers, target.container.id, Command(argv=argv, login=login, feed=True))
        self._guard = Line(containers, target.container.id, guard)

    def query(self, statement: str, *, timeout: float = 60.0) -> list[Row]:
        """See Connection."""
        if self._busy:
            self._end("the statement before was interrupted")
        if self._line.ended:
            self._end(f"the session has ended by itself {self._line.end()}".strip())
        if self._why_over is not None:
            raise SessionLost(self._why_over)
        self._busy = True
        try:
            rows = self._ask(statement, time.monotonic() + timeout)
        except TimeoutError as error:
            self._end(f"no answer within {timeout:g} seconds")
            raise SessionLost(f"no answer within {timeout:g} seconds") from error
        except QueryFailed as error:
            lost = isinstance(error, SessionLost)
            self._busy = lost and error.number is None  # the line was cut: only the server knows what it does now
            if lost or self._ends_with_any_error:
                self._end(str(error))
            raise
        self._busy = False
        return rows

    def close(self) -> None:
        """See Connection."""
        self._end("the session was closed")
        deadline = time.monotonic() + _ENDING
        for line in (self._line, self._guard):
            line.end(deadline - time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, why: str) -> None:
        if self._why_over is not None:
            return
        self._why_over = why
        self._hang_up()
        with contextlib.suppress(OSError):
            self._guard.socket.sendall(b"" if self._busy else b"it has ended\n")
        self._guard.socket.close()
        self._busy = False

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """Whatever goes wrong in here leaves nothing open. When all went well the session has its guard."""
        try:
            yield
            self._watch()
        except (TimeoutError, SessionLost) as error:
            self.close()
            raise SessionLost(f"no session: {str(error) or 'no answer'} {self._line.end()}".strip()) from error
        except BaseException:
            self.close()
            raise

    def _watch(self) -> None:
        """Without the guard in its place nothing may be held."""
        guard = self._guard.socket
        guard.settimeout(OPENING)
        with contextlib.suppress(ConnectionError):
            guard.sendall(f"{self.number}\n".encode())
            if guard.recv(1):
                return
        raise SessionLost(f"no guard for the session: {self._guard.end()}")

    @abstractmethod
    def _ask(self, statement: str, deadline: float) -> list[Row]:
        """Raises TimeoutError, QueryFailed, or SessionLost."""

    def _hang_up(self) -> None:
        self._line.socket.close()


def failure(number: int | None, words: str) -> QueryFailed:
    """As an error. Without a number they are not the server's."""
    lost = number is None or number in _SESSION_ENDED
    return (SessionLost if lost else QueryFailed)(words, number=number)


def left(deadline: float) -> float:
    """Seconds, more than none. Raises TimeoutError."""
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _carry(process: Process, far: socket.socket) -> None:
    with contextlib.suppress(DbguardError), far, process:  # what the program said tells more
        process.carry(far)
