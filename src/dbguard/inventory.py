"""Every object of a server's databases, as its information_schema lists them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbguard.archive import Database, ObjectKind, Table
from dbguard.model import Server
from dbguard.obstacles import Obstacle, columns, invalid_views, texts
from dbguard.sql import Asking, Row, quoted

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


def take(session: Asking, server: Server) -> Inventory:
    """Asks the server what there is, in a few short sessions; minutes only with very many tables."""
    schemas, tables, routines, triggers, events = session.query(*_QUESTIONS, timeout=600.0)
    names, unloadable = columns(session, [row[0] for row in schemas if is_user_database(row[0])])
    creates = session.query(*(f"SHOW CREATE DATABASE {quoted(name)}" for name in names))
    kept = _kept(tables)
    objects = _objects([*tables, *routines, *triggers, *events])
    views = [(name, view) for name in names for view in objects[name].get("view", ())]
    return Inventory(
        databases=tuple(
            Database(name=name, create=rows[0][1], tables=tuple(kept[name]), objects=objects[name])
            for name, rows in zip(names, creates, strict=True)
        ),
        invalid_views=invalid_views(session, views),
        obstacles=(*texts(session, server, names), *unloadable),
    )


def is_user_database(name: str) -> bool:
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
