"""What a dump program cannot carry: objects whose dump would hang, fail, or not load again. Found by measuring; each
is refused by name before the dump, for the dump itself mostly ends with 0."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbguard.archive import ObjectKind
from dbguard.engines import ENGINES
from dbguard.model import Server
from dbguard.sql import Asking, Row, quoted

_SUSPICIOUS = tuple(
    f"SELECT {kind}_schema, {kind}_name, {word} FROM information_schema.{kind}s "
    f"WHERE INSTR({text}, ';;') OR SUBSTRING_INDEX({text}, '\n', -1) REGEXP '--|#'"
    for kind, word, text in (
        ("routine", "routine_type", "routine_definition"),
        ("trigger", "'TRIGGER'", "action_statement"),
        ("event", "'EVENT'", "CONCAT_WS('\n', event_name, event_comment, event_definition)"),
    )
)
_COLUMNS = (
    "SELECT table_schema, table_name, column_name, data_type, IFNULL(column_default, '') "
    "FROM information_schema.columns WHERE column_default LIKE '%nextval(%' "
    "OR data_type IN ('enum', 'set') AND column_type LIKE '%?%'"
)
_SEQUENCE_OF = re.compile(r"nextval\(`((?:[^`]|``)*)`\.", re.IGNORECASE)
_FOUR_BYTES = "'^(..)*F[0-4]'"
"""A character of four bytes in UTF-8, in hexadecimal."""
_TEXT_COLUMN = {"PROCEDURE": 2, "FUNCTION": 2, "TRIGGER": 2, "EVENT": 3}
"""Where SHOW CREATE has the text; its sql_mode is always the second column."""
_NO_SUCH_DEFINER = 1449
View = tuple[str, str]
"""Database and name."""
_KINDS: dict[str, ObjectKind] = {
    "PROCEDURE": "procedure",
    "FUNCTION": "function",
    "TRIGGER": "trigger",
    "EVENT": "event",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """An object that a dump program cannot dump."""

    database: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.database}.{self.name} ({self.why})"


def texts(session: Asking, server: Server, names: Sequence[str]) -> Iterator[Obstacle]:
    """Routines, triggers and events whose text the dump program cannot carry. The text is that of SHOW CREATE: in
    information_schema the strings inside it have lost their escapes."""
    found = session.query(*_SUSPICIOUS, timeout=600.0)
    asked = [row for rows in found for row in rows if row[0] in names and row[2] in _KINDS]
    answers = session.query(*(f"SHOW CREATE {word} {quoted(schema)}.{quoted(name)}" for schema, name, word in asked))
    for (schema, name, word), rows in zip(asked, answers, strict=True):
        if why := ENGINES[server.engine].obstacle(
            server, _KINDS[word], rows[0][_TEXT_COLUMN[word]], sql_mode=rows[0][1]
        ):
            yield Obstacle(database=schema, name=name, why=why)


def columns(session: Asking, names: Sequence[str]) -> tuple[list[str], list[Obstacle]]:
    """The order in which the databases must be loaded, and the columns that no order helps."""
    rows = [row for row in session.query(_COLUMNS, timeout=600.0)[0] if row[0] in names]
    borrowed = [
        (schema, f"{table}.{column}", owner.replace("``", "`"))
        for schema, table, column, _, default in rows
        for owner in _SEQUENCE_OF.findall(default)
    ]
    owners = {owner for schema, _, owner in borrowed if owner != schema}
    order = sorted(names, key=lambda name: (name not in owners, name))
    late = [
        Obstacle(database=schema, name=column, why=f"it takes numbers of a sequence in {owner}, which is loaded later")
        for schema, column, owner in borrowed
        if owner in order[order.index(schema) + 1 :]
    ]
    return order, [*late, *_members(session, [row for row in rows if row[3] in {"enum", "set"}])]


def _members(session: Asking, columns: Sequence[Row]) -> Iterator[Obstacle]:
    """SHOW CREATE TABLE turns four-byte characters in the members of an ENUM or SET into question marks (measured on
    MySQL 9.7.4, MariaDB 10.11.18 and 11.8.9): a row that holds such a member would come back empty."""
    questions = [
        f"SELECT 1 FROM {quoted(schema)}.{quoted(table)} WHERE HEX({quoted(column)}) REGEXP {_FOUR_BYTES} LIMIT 1"
        for schema, table, column, *_ in columns
    ]
    for (schema, table, column, *_), rows in zip(columns, session.query(*questions, timeout=600.0), strict=True):
        if rows:
            why = "the server shows a member of four-byte characters as '?'"
            yield Obstacle(database=schema, name=f"{table}.{column}", why=why)


def invalid_views(session: Asking, views: Sequence[View]) -> tuple[Obstacle, ...]:
    """Views that a dump ends at (1356), or that it writes and no server loads again.

    A view whose own definer is missing dumps and loads; one that selects from such a view dumps, but its
    CREATE VIEW fails with 1449 in the load.
    """
    failures = session.failures([f"SELECT 1 FROM {quoted(schema)}.{quoted(name)} LIMIT 0" for schema, name in views])
    failing = {views[at]: failure for at, failure in failures.items()}
    harmless = _with_missing_definer(session, failing) if failing else []
    undumpable = session.failures([f"SHOW FIELDS FROM {quoted(schema)}.{quoted(name)}" for schema, name in harmless])
    left = {view for at, view in enumerate(harmless) if at not in undumpable}
    return tuple(
        Obstacle(database=schema, name=name, why=why)
        for (schema, name), (_, why) in failing.items()
        if (schema, name) not in left
    )


def _with_missing_definer(session: Asking, failing: Mapping[tuple[str, str], tuple[int, str]]) -> list[tuple[str, str]]:
    """Those of the failing views that fail because their own definer is missing."""
    views, accounts = session.query(
        "SELECT table_schema, table_name, definer, view_definition FROM information_schema.views",
        "SELECT CONCAT(user, '@', host) FROM mysql.user",
    )
    known = {row[0] for row in accounts}
    return [
        (schema, name)
        for schema, name, definer, text in views
        if failing.get((schema, name), (0, ""))[0] == _NO_SUCH_DEFINER
        and definer not in known
        and not any(quoted(other) in text for database, other in failing if (database, other) != (schema, name))
    ]
