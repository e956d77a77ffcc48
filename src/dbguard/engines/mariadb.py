"""MariaDB: how it differs from MySQL."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.archive import Database, ObjectKind
from dbguard.engines.mysql import MySQL, version_number
from dbguard.model import Server


class MariaDB(MySQL):
    """MariaDB 10.3 and newer. Its dump knows no GTID or statistics options: each would end it with code 2."""

    name = "mariadb"
    identity_file = "aria_log_control"

    def identity(self, data: bytes) -> str:
        """The Aria log's UUID, for `@@server_uid` changes with the address and repeats between volumes.

        3 bytes of magic, 1 of version, 16 of UUID (storage/maria/ma_control_file.c).
        """
        return data[4:20].hex() if data.startswith(b"\xfe\xfe") and len(data) >= 20 else ""

    def client(self, program: str, socket: str) -> tuple[str, ...]:
        """Without the last option the failing statement itself, a megabyte of somebody's rows, is on stderr."""
        return (*super().client(program, socket), "--loose-skip-print-query-on-error")

    def obstacle(self, server: Server, kind: ObjectKind, text: str, sql_mode: str) -> str | None:
        """Of MySQL's two faults only the first; seen in 10.11.18, and mended in 11.8.9."""
        del sql_mode
        if kind == "event" and ";;" in text and version_number(server.version) < (11, 8):
            return "its text holds ';;'"
        return None

    def _own_options(self, server: Server, databases: Sequence[Database]) -> tuple[str, ...]:
        """`--dump-history` writes the old rows of system-versioned tables, else lost in silence. Without LOCK TABLES:
        behind it the rows of a table do not load whose column defaults to a sequence's next value."""
        versioned = any(table.kind == "SYSTEM VERSIONED" for database in databases for table in database.tables)
        history = ("--dump-history",) if versioned and version_number(server.version) >= (10, 11) else ()
        return ("--skip-add-locks", *history)
