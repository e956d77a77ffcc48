"""Load single tables of an archive: where there is none of that name, in exchange for those, or over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dbguard import comparison, inventory, sql
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError, QueryFailed, RestoreFailed
from dbguard.loading import load_data, packet, run_text
from dbguard.loading.part import Tables, defaults
from dbguard.lock import target_lock
from dbguard.model import Target
from dbguard.report import Report, quiet
from dbguard.restore import LOCK_WAIT, Existing
from dbguard.script import Script, creation
from dbguard.sql import quoted
from dbguard.swap.tables import swap_tables
from dbguard.swap.ties import orphans
from dbguard.tables_plan import TablesPlan, spelled, unchanged
from dbguard.whole import whole_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesRestored:
    """How it went. `broken` is what does not fit the rest of the database: rows without their parent, views that no
    longer open."""

    passed_over: tuple[str, ...]
    window: float | None
    broken: tuple[str, ...]


def restore_tables(
    todo: TablesPlan,
    *,
    containers: Containers,
    catalogs: Sequence[Catalog],
    settings: Settings,
    keys: Sequence[Any] = (),
    existing: Existing = "keep",
    save: Callable[[], None] | None = None,
    report: Report = quiet,
) -> TablesRestored:
    """Like restore.restore."""
    if todo.replaced and existing == "keep":
        raise RestoreFailed(
            f"{todo.target.name}: table {', '.join(map('.'.join, todo.replaced))} is there",
            hint="give --replace to exchange it, or another name: --table DATABASE.TABLE:DATABASE.NEWTABLE",
        )
    catalog, passed_over = whole_copy(todo.archive, catalogs, keys, report)
    if todo.replaced and save is not None:
        save()
    with target_lock(settings.state, todo.target.name):
        if not unchanged(todo, containers):
            raise RestoreFailed(f"{todo.target.name}: its tables have changed meanwhile: nothing was touched")
        session = sql.session(containers, todo.target)
        size = todo.archive.blobs["data"].plain_size
        views = _invalid_views(session, todo.target)

        def read(selection: Tables) -> Script:
            return Script(todo.archive, {}, catalog, report, keys=keys, selection=selection)

        if todo.replaced and existing == "exchange":
            window = swap_tables(
                todo, lambda wanted: read(wanted).pieces(), size, containers=containers, settings=settings
            )
            places = [spelled(todo.target, one.to) for one in todo.tables]
        else:
            window, places = None, _load(todo, read, session, containers, settings)
        broken = [
            *orphans(session, places),
            *(
                f"view {name} no longer opens: {why}"
                for name, why in _invalid_views(session, todo.target).items() - views.items()
            ),
        ]
        return TablesRestored(passed_over=passed_over, window=window, broken=tuple(broken))


def _load(
    todo: TablesPlan, read: Callable[[Tables], Script], session: sql.Session, containers: Containers, settings: Settings
) -> list[tuple[str, str]]:
    """Where there is nothing, or after what was there has been dropped."""
    to = {one.saved: spelled(todo.target, one.to) for one in todo.tables}
    selection = Tables(to, {one.saved: one for one in todo.tables})
    before = [*defaults(session, [database for database, _ in to.values()])]
    _drop(todo, session, settings)
    made: list[str] = []
    try:
        for one in todo.tables:
            if one.to[0] in todo.missing and one.to[0] not in made:
                session.execute(creation(one.database, one.to[0]))
                made.append(one.to[0])
        with packet(session, todo.packet):
            script = read(selection)
            load_data(script.pieces(), script.size, todo.target, containers, settings)
            if selection.alters:
                run_text(b"".join(before), todo.target, containers, settings)
        server = todo.target.server
        if wrong := comparison.tables(session, server, todo.archive, to, tied=selection.tied):
            raise RestoreFailed(f"{todo.target.name}: what was loaded is not what was saved: {'; '.join(wrong[:5])}")
    except BaseException as error:
        error.add_note(_undo(todo, session, [*to.values()], made, before if selection.alters else ()))
        raise
    return [*to.values()]


def _drop(todo: TablesPlan, session: sql.Session, settings: Settings) -> None:
    """Makes room. Foreign keys that refer to it wait for its successor."""
    for database, table in todo.replaced:
        statements = (
            f"SET SESSION foreign_key_checks = 0, lock_wait_timeout = {LOCK_WAIT}",
            f"DROP TABLE {quoted(database)}.{quoted(table)}",
        )
        try:
            session.query(*statements, timeout=max(settings.stall.total_seconds(), 2 * LOCK_WAIT))
        except QueryFailed as error:
            raise RestoreFailed(
                f"{todo.target.name}: table {database}.{table} could not be dropped: {error}",
                hint="does another session use it? stop the applications, then type the same command again",
            ) from error


def _undo(
    todo: TablesPlan,
    session: sql.Session,
    tables: Sequence[tuple[str, str]],
    made: Sequence[str],
    before: Sequence[bytes],
) -> str:
    """A load that failed leaves nothing behind, where there was nothing before. What a person must know then."""
    mine = [table for table in tables if table not in todo.replaced]
    drops = [
        f"DROP TABLE IF EXISTS {quoted(database)}.{quoted(table)}" for database, table in mine if database not in made
    ]
    again = [statement.decode().rstrip(";\n") for statement in before]
    try:
        session.execute(
            "SET SESSION foreign_key_checks = 0",
            *drops,
            *(f"DROP DATABASE IF EXISTS {quoted(one)}" for one in made),
            *again,
        )
    except DbguardError as error:
        return f"{', '.join(map('.'.join, tables))}: what had been loaded could not be removed: {error}"
    if not todo.replaced:
        return "what had been loaded was removed again, nothing else was touched"
    names = ", ".join(map(".".join, todo.replaced))
    return f"table {names}: what was there had been dropped, what is there now is incomplete: restore it again"


def _invalid_views(session: sql.Session, target: Target) -> dict[str, str]:
    found = inventory.take(session, target.server).invalid_views
    return {f"{view.database}.{view.name}": view.why for view in found}
