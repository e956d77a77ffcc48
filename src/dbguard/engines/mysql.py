"""MySQL: how it is dumped and loaded, by its own programs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from dbguard.archive import Database, Marker, ObjectKind, Table
from dbguard.command import OPTION_FILE
from dbguard.engines.words import DdlGuard
from dbguard.errors import UsageError
from dbguard.model import Server
from dbguard.sqldump import ends_in_comment

_HARMLESS = re.compile(
    r"-- |.*Deprecated program name|.*\[Warning\].*deprecated|"
    r".*SELECT command denied .* when trying to dump masking policies",  # of an account that sees only its databases
    re.IGNORECASE,
)


_LOOKS = ("LOCK TABLES", "PROCESS")
_EVENTS = (
    "SELECT event_name FROM information_schema.events "
    "WHERE status = 'ENABLED' AND @@GLOBAL.event_scheduler = 'ON' LIMIT 1"
)


class MySQL:
    """MySQL 5.7, 8.x, 9.x and the releases numbered by year."""

    name = "mysql"
    identity_file = "auto.cnf"
    nowait = ""
    writers = (
        "SELECT 1 FROM performance_schema.metadata_locks WHERE object_type = 'TABLE' "
        "AND lock_type IN ('SHARED_WRITE', 'SHARED_WRITE_LOW_PRIO') "
        "AND object_schema NOT IN ('mysql', 'performance_schema', 'sys') LIMIT 1"
    )
    tables_by_id = "SELECT name, table_id FROM information_schema.innodb_tables"

    def identity(self, data: bytes) -> str:
        """`server-uuid=…` in auto.cnf, the same as @@server_uuid."""
        match = re.search(rb"^server-uuid=([0-9a-fA-F-]{36})\s*$", data, re.MULTILINE)
        return match.group(1).decode() if match else ""

    def dump(
        self, program: str, server: Server, databases: Sequence[Database], skip: Sequence[tuple[str, str]]
    ) -> tuple[str, ...]:
        """See engines.Engine.dump.

        `--set-gtid-purged=OFF` keeps the file free of statements that only an empty server accepts, and the
        program free of a global lock; `--hex-blob` makes values immune to character sets; events and routines
        are not in a dump by default (mysqldump manual, "Option Syntax").
        """
        return (
            program,
            OPTION_FILE,
            "--protocol=SOCKET",
            f"--socket={server.socket}",
            "--opt",
            "--single-transaction",
            "--verbose",
            "--routines",
            "--events",
            "--triggers",
            "--hex-blob",
            "--default-character-set=utf8mb4",
            "--tz-utc",
            "--no-tablespaces",
            "--max-allowed-packet=1G",
            *self._own_options(server, databases),
            *(_ignored(database, view) for database, view in skip),
            "--databases",
            "--",
            *(database.name for database in databases),
        )

    def client(self, program: str, socket: str) -> tuple[str, ...]:
        """See engines.Engine.client.

        `--binary-mode` keeps every byte of a string and switches client commands such as `\\!` off;
        `--comments` keeps the comments inside routines (mysql manual, "mysql Client Options").
        """
        return (
            program,
            OPTION_FILE,
            "--protocol=SOCKET",
            f"--socket={socket}",
            "--batch",
            "--skip-column-names",
            "--binary-mode",
            "--comments",
            "--max-allowed-packet=1G",
            "--default-character-set=utf8mb4",
        )

    def known_message(self, line: str) -> bool:
        return not line.strip() or _HARMLESS.match(line) is not None

    def obstacle(self, server: Server, kind: ObjectKind, text: str, sql_mode: str) -> str | None:
        """Two faults of mysqldump, measured on 9.7.4. Looking for a delimiter that an event's text lacks it counts
        up the wrong variable for ever (create_delimiter); and it writes the delimiter behind a last line comment,
        so that the comment swallows it: the load fails, or changes the routine without a word."""
        del server
        if kind == "event" and ";;" in text:
            return "its text holds ';;'"
        backslash = "NO_BACKSLASH_ESCAPES" not in sql_mode
        return "its text ends in a line comment" if ends_in_comment(text, backslash=backslash) else None

    def exact_privileges(self, server: Server) -> frozenset[str]:
        return frozenset(
            {"BACKUP_ADMIN" if version_number(server.version) >= (8, 0) else "REPLICATION CLIENT", *_LOOKS}
        )

    def ddl_guard(self, server: Server) -> DdlGuard | None:
        """LOCK INSTANCE FOR BACKUP lets rows be written and keeps tables and accounts as they are. Measured on 9.7.4:
        no event runs meanwhile, for each run notes its time in the data dictionary."""
        if version_number(server.version) < (8, 0):
            return None
        return DdlGuard(
            lock=("LOCK INSTANCE FOR BACKUP",),
            privileges=("BACKUP_ADMIN",),
            bystanders=_EVENTS,
            harm="events would not run",
        )

    def position(self, server: Server) -> tuple[str, ...]:
        """log_status has set, file, offset and LSN in one row, all of one instant."""
        if version_number(server.version) >= (8, 0) and "BACKUP_ADMIN" in server.privileges:
            return ("SELECT local, storage_engines FROM performance_schema.log_status",)
        if not {"REPLICATION CLIENT", "SUPER"} & server.privileges:
            return ()
        return (self.log_status(server),)

    def log_status(self, server: Server) -> str:
        """File and offset of the binary log, the databases it is limited to, and those left out."""
        return "SHOW MASTER STATUS" if version_number(server.version) < (8, 2) else "SHOW BINARY LOG STATUS"

    def replica_status(self, server: Server) -> str:
        """A row for each server that it follows."""
        return "SHOW SLAVE STATUS" if version_number(server.version) < (8, 0, 22) else "SHOW REPLICA STATUS"

    def marker(self, answers: Sequence[Sequence[Sequence[str]]]) -> Marker:
        rows = answers[0]
        if not rows:
            return Marker()
        if not rows[0][0].startswith("{"):
            file, offset, *_, gtid = rows[0]
            return Marker(gtid=_set(gtid), file=file, offset=int(offset))
        local, engines = (json.loads(text) for text in rows[0])
        offset = local.get("binary_log_position")
        return Marker(
            gtid=_set(local.get("gtid_executed", "")),
            file=local.get("binary_log_file") or None,
            offset=int(offset) if offset and local.get("binary_log_file") else None,
            lsn=engines.get("InnoDB", {}).get("LSN"),
        )

    def rows_of(self, server: Server, table: Table) -> str:
        """What stands behind a table's name where all the rows are meant that a dump holds."""
        del server, table
        return ""

    def _own_options(self, server: Server, databases: Sequence[Database]) -> tuple[str, ...]:
        del databases
        statistics = ("--column-statistics=0",) if version_number(server.version) >= (8, 0) else ()
        return ("--set-gtid-purged=OFF", *statistics)


def _set(gtid: str) -> str | None:
    """The servers write a set over several lines."""
    return gtid.replace("\n", "").replace(" ", "") or None


def version_number(version: str) -> tuple[int, ...]:
    """`11.8.6-MariaDB-ubu2404` → (11, 8, 6); an old `5.5.5-10.6.1-MariaDB` → (10, 6, 1)."""
    digits = re.match(r"\d+(?:\.\d+)*", version.removeprefix("5.5.5-"))
    return tuple(int(part) for part in digits.group().split(".")) if digits else ()


def _ignored(database: str, view: str) -> str:
    if "." in database:
        raise UsageError(
            f"the invalid view {database}.{view} cannot be left out: --ignore-table splits its name at the first dot",
            hint="repair or drop the view",
        )
    return f"--ignore-table={database}.{view}"
