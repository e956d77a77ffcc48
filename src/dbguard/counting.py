"""Rows counted in a session of its own, beside the dump and in the same snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dbguard.archive import TRANSACTIONAL, Database, Table
from dbguard.connections import Connection
from dbguard.engines import ENGINES
from dbguard.errors import SessionLost
from dbguard.model import Server
from dbguard.sql import quoted

_SAVEPOINT = "SAVEPOINT dbguard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows by database and table; `why_not` says why some are missing."""

    rows: Mapping[tuple[str, str], int]
    why_not: str = ""

    def of(self, databases: Sequence[Database]) -> tuple[Database, ...]:
        """The same databases with the number of rows of each table, where it is known."""
        return tuple(replace(one, tables=tuple(self._of(one, table) for table in one.tables)) for one in databases)

    def _of(self, database: Database, table: Table) -> Table:
        return replace(table, rows=self.rows.get((database.name, table.name)))


def count(session: Connection, server: Server, databases: Sequence[Database], limit: float) -> Counts:
    """One table after the other, for `limit` seconds in all. Raises SessionLost when the session ended before, and
    QueryFailed when a table cannot be read."""
    end = time.monotonic() + limit
    rows: dict[tuple[str, str], int] = {}
    for key, source in _sources(server, databases):
        left = end - time.monotonic()
        try:
            if left > 0:
                rows[key] = _rows(session, source, left)
                continue
        except SessionLost:
            if time.monotonic() < end:
                raise
        return Counts(rows=rows, why_not=f"not all rows were counted within {limit:g} seconds")
    return Counts(rows=rows)


def _rows(session: Connection, source: str, timeout: float) -> int:
    """Without the way back to the savepoint the table's metadata lock stays, as long as the snapshot: who wants to
    change the table waits, and behind him all who want to use it."""
    session.query(_SAVEPOINT)
    count = session.query(f"SELECT COUNT(*) FROM {source}", timeout=timeout)
    session.query(f"ROLLBACK TO {_SAVEPOINT}")
    return int(count[0][0])


def _sources(server: Server, databases: Sequence[Database]) -> Iterator[tuple[tuple[str, str], str]]:
    rows_of = ENGINES[server.engine].rows_of
    for database in databases:
        for table in database.tables:
            if (table.engine or "").lower() in TRANSACTIONAL:  # the others are in no snapshot
                name = f"{quoted(database.name)}.{quoted(table.name)}"
                yield (database.name, table.name), name + rows_of(server, table)
