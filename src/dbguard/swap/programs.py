"""What a database holds beside its tables, and how it is put away and made again."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dbguard.errors import RestoreFailed
from dbguard.loading.steps import step_of
from dbguard.script import for_database
from dbguard.sql import Asking, quoted
from dbguard.sqldump import Piece
from dbguard.swap.journal import Trigger
from dbguard.swap.ties import IN_PLACE

Told = tuple[Piece, bytes, str]
Pieces = Iterable[Told]
"""See script.Script.pieces."""

_STATE = {"session", "delimiter", "use"}
_TABLES = _STATE | {"database", "drop", "table", "rows", "keys", "lock", "sequence"}
_PROGRAMS = _STATE | {"trigger", "program"}
_KINDS = (
    ("VIEW", "SELECT table_schema, table_name FROM information_schema.views"),
    ("TRIGGER", "SELECT trigger_schema, trigger_name FROM information_schema.triggers"),
    ("EVENT", "SELECT event_schema, event_name FROM information_schema.events"),
    (
        "PROCEDURE",
        "SELECT routine_schema, routine_name FROM information_schema.routines WHERE routine_type = 'PROCEDURE'",
    ),
    (
        "FUNCTION",
        "SELECT routine_schema, routine_name FROM information_schema.routines WHERE routine_type = 'FUNCTION'",
    ),
    ("PACKAGE", "SELECT routine_schema, routine_name FROM information_schema.routines WHERE routine_type = 'PACKAGE'"),
)


def tables_of(pieces: Pieces, programs: list[Told]) -> Pieces:
    """Of a dump, what makes and fills tables; the rest is put into `programs`. Raises RestoreFailed at a statement that
    nobody can tell."""
    for one in pieces:
        step = step_of(one[0])
        if step == "unknown":
            raise RestoreFailed(
                f"the dump holds a statement that cannot be loaded aside: {one[1][:60]!r}", hint=IN_PLACE
            )
        if step in _PROGRAMS:
            programs.append(one)
        if step in _TABLES:
            yield one


def trial(programs: Sequence[Told], names: Mapping[str, str]) -> Pieces:
    """To be made in databases of other names, only to see that it can be: without events, which would run. A server may
    write a name with that of its database, and a view may read another database."""
    others = [(f"{quoted(saved)}.".encode(), f"{quoted(name)}.".encode()) for saved, name in names.items()]
    for piece, sql, what in programs:
        if piece.object is None or piece.object[0] != "event":
            for saved, name in others:
                sql = sql.replace(saved, name)  # noqa: PLW2901
            yield piece, sql, what


def elsewhere(programs: Sequence[Told], names: Mapping[str, str]) -> Pieces:
    """The same for databases of other names."""
    for piece, sql, what in programs:
        name = names.get(piece.database or "")
        yield piece, sql if name is None else for_database(piece, name), what


def removals(asking: Asking, databases: Sequence[str], only: str = "") -> list[str]:
    """Statements that drop every program of these databases, or those of one kind."""
    kinds = [(kind, question) for kind, question in _KINDS if only in {"", kind}]
    found = asking.query(*(question for _, question in kinds), timeout=600)
    return [
        f"DROP {kind} IF EXISTS {quoted(database)}.{quoted(name)}"
        for (kind, _), rows in zip(kinds, found, strict=True)
        for database, name in rows
        if database in databases
    ]


def routine_grants(asking: Asking, databases: Sequence[str]) -> list[str]:
    """Statements that give again what goes with a routine that is dropped."""
    rows = asking.query("SELECT db, routine_name, routine_type, user, host, proc_priv FROM mysql.procs_priv")[0]
    return [
        f"GRANT {', '.join(one for one in given.split(',') if one != 'Grant') or 'USAGE'} ON {kind} "
        f"{quoted(database)}.{quoted(name)} TO {quoted(user)}{f'@{quoted(host)}' if host else ''}"
        + (" WITH GRANT OPTION" if "Grant" in given.split(",") else "")
        for database, name, kind, user, host, given in rows
        if database in databases
    ]


def triggers(asking: Asking, databases: Sequence[str]) -> Iterator[Trigger]:
    """In the order in which they fire."""
    columns = "trigger_schema, trigger_name, event_object_table"
    rows = asking.query(f"SELECT {columns} FROM information_schema.triggers ORDER BY 1, action_order")[0]
    names = [row for row in rows if row[0] in databases]
    answers = asking.query(*(f"SHOW CREATE TRIGGER {quoted(database)}.{quoted(name)}" for database, name, _ in names))
    for (database, name, table), [answer] in zip(names, answers, strict=True):
        _, mode, create, _, collation, *_ = answer
        end = f"//{secrets.token_hex(4)}"  # the client takes 15 characters
        script = (
            f"USE {quoted(database)};\nSET SESSION sql_mode = '{mode}', collation_connection = {collation};\n"
            f"DELIMITER {end}\n{create}\n{end}\nDELIMITER ;\n"
        )
        yield Trigger(database, name, table, script)
