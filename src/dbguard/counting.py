"""Rows counted in a session of its own, beside the dump and in the same snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dbguard.archive import TRANSACTIONAL, Database, Table
from dbguard.checksums import NEUTRAL, Columns, checksum, statement
from dbguard.connections import Connection
from dbguard.engines import ENGINES
from dbguard.errors import SessionLost
from dbguard.model import Server
from dbguard.sql import Row, quoted

_SAVEPOINT = "SAVEPOINT dbguard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """By database and table: rows, and checksums where asked for; `why_not` says why some are missing."""

    rows: Mapping[tuple[str, str], int]
    checksums: Mapping[tuple[str, str], str] = field(default_factory=dict)
    why_not: str = ""

    def of(self, databases: Sequence[Database]) -> tuple[Database, ...]:
        """The same databases with what is known of each table."""
        return tuple(replace(one, tables=tuple(self._of(one, table) for table in one.tables)) for one in databases)

    def _of(self, database: Database, table: Table) -> Table:
        key = database.name, table.name
        return replace(table, rows=self.rows.get(key), checksum=self.checksums.get(key))


def count(
    session: Connection, server: Server, databases: Sequence[Database], limit: float, columns: Columns | None = None
) -> Counts:
    """One table after the other, for `limit` seconds in all; with `columns` their checksums too. Raises SessionLost
    when the session ended before, and QueryFailed when a table cannot be read."""
    end = time.monotonic() + limit
    rows: dict[tuple[str, str], int] = {}
    checksums: dict[tuple[str, str], str] = {}
    if columns is not None:
        session.query(NEUTRAL)
    for key, source in _sources(server, databases):
        left = end - time.monotonic()
        try:
            if left > 0:
                if columns is None:
                    rows[key] = int(_asked(session, f"SELECT COUNT(*) FROM {source}", left)[0])
                else:
                    found = _asked(session, statement(server, source, columns[key]), left)
                    rows[key], checksums[key] = checksum(found)
                continue
        except SessionLost:
            if time.monotonic() < end:
                raise
        why_not = f"not all rows were counted within {limit:g} seconds"
        return Counts(rows=rows, checksums=checksums, why_not=why_not)
    return Counts(rows=rows, checksums=checksums)


def _asked(session: Connection, question: str, timeout: float) -> Row:
    """Without the way back to the savepoint the table's metadata lock stays, as long as the snapshot: who wants to
    change the table waits, and behind him all who want to use it."""
    session.query(_SAVEPOINT)
    [row] = session.query(question, timeout=timeout)
    session.query(f"ROLLBACK TO {_SAVEPOINT}")
    return row


def _sources(server: Server, databases: Sequence[Database]) -> Iterator[tuple[tuple[str, str], str]]:
    rows_of = ENGINES[server.engine].rows_of
    for database in databases:
        for table in database.tables:
            if (table.engine or "").lower() in TRANSACTIONAL:  # the others are in no snapshot
                name = f"{quoted(database.name)}.{quoted(table.name)}"
                yield (database.name, table.name), name + rows_of(server, table)
