"""What dbguard asks of a kind of database, and the table of the kinds it knows.

Adding one is a file here and a line in ENGINES; tests/contract/test_engine.py then runs over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dbguard.archive import Database, Marker, ObjectKind, Table
from dbguard.engines.mariadb import MariaDB
from dbguard.engines.mysql import MySQL
from dbguard.engines.words import DdlGuard
from dbguard.model import Server


class Engine(Protocol):
    """Speaks a database's language. Does no I/O: what it returns is argv, SQL, or a judgement."""

    name: str
    identity_file: str
    """In the data directory: made with it and never changed, so it tells this volume from any other."""

    tables_by_id: str
    """A query (name, number): a table that is emptied, rebuilt or renamed has another number under its name."""

    writers: str
    """A query that finds whoever is in the middle of a transaction that writes; empty where there is none."""
    nowait: str
    """Behind LOCK TABLES, so that it gives up at once instead of waiting; empty where there is none."""

    def identity(self, data: bytes) -> str:
        """Reads it; empty when it is not what it should be."""
        ...

    def dump(
        self, program: str, server: Server, databases: Sequence[Database], skip: Sequence[tuple[str, str]]
    ) -> tuple[str, ...]:
        """argv that writes `databases`, in one consistent snapshot, without the views in `skip` (database, view)."""
        ...

    def client(self, program: str, socket: str) -> tuple[str, ...]:
        """argv that runs the statements on its stdin and stops at the first error."""
        ...

    def known_message(self, line: str) -> bool:
        """True when this line on a dump's stderr means no harm. Anything else fails the backup."""
        ...

    def obstacle(self, server: Server, kind: ObjectKind, text: str, sql_mode: str) -> str | None:
        """Why a routine, trigger or event with this text, made under this sql_mode, cannot be dumped and loaded
        again; None when it can."""
        ...

    def exact_privileges(self, server: Server) -> frozenset[str]:
        """On *.*, for a backup that knows its position and during which nobody changes tables."""
        ...

    def ddl_guard(self, server: Server) -> DdlGuard | None:
        """How to keep tables from being changed; None when this version has no way."""
        ...

    def position(self, server: Server) -> tuple[str, ...]:
        """Statements that tell the write position of this instant, for `marker` to read; none for an account that may
        not ask."""
        ...

    def marker(self, answers: Sequence[Sequence[Sequence[str]]]) -> Marker:
        """The position; empty where nothing is logged."""
        ...

    def log_status(self, server: Server) -> str:
        """A statement: file and offset of the binary log, the databases it is limited to, those left out of it."""
        ...

    def replica_status(self, server: Server) -> str:
        """A statement with a row for each server that this one follows."""
        ...

    def rows_of(self, server: Server, table: Table) -> str:
        """SQL behind the table's name, so that all rows are counted that a dump holds."""
        ...


ENGINES: dict[str, Engine] = {engine.name: engine for engine in (MySQL(), MariaDB())}


def engine_of(version: str) -> Engine:
    """By the server's own version text: MySQL numbers its releases by year now, so a number tells nothing."""
    return ENGINES["mariadb" if "mariadb" in version.lower() else "mysql"]
