"""The statements of a dump, shared out to several sessions.

What is done is what one session would do. Rows of a table know nothing of each other, and tables nothing of other
tables: so a table goes to one session, and when it turns out to be large, its INSERTs go to all. What sets a session up
(SET, USE, DELIMITER) goes to every session, in order. All else (views, routines, events) is done by the first session
alone, when all have done what was before it. A statement that is none of these ends the sharing: the first session
does the rest, statement by statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dbguard.loading.indexes import referenced
from dbguard.loading.steps import step_of
from dbguard.loading.table import Fence, LoadedTable, Session
from dbguard.sql import quoted
from dbguard.sqldump import Piece


class Crew(Protocol):
    """See crew.LoadCrew."""

    @property
    def sessions(self) -> Sequence[Session]: ...

    def wait(self, fence: Fence) -> None: ...


class Sharing:
    """Give it every piece of a dump, then close it."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._all = crew.sessions
        self._first = crew.sessions[0]
        self._shared = len(self._all) > 1
        self._table: LoadedTable | None = None
        self._alone = False  # the first session has something to do that others may need
        self._parents: set[bytes] = set()  # of foreign keys
        self._delimiter = b";"

    def take(self, piece: Piece, sql: bytes, what: str) -> None:
        """`sql` is what is to be done of this piece, `what` the object it belongs to."""
        if not self._shared:
            self._first.put(sql, what)
            return
        table = self._table
        match step_of(piece):
            case "nothing" | "lock":
                pass
            case "session" | "delimiter" | "use" as step:
                self._set_up(step, sql)
            case "drop":
                self._open().put(sql)
            case "table":
                self._create(piece, sql, what)
            case "rows" if table is not None and piece.object == ("table", table.name):
                table.rows(sql, what, self._delimiter)
            case "keys" | "trigger" as step if table is not None:
                self._add(table, step, sql, what)
            case step:
                self._do_alone(sql, what)
                self._shared = step not in {"rows", "keys", "unknown"}

    def close(self) -> None:
        """The last fence of each session: when all are passed, all is done."""
        self._close_table()
        for session in self._all:
            session.fence(self._delimiter)

    def _set_up(self, step: str, sql: bytes) -> None:
        if step == "use":
            self._close_table()
            self._part()
        if step == "delimiter":
            self._delimiter = sql.split()[1]
        for session in self._all:
            if self._table is not None and session is self._table.session:
                self._table.put(sql)
            else:
                session.put(sql)

    def _open(self) -> LoadedTable:
        self._close_table()
        self._part()
        self._table = LoadedTable(self._all)
        return self._table

    def _create(self, piece: Piece, sql: bytes, what: str) -> None:
        """Two ends of a foreign key that are made at the same time may deadlock, and want their indexes at once."""
        table = self._table if self._table is not None and not self._table.name else self._open()
        name = piece.object[1] if piece.object else ""
        parents = {parent.lower() for parent in referenced(sql)}
        self._parents |= parents
        tied = bool(parents) or quoted(name).lower().encode() in self._parents
        if tied:
            self._wait_for_all()
        table.created(name, sql, what)
        if tied and (made := table.send(self._delimiter)):
            self._crew.wait(made)

    def _add(self, table: LoadedTable, step: str, sql: bytes, what: str) -> None:
        if (
            step == "trigger" or b"ENABLE KEYS" in sql
        ):  # before what is set for a trigger; and none fires for these rows
            self._end_of_rows(table)
        if step == "trigger" or not table.transactional:  # InnoDB knows no DISABLE KEYS
            table.put(sql, what)

    def _end_of_rows(self, table: LoadedTable) -> None:
        if table.helped:
            self._wait_for_all()
            table.helped = False
        table.end_of_rows(self._delimiter)

    def _close_table(self) -> None:
        if self._table is not None:
            self._end_of_rows(self._table)
            self._table = None

    def _do_alone(self, sql: bytes, what: str) -> None:
        self._close_table()
        if not self._alone:
            self._wait_for_all()
            self._alone = True
        self._first.put(sql, what)

    def _part(self) -> None:
        """From here on the others go on too."""
        if self._alone:
            self._crew.wait(self._first.fence(self._delimiter))
            self._alone = False

    def _wait_for_all(self) -> None:
        for fence in [session.fence(self._delimiter) for session in self._all]:
            self._crew.wait(fence)
