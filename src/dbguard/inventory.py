"""Every object of a server's databases, as its information_schema lists them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dbguard.archive import Database, ObjectKind, Table
from dbguard.engines import ENGINES
from dbguard.model import Server
from dbguard.sql import Row, Session, quoted

_SYSTEM_DATABASES = {
    "mysql",
    "information_schema",
    "performance_schema",
    "sys",
    "ndbinfo",
    "mysql_innodb_cluster_metadata",
}
_QUESTIONS = (
    "SELECT schema_name FROM information_schema.schemata",
    "SELECT table_schema, table_name, table_type, IFNULL(engine, '') FROM information_schema.tables",
    "SELECT routine_schema, routine_name, routine_type FROM information_schema.routines",
    "SELECT trigger_schema, trigger_name, 'TRIGGER' FROM information_schema.triggers",
    "SELECT event_schema, event_name, 'EVENT' FROM information_schema.events",
    *(
        f"SELECT {kind}_schema, {kind}_name, {word} FROM information_schema.{kind}s "
        f"WHERE INSTR({text}, ';;') OR SUBSTRING_INDEX({text}, '\n', -1) REGEXP '--|#'"
        for kind, word, text in (
            ("routine", "routine_type", "routine_definition"),
            ("trigger", "'TRIGGER'", "action_statement"),
            ("event", "'EVENT'", "CONCAT_WS('\n', event_name, event_comment, event_definition)"),
        )
    ),
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
_KINDS: dict[str, ObjectKind] = {
    "VIEW": "view",
    "SEQUENCE": "sequence",
    "PROCEDURE": "procedure",
    "FUNCTION": "function",
    "PACKAGE": "package",
    "PACKAGE BODY": "package body",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """User databases with all their objects, and which of those cannot be dumped and loaded again."""

    databases: tuple[Database, ...]
    invalid_views: tuple[Obstacle, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()  # other than views

    def only(self, names: Sequence[str]) -> Inventory:
        """Of these databases alone."""
        return Inventory(
            databases=tuple(one for one in self.databases if one.name in names),
            invalid_views=tuple(one for one in self.invalid_views if one.database in names),
            obstacles=tuple(one for one in self.obstacles if one.database in names),
        )

    def without_invalid_views(self) -> tuple[Database, ...]:
        gone = {(view.database, view.name) for view in self.invalid_views}
        return tuple(
            replace(one, objects={**one.objects, "view": views})
            for one in self.databases
            for views in [tuple(view for view in one.objects.get("view", ()) if (one.name, view) not in gone)]
        )


def take(session: Session, server: Server) -> Inventory:
    """Asks the server what there is, in a few short sessions; minutes only with very many tables."""
    schemas, tables, routines, triggers, events, *suspicious = session.query(*_QUESTIONS, timeout=600.0)
    names = [row[0] for row in schemas if _is_user_database(row[0])]
    creates = session.query(*(f"SHOW CREATE DATABASE {quoted(name)}" for name in names))
    kept = _kept(tables)
    objects = _objects([*tables, *routines, *triggers, *events])
    curious = [row for rows in suspicious for row in rows if row[0] in names]
    obstacles = [*_texts(session, server, curious), *_columns(session, names)]
    return Inventory(
        databases=tuple(
            Database(name=name, create=rows[0][1], tables=tuple(kept[name]), objects=objects[name])
            for name, rows in zip(names, creates, strict=True)
        ),
        invalid_views=_invalid(session, [(row[0], row[1]) for row in tables if row[2] == "VIEW" and row[0] in names]),
        obstacles=tuple(obstacles),
    )


def _texts(session: Session, server: Server, suspicious: Iterable[Row]) -> Iterator[Obstacle]:
    """Routines, triggers and events whose text the dump program cannot carry. The text is that of SHOW CREATE: in
    information_schema the strings inside it have lost their escapes."""
    asked = [row for row in suspicious if row[2] in _TEXT_COLUMN]
    answers = session.query(*(f"SHOW CREATE {word} {quoted(schema)}.{quoted(name)}" for schema, name, word in asked))
    for (schema, name, word), rows in zip(asked, answers, strict=True):
        if why := ENGINES[server.engine].obstacle(
            server, _KINDS[word], rows[0][_TEXT_COLUMN[word]], sql_mode=rows[0][1]
        ):
            yield Obstacle(database=schema, name=name, why=why)


def _columns(session: Session, names: Sequence[str]) -> Iterator[Obstacle]:
    """Columns that a dump loses, or that it writes and no server loads again."""
    rows = session.query(_COLUMNS, timeout=600.0)[0]
    yield from _members(session, [row for row in rows if row[3] in {"enum", "set"} and row[0] in names])
    for schema, table, column, _, default in rows:
        for owner in _SEQUENCE_OF.findall(default):
            later = owner.replace("``", "`") in names[names.index(schema) + 1 :] if schema in names else False
            if later:
                why = f"its default takes numbers of a sequence in {owner}, which is loaded later"
                yield Obstacle(database=schema, name=f"{table}.{column}", why=why)


def _members(session: Session, columns: Sequence[Row]) -> Iterator[Obstacle]:
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


def _invalid(session: Session, views: Sequence[tuple[str, str]]) -> tuple[Obstacle, ...]:
    """Views that a dump ends at (1356), or that it writes and no server loads again.

    A view whose own definer is missing dumps and loads; one that selects from such a view dumps, but its
    CREATE VIEW fails with 1449 in the load.
    """
    failures = session.failures([f"SELECT 1 FROM {quoted(schema)}.{quoted(name)} LIMIT 0" for schema, name in views])
    failing = {views[at]: failure for at, failure in failures.items()}
    harmless = _with_missing_definer(session, failing) if failing else set()
    return tuple(
        Obstacle(database=schema, name=name, why=why)
        for (schema, name), (_, why) in failing.items()
        if (schema, name) not in harmless
    )


def _with_missing_definer(session: Session, failing: Mapping[tuple[str, str], tuple[int, str]]) -> set[tuple[str, str]]:
    """Those of the failing views that fail only because their own definer is missing."""
    views, accounts = session.query(
        "SELECT table_schema, table_name, definer, view_definition FROM information_schema.views",
        "SELECT CONCAT(user, '@', host) FROM mysql.user",
    )
    known = {row[0] for row in accounts}
    return {
        (schema, name)
        for schema, name, definer, text in views
        if failing.get((schema, name), (0, ""))[0] == _NO_SUCH_DEFINER
        and definer not in known
        and not any(quoted(other) in text for database, other in failing if (database, other) != (schema, name))
    }


def _is_user_database(name: str) -> bool:
    """Not the server's own, and not a foreign folder in its data directory, such as `lost+found`."""
    return name.lower() not in _SYSTEM_DATABASES and not name.startswith("#mysql50#")


def _kept(rows: Sequence[Row]) -> dict[str, list[Table]]:
    found: dict[str, list[Table]] = defaultdict(list)
    for schema, name, kind, engine in rows:
        if kind not in _KINDS and kind != "TEMPORARY":
            found[schema].append(Table(name=name, kind=kind, engine=engine or None))
    return found


def _objects(rows: Sequence[Row]) -> dict[str, dict[ObjectKind, tuple[str, ...]]]:
    found: dict[str, dict[ObjectKind, tuple[str, ...]]] = defaultdict(dict)
    for schema, name, word, *_ in rows:
        if kind := _KINDS.get(word):
            found[schema][kind] = (*found[schema].get(kind, ()), name)
    return found
