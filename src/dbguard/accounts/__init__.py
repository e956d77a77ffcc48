"""Accounts, roles and grants of a server, as SQL that another server of its family loads.

They are read with SHOW CREATE USER and SHOW GRANTS; what those two leave out, blur or misquote (who is in a role,
which role is on at login, who may pose as whom) comes from the tables of `mysql`, which itself is never dumped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dbguard.accounts.reading import statements_of
from dbguard.accounts.statements import (
    ADMIN,
    CREATE,
    CREATE_ROLE,
    END,
    GRANT,
    creations,
    displayed,
    named,
    owner,
    parsed,
    session_modes,
)
from dbguard.errors import QueryFailed
from dbguard.model import Server
from dbguard.sql import Session

_DENIED = {1044, 1142, 1143, 1227}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Those of one server. The script holds password hashes; it is empty when the accounts may not be read."""

    script: str = field(repr=False)  # ends with a comment that proves it whole
    names: tuple[str, ...]  # 'user'@'host', and roles
    skipped: tuple[str, ...]  # what is not in it, with the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of a script. An account that was there keeps its password, and gains the grants it lacked."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    failed: tuple[str, ...]  # the account, and the server's words


def read(session: Session, server: Server) -> Accounts:
    """All but the server's own. Raises QueryFailed; that the session's account may not read them is no failure.

    Not in it, for no server tells: former passwords, since when a password is set, and MySQL's second passwords.
    """
    try:
        statements, skipped = statements_of(session, server)
    except QueryFailed as error:
        if error.number not in _DENIED:
            raise
        return Accounts(script="", names=(), skipped=(f"all accounts: {error}",))
    head = f"-- Accounts of {server.engine} {server.version}. An account that exists keeps its password.\n"
    lines = [f"{statement};\n" for statement in [*session_modes(server), *statements]]
    names = tuple(map(displayed, creations(statements)))
    return Accounts(script="".join([head, *lines, END]), names=names, skipped=tuple(skipped))


def load(session: Session, server: Server, script: str) -> Loaded:
    """Executes all that the server does not have, whatever of it fails; done twice, it finds nothing to do.

    Wants the databases to be there: no server grants a right on a table or routine that is not. An account that
    exists keeps its password, its lock and its limits; grants are added to it, and its default roles are set.
    Raises ArchiveDamaged before anything is executed when the script is cut, and QueryFailed when the server does
    not show its own accounts.
    """
    wanted = [one for one in parsed(script) if not one.startswith(("SET NAMES ", "SET SESSION "))]
    there, _ = statements_of(session, server)
    have, existing = set(there), set(creations(there))
    todo = [one for one in wanted if one not in have and existing.isdisjoint(creations([one]))]
    todo += _not_ours(session, server, todo, wanted)
    modes = session_modes(server)
    failures = session.failures([*modes, *todo]) if todo else {}
    failed = {todo[at - len(modes)]: failure for at, failure in failures.items() if at >= len(modes)}
    return Loaded(
        created=tuple(map(displayed, creations(one for one in todo if one not in failed))),
        existing=tuple(displayed(name) for name in creations(wanted) if name in existing),
        failed=tuple(_told(failed)),
    )


def _not_ours(session: Session, server: Server, todo: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """MariaDB makes the creator of a role its admin, and nobody else could grant it; taken back as a last step, where
    the script does not have it."""
    if server.engine != "mariadb":
        return
    user, _, host = session.query("SELECT CURRENT_USER()")[0][0][0].rpartition("@")
    me = named(user, host)
    for role in (one.removeprefix(CREATE_ROLE) for one in todo if one.startswith(CREATE_ROLE)):
        granted = f"GRANT {role} TO {me}"
        if f"{granted}{ADMIN}" not in wanted:
            yield f"REVOKE {'ADMIN OPTION FOR ' if granted in wanted else ''}{role} FROM {me}"


def _told(failed: Mapping[str, tuple[int, str]]) -> Iterator[str]:
    """One line for an account that could not be made, else one for each grant. A syntax error quotes the statement,
    and with it perhaps the password's hash."""
    lost = {owner(one) for one in failed if CREATE.match(one)}
    for statement, (number, words) in failed.items():
        match = None if CREATE.match(statement) else GRANT.fullmatch(statement)
        if match is None or match[3] not in lost:
            what = f"{match[1]}: " if match else ""
            yield f"{displayed(owner(statement))}: {what}{words.partition(' near ')[0]} ({number})"
