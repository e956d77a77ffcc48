"""MariaDB: how it differs from MySQL."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.engines.mysql import MySQL, version_number
from dbguard.model import Database, Server


class MariaDB(MySQL):
    """MariaDB 10.3 and newer. Its dump knows no GTID or statistics options: each would end it with code 2."""

    name = "mariadb"
    identity_file = "aria_log_control"

    def identity(self, data: bytes) -> str:
        """The Aria log's UUID, for `@@server_uid` changes with the address and repeats between volumes.

        3 bytes of magic, 1 of version, 16 of UUID (storage/maria/ma_control_file.c).
        """
        return data[4:20].hex() if data.startswith(b"\xfe\xfe") and len(data) >= 20 else ""

    def hangs_on_double_delimiter(self, server: Server) -> bool:
        """Seen to hang in 10.11.18 and to be mended in 11.8.9."""
        return version_number(server.version) < (11, 8)

    def _own_options(self, server: Server, databases: Sequence[Database]) -> tuple[str, ...]:
        """`--dump-history` writes the old rows of system-versioned tables; without it they are lost in silence."""
        versioned = any(table.kind == "SYSTEM VERSIONED" for database in databases for table in database.tables)
        return ("--dump-history",) if versioned and version_number(server.version) >= (10, 11) else ()
