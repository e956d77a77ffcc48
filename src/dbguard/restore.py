"""Check an archive whole, then load it, then compare what is there with what was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dbguard import comparison, inventory, sql
from dbguard.accounts import Loaded
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError, QueryFailed, RestoreFailed
from dbguard.loading import load_accounts, load_data, packet
from dbguard.lock import target_lock
from dbguard.report import Report, quiet
from dbguard.restore_plan import RestorePlan, present, same
from dbguard.script import Databases, Script
from dbguard.swap import swap
from dbguard.whole import whole_copy

LOCK_WAIT = 30
"""Seconds that a DROP waits for those who use the database."""


Existing = Literal["keep", "exchange", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """How a restore went that went well: why other copies were passed over, what became of the accounts, and, where
    live data was exchanged, the seconds that it took."""

    passed_over: tuple[str, ...]
    accounts: Loaded | None
    window: float | None


def restore(
    todo: RestorePlan,
    *,
    containers: Containers,
    catalogs: Sequence[Catalog],
    settings: Settings,
    keys: Sequence[Any] = (),
    existing: Existing = "keep",
    save: Callable[[], None] | None = None,
    report: Report = quiet,
) -> Restored:
    """Carries the plan out, from the first of the catalogs whose copy is whole. Databases that hold data are kept, and
    the restore refused; exchanged, see swap; or dropped first. Before either, and when the archive is known to be good,
    `save` is called.

    No byte reaches the server before the stored checksum was found right, and an encrypted archive was opened to its
    end with one of the `keys`.
    """
    if todo.replaced and existing == "keep":
        raise RestoreFailed(
            f"{todo.target.name}: {', '.join(todo.replaced)} holds data",
            hint="give --replace to exchange it, or restore under another name with --database NAME:NEWNAME",
        )
    catalog, passed_over = whole_copy(todo.archive, catalogs, keys, report)
    if todo.replaced and save is not None:
        save()
    with target_lock(settings.state, todo.target.name):
        _check_unchanged(todo, containers)
        session = sql.session(containers, todo.target)
        swapped = bool(todo.replaced) and existing == "exchange"

        def script(names: Mapping[str, str]) -> Script:
            selection = Databases(todo.archive, names, rows=todo.part != "schema")
            return Script(todo.archive, names, catalog, report, keys=keys, selection=selection)

        if swapped:
            size = todo.archive.blobs["data"].plain_size if todo.part == "all" else 0
            window = swap(todo, lambda names: script(names).pieces(), size, containers=containers, settings=settings)
            _compare(todo, session)
        elif todo.part == "accounts":
            window = None
        else:
            window = None
            _load(todo, script({saved.name: name for saved, name in todo.databases}), session, containers, settings)
        loaded = load_accounts(todo.archive, todo.target, session, catalog, keys) if todo.accounts else None
        return Restored(passed_over=passed_over, accounts=loaded, window=window)


def _load(todo: RestorePlan, script: Script, session: sql.Session, containers: Containers, settings: Settings) -> None:
    """Where there is nothing, or after what was there has been dropped."""
    _drop(todo, session, settings)
    try:
        with packet(session, todo.packet):
            load_data(script.pieces(), script.size, todo.target, containers, settings)
        _compare(todo, session)
    except BaseException as error:
        error.add_note(_undo(todo, session))
        raise


def _check_unchanged(todo: RestorePlan, containers: Containers) -> None:
    """The plan may have waited for an answer: what was empty or not there then may hold data now."""
    full, empty = present(containers, todo.target)
    now = {name: (same(todo.target, name) in full, same(todo.target, name) in empty) for _, name in todo.databases}
    if any(state != (name in todo.replaced, name in todo.emptied) for name, state in now.items()):
        raise RestoreFailed(f"{todo.target.name}: its databases have changed meanwhile: nothing was touched")


def _drop(todo: RestorePlan, session: sql.Session, settings: Settings) -> None:
    """Makes room. The server gives up waiting for a lock before we do, so that no DROP comes true later."""
    gone: list[str] = []
    for name in (*todo.emptied, *todo.replaced):
        statements = (f"SET SESSION lock_wait_timeout = {LOCK_WAIT}", f"DROP DATABASE {sql.quoted(name)}")
        try:
            session.query(*statements, timeout=max(settings.stall.total_seconds(), 2 * LOCK_WAIT))
        except QueryFailed as error:
            lost = f"; dropped already: {', '.join(gone)}" if gone else "; nothing was dropped"
            raise RestoreFailed(
                f"{todo.target.name}: {name} could not be dropped: {error}{lost}",
                hint="does another session use it? stop the applications, then type the same command again",
            ) from error
        gone.append(name)


def _compare(todo: RestorePlan, session: sql.Session) -> None:
    """Every object that was saved must be there now."""
    found = {database.name: database.named() for database in inventory.take(session, todo.target.server).databases}
    missing = [
        f"{kind} {name}.{item}"
        for saved, name in todo.databases
        for kind, item in sorted(saved.named() - found.get(name, frozenset()))
    ]
    if missing:
        raise RestoreFailed(f"{todo.target.name}: after the load these are missing: {', '.join(missing[:5])}")
    if todo.part == "schema":
        _compare_definitions(todo, session)


def _compare_definitions(todo: RestorePlan, session: sql.Session) -> None:
    """Tables as they were saved, and without rows. A foreign key of a copy leads into the copy."""
    tables = [(saved, name, table) for saved, name in todo.databases for table in saved.tables]
    places = {(saved.name, table.name): (name, table.name) for saved, name, table in tables}
    saved = replace(todo.archive, databases=tuple(saved for saved, _ in todo.databases))
    renamed = {place for place, now in places.items() if place != now}
    if wrong := comparison.tables(session, todo.target.server, saved, places, tied=renamed):
        raise RestoreFailed(f"{todo.target.name}: what was loaded is not what was saved: {'; '.join(wrong[:5])}")


def _undo(todo: RestorePlan, session: sql.Session) -> str:
    """A load that failed leaves nothing behind, where there was nothing before. What a person must know then."""
    mine = [name for _, name in todo.databases if name not in todo.replaced]
    try:
        session.execute(*(f"DROP DATABASE IF EXISTS {sql.quoted(name)}" for name in mine))
    except DbguardError as error:
        return f"{', '.join(mine)}: what had been loaded could not be removed, drop it before you trust it: {error}"
    if not todo.replaced:
        return "what had been loaded was removed again, nothing else was touched"
    names = ", ".join(todo.replaced)
    return f"{names}: what was there had been dropped, what is there now is incomplete: restore {todo.archive.id} again"
