"""What one thread writes to a program that another thread looks after."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Self

_CHUNK = 256 << 10
_LIMIT = 4 << 20
"""Bytes that wait: who writes more waits himself."""


class Abandoned(Exception):
    """Nobody wants this program to go on."""


class Feed:
    """An iterator that never waits: None says that nothing is there yet. Readable, as select has it, when that has
    changed."""

    def __init__(self, *, owing: Callable[[], bool]) -> None:
        """`owing` says whether an answer is still to come: then silence is a fault."""
        self.owing = owing
        self._parts: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._asleep, self._over, self._abandoned, self._deaf = False, False, False, False
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self.size = 0  # bytes that wait

    def put(self, data: bytes) -> None:
        """Waits while too much is there. What comes after the reader's end is lost, as in a closed pipe."""
        with self._changed:
            self._changed.wait_for(lambda: self.size < _LIMIT or self._deaf)
            self._parts.append(data)
            self.size += len(data)
            self._wake()

    def close(self) -> None:
        """There will be no more."""
        with self._changed:
            self._over = True
            self._wake()

    def abandon(self) -> None:
        """The reader stops its program at once."""
        with self._changed:
            self._abandoned = self._asleep = True
            self._wake()

    def deaf(self) -> None:
        """Nobody reads any longer."""
        with self._changed:
            self._deaf = True
            self._changed.notify_all()
            self._bell.close()
            self._ear.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes | None:
        with self._changed:
            taken = []
            size = 0
            while self._parts and size < _CHUNK:
                taken.append(self._parts.popleft())
                size += len(taken[-1])
            if taken:
                self.size -= size
                self._changed.notify_all()
                return b"".join(taken)
            if self._over:
                raise StopIteration
            self._asleep = True
            return None

    def fileno(self) -> int:
        return self._ear.fileno()

    def woken(self) -> None:
        """To be called when it is readable. Raises Abandoned."""
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(16)
        if self._abandoned:
            raise Abandoned

    def _wake(self) -> None:
        if self._asleep and not self._deaf:
            self._asleep = False
            self._bell.send(b"\0")
