"""The statements that make accounts: how they are written and read, and whom each is about."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dbguard.engines.mysql import version_number
from dbguard.errors import ArchiveDamaged
from dbguard.model import Server
from dbguard.sql import quoted

END = "-- accounts completed\n"
PUBLIC = "PUBLIC"
CREATE_ROLE = "CREATE ROLE IF NOT EXISTS "
USAGE = "GRANT USAGE ON *.*"
ADMIN = " WITH ADMIN OPTION"
OPTION = " WITH GRANT OPTION"

QUOTED = r"'(?:[^'\\]|\\.|'')*+'|`(?:[^`]|``)*+`|\"(?:[^\"\\]|\\.|\"\")*+\""
NAME = r"`(?:[^`]|``)*+`(?:@`(?:[^`]|``)*+`)?"
STATEMENT = re.compile(rf"((?:{QUOTED}|[^'`\";])++);\n", re.DOTALL)
_HEAD = re.compile(r"(?:-- (?!accounts completed\n)[^\n]*\n)*")
CREATE = re.compile(rf"CREATE (?:USER|ROLE) IF NOT EXISTS ({NAME})")
GRANT = re.compile(rf"((?:{QUOTED}|[^'`\"])*?) (TO|FROM|FOR) ({NAME}|PUBLIC)( .*)?", re.DOTALL)
DYNAMIC = re.compile(r"GRANT ([A-Z_]+(?:,[A-Z_]+)+) ON")
DEFAULT_ROLE = re.compile(rf"({QUOTED})| DEFAULT ROLE {NAME}(?:, ?{NAME})*", re.DOTALL)
PLAIN_ROLE = re.compile(
    rf"CREATE USER IF NOT EXISTS ({NAME}) IDENTIFIED WITH '\w+' REQUIRE NONE PASSWORD EXPIRE ACCOUNT LOCK"
    r"(?: PASSWORD (?:HISTORY|REUSE INTERVAL|REQUIRE CURRENT) DEFAULT)*"
)
"""What MySQL shows of a role that nobody altered."""


def parsed(script: str) -> list[str]:
    """Its statements. Raises ArchiveDamaged when it is not whole."""
    head = _HEAD.match(script)
    at = head.end() if head else 0
    statements = []
    while match := STATEMENT.match(script, at):
        statements.append(match[1])
        at = match.end()
    if script[at:] != END:
        raise ArchiveDamaged("the script of the accounts is cut or damaged: nothing of it was loaded")
    return statements


def session_modes(server: Server, *, reading: bool = False) -> tuple[str, ...]:
    """How the session quotes; and that a GRANT never makes an account, which would have no password. MySQL 8 cannot
    do that any more. Hashes in hexadecimal: MySQL's are bytes that no text pipe carries unharmed."""
    hexadecimal = reading and server.engine == "mysql" and version_number(server.version) >= (8, 0, 17)
    mode = "" if has_mysql_roles(server) else "NO_AUTO_CREATE_USER"
    asked = ("SET NAMES utf8mb4", f"SET SESSION sql_mode = '{mode}'", "SET SESSION sql_quote_show_create = 1")
    return (*asked, "SET SESSION print_identified_with_as_hex = ON") if hexadecimal else asked


def has_mysql_roles(server: Server) -> bool:
    return server.engine == "mysql" and version_number(server.version) >= (8, 0)


def named(user: str, host: str) -> str:
    return f"{quoted(user)}@{quoted(host)}"


def named_or_role(user: str, host: str = "") -> str:
    """In MariaDB's tables what has no host is a role."""
    return named(user, host) if host else quoted(user)


def owner(statement: str) -> str:
    """The account that a statement makes or changes; empty when it is none of ours."""
    create = CREATE.match(statement)
    grant = None if create else GRANT.fullmatch(statement)
    return create[1] if create else grant[3] if grant else ""


def creations(statements: Iterable[str]) -> list[str]:
    """The accounts that they make."""
    return [match[1] for match in map(CREATE.match, statements) if match]


def displayed(name: str) -> str:
    """As the servers' own messages have it."""
    return "@".join(f"'{part[1:-1].replace('``', '`')}'" for part in re.findall(QUOTED, name)) or name


def bare(text: str) -> str:
    """Without all that is quoted."""
    return re.sub(QUOTED, "", text, flags=re.DOTALL)
