"""MySQL: how it is dumped and loaded, by its own programs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dbguard.archive import Database, ObjectKind
from dbguard.command import OPTION_FILE
from dbguard.errors import UsageError
from dbguard.model import Server
from dbguard.sqldump import ends_in_comment

_HARMLESS = re.compile(
    r"-- |.*Deprecated program name|.*\[Warning\].*deprecated|"
    r".*SELECT command denied .* when trying to dump masking policies",  # of an account that sees only its databases
    re.IGNORECASE,
)


class MySQL:
    """MySQL 5.7, 8.x, 9.x and the releases numbered by year."""

    name = "mysql"
    identity_file = "auto.cnf"

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

    def _own_options(self, server: Server, databases: Sequence[Database]) -> tuple[str, ...]:
        del databases
        statistics = ("--column-statistics=0",) if version_number(server.version) >= (8, 0) else ()
        return ("--set-gtid-purged=OFF", *statistics)


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
