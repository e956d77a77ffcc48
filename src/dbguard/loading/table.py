"""One table on its way into a server, and who of several sessions gets its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dbguard.loading.indexes import without_indexes
from dbguard.sql import quoted

_LARGE = 2 << 20
"""Bytes of rows from which on a table is worth more than one session, and an index is better built afterwards."""


class Fence(Protocol):
    """See session.Fence."""

    @property
    def passed(self) -> bool: ...


class Session(Protocol):
    """See session.LoadSession."""

    def put(self, sql: bytes, what: str = "") -> None: ...

    def fence(self, delimiter: bytes) -> Fence: ...

    @property
    def backlog(self) -> tuple[bool, int]: ...


def least_busy(sessions: Sequence[Session]) -> Session:
    return min(sessions, key=lambda session: session.backlog)


class LoadedTable:
    """Belongs to one session. Nothing is sent until it is known whether the table is large: then all may help, and its
    indexes come afterwards."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.session = least_busy(sessions)
        self.name = ""
        self.helped = False  # others have rows of it too
        self._all = sessions
        self._create = b""
        self._what = ""
        self._held: list[tuple[bytes, str]] | None = []
        self._size = 0
        self._now: Session | None = None  # who gets the statement that has begun
        self._made: Fence | None = None
        self._indexes: list[bytes] = []

    @property
    def transactional(self) -> bool:
        return b"ENGINE=InnoDB" in self._create

    def created(self, name: str, create: bytes, what: str) -> None:
        self.name, self._create, self._what = name, create, what
        self.put(create, what)

    def put(self, sql: bytes, what: str = "") -> None:
        """For its own session."""
        if self._held is not None:
            self._held.append((sql, what))
        else:
            self.session.put(sql, what)

    def rows(self, sql: bytes, what: str, delimiter: bytes) -> None:
        """A piece of an INSERT; the last one ends the line."""
        self._size += len(sql)
        ended = sql.endswith(b";\n")
        if self._held is not None:
            self._held.append((sql, what))
            if self._size >= _LARGE and (ended or self._size >= 2 * _LARGE):
                self.send(delimiter, indexes_later=self.transactional)
                self._now = None if ended else self.session
            return
        if self._now is None:
            shared = self.transactional and self._made is not None and self._made.passed
            self._now = least_busy(self._all) if shared else self.session
            self.helped = self.helped or self._now is not self.session
        self._now.put(sql, what)
        if ended:
            self._now = None

    def send(self, delimiter: bytes, *, indexes_later: bool = False) -> Fence | None:
        """What was held back. The fence is passed when the table is there."""
        held, self._held = self._held or [], None
        split = without_indexes(self._create) if indexes_later else None
        for sql, what in held:
            bare, self._indexes = split if split and sql is self._create else (sql, self._indexes)
            self.session.put(bare, what)
            if sql is self._create:
                self._made = self.session.fence(delimiter)
        return self._made

    def end_of_rows(self, delimiter: bytes) -> None:
        """When no session has any rows of it before it. What comes next for the table goes to its own session."""
        if self._held is not None:
            self.send(delimiter)
        if self._indexes:
            additions = b", ".join(b"ADD " + index for index in self._indexes)
            name = quoted(self.name).encode()
            self.session.put(b"ALTER TABLE %s %s%s\n" % (name, additions, delimiter), self._what)
            self.session.fence(delimiter)  # until then it is busy
            self._indexes = []
