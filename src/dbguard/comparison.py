"""How what was loaded differs from what was saved."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from dbguard import inventory
from dbguard.archive import Archive, Database, Table
from dbguard.checksums import NEUTRAL, checksum, columns, statement
from dbguard.create_table import Place
from dbguard.definitions import definitions
from dbguard.engines import ENGINES
from dbguard.model import Server
from dbguard.sql import Asking, quoted

_DAY = 86400.0


def differences(asking: Asking, server: Server, archive: Archive) -> list[str]:
    """One line each, on a server of the same version that holds nothing else. Every view is opened on the way."""
    found = inventory.take(asking, server)
    was, now = _named(archive.databases), _named(found.databases)
    return [
        *(f"{_shown(one)} is missing" for one in sorted(was - now)),
        *(f"{_shown(one)} is there, and was not saved" for one in sorted(now - was)),
        *(f"view {view.database}.{view.name} does not open: {view.why}" for view in found.invalid_views),
        *_definitions(asking, server, archive.databases),
        *rows(
            asking, server, [(name, table) for name, table in _counted(archive) if ("table", name, table.name) in now]
        ),
    ]


def tables(
    asking: Asking,
    server: Server,
    archive: Archive,
    places: Mapping[Place, Place],
    *,
    tied: Collection[Place] = (),
) -> list[str]:
    """Like `differences`, for single tables; `places` says where each is now. Those that are `tied` may be defined
    otherwise."""
    saved = {(one.name, table.name): (one, table) for one in archive.databases for table in one.tables}
    there = {(one.name, table.name) for one in inventory.take(asking, server).databases for table in one.tables}
    missing = [place for place in places.values() if place not in there]
    known = [
        (place[0], replace(saved[was][1], name=place[1]))
        for was, place in places.items()
        if place in there and saved[was][1].rows is not None
    ]
    same = archive.software.server_version == server.version
    now = definitions(asking, server, [database for database, _ in places.values()]) if same else {}
    return [
        *(f"table {'.'.join(place)} is missing" for place in missing),
        *rows(asking, server, known),
        *(
            f"table {'.'.join(place)} is defined otherwise"
            for was, place in places.items()
            if place in there and was not in tied and same
            for fingerprint in [saved[was][0].definitions.get(f"table {was[1]}")]
            if fingerprint not in {None, now.get(place[0], {}).get(f"table {place[1]}")}
        ),
    ]


def counted(archive: Archive) -> tuple[int, int]:
    """Rows that are compared, and tables whose rows nobody counted when they were saved."""
    tables = sum(len(database.tables) for database in archive.databases)
    known = [table.rows or 0 for _, table in _counted(archive)]
    return sum(known), tables - len(known)


def _counted(archive: Archive) -> list[tuple[str, Table]]:
    return [(one.name, table) for one in archive.databases for table in one.tables if table.rows is not None]


def _named(databases: Sequence[Database]) -> set[tuple[str, str, str]]:
    """Kind, database and name of each object; databases themselves have no name within one."""
    objects = {(kind, one.name, name) for one in databases for kind, name in one.named()}
    return objects | {("database", one.name, "") for one in databases}


def _shown(one: tuple[str, str, str]) -> str:
    kind, database, name = one
    return f"{kind} {database}.{name}" if name else f"{kind} {database}"


def _definitions(asking: Asking, server: Server, saved: Sequence[Database]) -> Iterator[str]:
    """Of what both have; archives of former versions know none."""
    now = definitions(asking, server, [database.name for database in saved])
    for database in saved:
        there = now.get(database.name, {})
        for what, fingerprint in sorted(database.definitions.items()):
            if there.get(what, fingerprint) != fingerprint:
                kind, _, name = what.partition(" ")
                yield f"{kind} {database.name}.{name} is defined otherwise"


def rows(asking: Asking, server: Server, tables: Sequence[tuple[str, Table]]) -> Iterator[str]:
    """Of the tables in these databases, by number and, where they were saved with one, by checksum."""
    rows_of = ENGINES[server.engine].rows_of
    of = columns(asking) if any(table.checksum for _, table in tables) else {}
    questions = [NEUTRAL]
    for database, table in tables:
        source = f"{quoted(database)}.{quoted(table.name)}{rows_of(server, table)}"
        known = of[database, table.name] if table.checksum else None
        questions.append(f"SELECT COUNT(*) FROM {source}" if known is None else statement(server, source, known))
    answers = asking.query(*questions, timeout=_DAY)[1:]
    for (database, table), [row] in zip(tables, answers, strict=True):
        if int(row[0]) != table.rows:
            yield f"table {database}.{table.name} has {row[0]} rows instead of {table.rows}"
        elif table.checksum and checksum(row)[1] != table.checksum:
            yield f"table {database}.{table.name} has other contents: its checksum differs"
