"""MariaDB: how it differs from MySQL."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.archive import Database, Marker, ObjectKind, Table
from dbguard.engines.mysql import MySQL, version_number
from dbguard.engines.words import DdlGuard
from dbguard.model import Server

_NOT_TRANSACTIONAL = (
    "SELECT table_name FROM information_schema.tables WHERE table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'TEMPORARY') "
    "AND engine NOT IN ('InnoDB', 'ROCKSDB', 'SEQUENCE') "
    "AND table_schema NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') LIMIT 1"
)
_OVERTAKEN = (
    "SELECT 1 FROM information_schema.processlist mover JOIN information_schema.processlist behind "
    "WHERE mover.state = 'Waiting for backup lock' AND mover.time_ms > {since} "
    "AND mover.info REGEXP '(?i)ALTER|INDEX|OPTIMIZE|REPAIR' "
    "AND behind.state = 'Waiting for table metadata lock' LIMIT 1"
)
"""Who writes into MyISAM waits for the backup lock too, and so does one who began to write into Aria while it was
taken; but nobody waits behind them for long."""
_VERSIONED = "SYSTEM VERSIONED"


class MariaDB(MySQL):
    """MariaDB 10.3 and newer. Its dump knows no GTID or statistics options: each would end it with code 2."""

    name = "mariadb"
    identity_file = "aria_log_control"
    nowait = " NOWAIT"
    writers = ""
    tables_by_id = "SELECT name, table_id FROM information_schema.innodb_sys_tables"

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

    def exact_privileges(self, server: Server) -> frozenset[str]:
        position = "BINLOG MONITOR" if version_number(server.version) >= (10, 5) else "REPLICATION CLIENT"
        return frozenset({"RELOAD", "LOCK TABLES", "PROCESS", position})

    def ddl_guard(self, server: Server) -> DdlGuard | None:
        """The same as the first two stages of its own backup. Measured on 10.11.18 and 11.8.9: rows of InnoDB are
        written and events run meanwhile, but who writes into MyISAM waits for the end. It does not wait for an ALTER
        that is copying its table: when that has ended it waits for us, its table locked, and the dump waits for it."""
        if version_number(server.version) < (10, 4):
            return None
        return DdlGuard(
            lock=("BACKUP STAGE START", "BACKUP STAGE BLOCK_DDL"),
            privileges=("RELOAD", "PROCESS"),
            bystanders=_NOT_TRANSACTIONAL,
            harm="writes to tables that are not transactional would wait",
            overtaken=_OVERTAKEN,
        )

    def position(self, server: Server) -> tuple[str, ...]:
        if not {"BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"} & server.privileges:
            return ()
        return (
            self.log_status(server),
            "SELECT @@GLOBAL.gtid_binlog_pos",
            "SHOW GLOBAL STATUS LIKE 'innodb_lsn_current'",
        )

    def log_status(self, server: Server) -> str:
        del server
        return "SHOW MASTER STATUS"

    def replica_status(self, server: Server) -> str:
        del server
        return "SHOW ALL SLAVES STATUS"

    def marker(self, answers: Sequence[Sequence[Sequence[str]]]) -> Marker:
        status, gtid, lsn = answers
        file, offset = (status[0][0], int(status[0][1])) if status else (None, None)
        return Marker(gtid=gtid[0][0] or None, file=file, offset=offset, lsn=int(lsn[0][1]) if lsn else None)

    def rows_of(self, server: Server, table: Table) -> str:
        history = table.kind == _VERSIONED and _keeps_history(server)
        return " FOR SYSTEM_TIME ALL" if history else ""

    def _own_options(self, server: Server, databases: Sequence[Database]) -> tuple[str, ...]:
        """`--dump-history` writes the old rows of system-versioned tables, else lost in silence. Without LOCK TABLES:
        behind it the rows of a table do not load whose column defaults to a sequence's next value. `--master-data=2`
        makes the dump say, in a comment, which position in the binary log its snapshot has; with a snapshot it takes
        no lock for that (seen in the general log of 11.8.9)."""
        versioned = any(table.kind == _VERSIONED for database in databases for table in database.tables)
        history = ("--dump-history",) if versioned and _keeps_history(server) else ()
        allowed = {"RELOAD", "BINLOG MONITOR"} <= server.privileges
        says = ("--master-data=2",) if allowed and server.settings.get("log_bin") == "ON" else ()
        return ("--skip-add-locks", *history, *says)


def _keeps_history(server: Server) -> bool:
    return version_number(server.version) >= (10, 11)
