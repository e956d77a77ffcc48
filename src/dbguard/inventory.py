"""Every object of a server's databases, as its information_schema lists them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbguard.model import Database, ObjectKind, Table
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
    "SELECT table_schema, table_name, table_type, IFNULL(engine, ''), table_comment FROM information_schema.tables",
    "SELECT routine_schema, routine_name, routine_type FROM information_schema.routines",
    "SELECT trigger_schema, trigger_name, 'TRIGGER' FROM information_schema.triggers",
    "SELECT event_schema, event_name, 'EVENT', "
    "INSTR(CONCAT_WS(' ', event_name, event_definition, event_comment), ';;') "
    "FROM information_schema.events",
)
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
    """User databases with all their objects; views that do not open; events that hold `;;`."""

    databases: tuple[Database, ...]
    invalid_views: tuple[Obstacle, ...] = ()
    double_delimiters: tuple[Obstacle, ...] = ()

    def only(self, names: Sequence[str]) -> Inventory:
        """Of these databases alone."""
        return Inventory(
            databases=tuple(one for one in self.databases if one.name in names),
            invalid_views=tuple(one for one in self.invalid_views if one.database in names),
            double_delimiters=tuple(one for one in self.double_delimiters if one.database in names),
        )

    def without_invalid_views(self) -> tuple[Database, ...]:
        gone = {(view.database, view.name) for view in self.invalid_views}
        return tuple(
            replace(one, objects={**one.objects, "view": views})
            for one in self.databases
            for views in [tuple(view for view in one.objects.get("view", ()) if (one.name, view) not in gone)]
        )


def take(session: Session) -> Inventory:
    """Asks the server. Costs it two short sessions; minutes only with very many tables."""
    schemas, tables, routines, triggers, events = session.query(*_QUESTIONS, timeout=600.0)
    names = [row[0] for row in schemas if _is_user_database(row[0])]
    creates = session.query(*(f"SHOW CREATE DATABASE {quoted(name)}" for name in names)) if names else []
    kept = _kept(tables)
    objects = _objects([*tables, *routines, *triggers, *events])
    return Inventory(
        databases=tuple(
            Database(name=name, create=rows[0][1], tables=tuple(kept[name]), objects=objects[name])
            for name, rows in zip(names, creates, strict=True)
        ),
        invalid_views=tuple(
            Obstacle(database=schema, name=name, why=comment)
            for schema, name, kind, _, comment in tables
            if kind == "VIEW" and comment != "VIEW" and schema in names
        ),
        double_delimiters=tuple(
            Obstacle(database=schema, name=name, why="its text holds ';;'")
            for schema, name, _, position in events
            if position != "0" and schema in names
        ),
    )


def _is_user_database(name: str) -> bool:
    """Not the server's own, and not a foreign folder in its data directory, such as `lost+found`."""
    return name.lower() not in _SYSTEM_DATABASES and not name.startswith("#mysql50#")


def _kept(rows: Sequence[Row]) -> dict[str, list[Table]]:
    found: dict[str, list[Table]] = defaultdict(list)
    for schema, name, kind, engine, _ in rows:
        if kind not in _KINDS and kind != "TEMPORARY":
            found[schema].append(Table(name=name, kind=kind, engine=engine or None))
    return found


def _objects(rows: Sequence[Row]) -> dict[str, dict[ObjectKind, tuple[str, ...]]]:
    found: dict[str, dict[ObjectKind, tuple[str, ...]]] = defaultdict(dict)
    for schema, name, word, *_ in rows:
        if kind := _KINDS.get(word):
            found[schema][kind] = (*found[schema].get(kind, ()), name)
    return found
