"""The gate in front of a dump: nobody writes while its snapshot is opened, so that its write position is known.

No FLUSH TABLES WITH READ LOCK: behind a long SELECT it makes every writer wait, even after its own timeout. LOCK
TABLES … READ waits for the transactions that write, and for nobody who reads; measured on MySQL 9.7.4 and MariaDB
10.11.18 and 11.8.9, it is not had while one of them is open.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Literal, Self

from dbguard import sql
from dbguard.archive import WITHOUT_DATA, Database, Marker
from dbguard.connections import LOCK_WAIT_TIMEOUT, YEAR, Connection, Sessions
from dbguard.engines import ENGINES
from dbguard.errors import QueryFailed, SessionLost
from dbguard.model import Target

CALM = 1.0
"""Seconds in which a moment is sought when nobody is in the middle of writing."""
LOCK_WAIT = 1
"""Seconds that the tables are waited for after that; who wants to write queues behind."""
HOLD = 2.0
"""Seconds that they are locked at most: what a dump may take to begin."""
MOST_TABLES = 2000
"""More are not locked: opening them takes longer than LOCK_WAIT (5,000 took 1.6 to 3.5 s)."""
_PATIENCE = 0.0005
"""Seconds for each table, and for a hundred more, that a lock may take in a calm moment."""
_PAUSES = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each try."""
_DENIED = {1044, 1142, 1227}
_SNAPSHOT_IS_OPEN = "-- Setting savepoint"
"""What a dump program says, with --verbose, once START TRANSACTION WITH CONSISTENT SNAPSHOT has returned."""

Mode = Literal["auto", "gentle", "never"]


class Gate:
    """A context manager, for one dump. `marker` is the position of the dump's snapshot, and `counting` a session that
    sees the same; both are None where `why_not` says why not."""

    def __init__(self, sessions: Sessions, target: Target, databases: Sequence[Database], mode: Mode) -> None:
        self.why_not = "the dump has not begun"
        self._mode = mode
        self._sessions = sessions
        self._target = target
        self._engine = ENGINES[target.server.engine]
        self._counting: Connection | None = None
        self._locking: Connection | None = None
        self._marker: Marker | None = None
        self._turn = threading.Lock()
        self._timer = threading.Timer(0, lambda: None)
        self._tables = [
            f"{sql.quoted(database.name)}.{sql.quoted(table.name)} READ"
            for database in databases
            for table in database.tables
            if (table.engine or "").lower() not in WITHOUT_DATA
        ]

    @property
    def marker(self) -> Marker | None:
        return None if self.why_not else self._marker

    @property
    def counting(self) -> Connection | None:
        return None if self.why_not else self._counting

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._give_up("the dump ended before its snapshot was open")
        if self._counting is not None:
            self._counting.close()

    def close(self) -> None:
        """Nobody writes from here on, for HOLD seconds at most. Or `why_not` says why that was not to be had."""
        if self._mode == "never":
            self.why_not = "gate is `never`"
            return
        if len(self._tables) > MOST_TABLES:
            self.why_not = f"more than {MOST_TABLES} tables are not locked at once"
            return
        self._counting = counting = self._sessions.open()
        counting.query(f"SET SESSION wait_timeout = {YEAR}")
        counting.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            if self._gently(counting) or (self._mode == "auto" and self._firmly(counting)):
                return
        except QueryFailed as error:
            if error.number not in _DENIED:
                raise
            self.why_not = str(error)
            return
        self.why_not = "others were writing all the time: the tables could not be locked"

    def hear(self, message: str) -> None:
        """What the dump says. At the word that its snapshot is open, the others may write again: it began behind the
        closed gate, which is still closed. Raises SessionLost when it is not."""
        if not message.startswith(_SNAPSHOT_IS_OPEN):
            return
        with self._turn:
            if self._locking is not None:
                self._timer.cancel()
                self._open(self._locking, "")

    def _gently(self, counting: Connection) -> bool:
        """In a moment when nobody holds what the lock would have to wait for. A lock that waits while it has other
        tables already makes the server end transactions of others that want those (1213, measured on all kinds)."""
        end = time.monotonic() + CALM
        while time.monotonic() < end:
            if self._closed(counting, gentle_until=end):
                return True
        return False

    def _firmly(self, counting: Connection) -> bool:
        for pause in _PAUSES:
            time.sleep(pause)
            if self._closed(counting):
                return True
        return False

    def _is_calm(self, locking: Connection, end: float) -> bool:
        if not self._engine.writers or "SELECT" not in self._target.server.privileges:
            return True
        while locking.query(self._engine.writers):
            if time.monotonic() >= end:
                return False
            time.sleep(0.002)
        return True

    def _closed(self, counting: Connection, *, gentle_until: float | None = None) -> bool:
        """Raises QueryFailed when something else than a lock is in the way."""
        counting.query("DO 0")  # when that one is lost, nothing is to be had
        locking = self._sessions.open()
        nowait, patience = "", LOCK_WAIT + 0.5
        if gentle_until is not None:
            nowait, patience = self._engine.nowait, _PATIENCE * (100 + len(self._tables))
        try:
            locking.query(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}, innodb_lock_wait_timeout = {LOCK_WAIT}")
            if gentle_until is not None and not self._is_calm(locking, gentle_until):
                locking.close()
                return False
            if self._tables:
                locking.query(f"LOCK TABLES {', '.join(self._tables)}{nowait}", timeout=patience)
            self._look(locking, counting, time.monotonic() + HOLD)
        except QueryFailed as error:
            locking.close()
            if isinstance(error, SessionLost) or error.number == LOCK_WAIT_TIMEOUT:
                return False
            raise
        return True

    def _look(self, locking: Connection, counting: Connection, end: float) -> None:
        """Notes the position, and opens the snapshot that is counted in."""
        statements = self._engine.position(self._target.server)
        answers = [locking.query(statement, timeout=_left(end)) for statement in statements]
        counting.query("START TRANSACTION WITH CONSISTENT SNAPSHOT", timeout=_left(end))
        self._marker = self._engine.marker(answers) if answers else None
        self._locking = locking
        self._timer = threading.Timer(_left(end), self._give_up, [f"the dump took longer than {HOLD:g} s to begin"])
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self, why_not: str) -> None:
        with self._turn, contextlib.suppress(QueryFailed):
            if self._locking is not None:
                self._open(self._locking, why_not)

    def _open(self, locking: Connection, why_not: str) -> None:
        """Only with the turn, and once. Raises SessionLost."""
        self._locking = None
        self.why_not = why_not
        with locking:
            locking.query("UNLOCK TABLES", timeout=HOLD)


def _left(end: float) -> float:
    return max(end - time.monotonic(), 0.1)
