"""Check an archive whole, then load it, then compare what is there with what was saved."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dbguard import inventory, sql
from dbguard.archive import Archive, Database
from dbguard.catalog import Catalog
from dbguard.command import Command
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import (
    DbguardError,
    ExecFailed,
    NotFound,
    QueryFailed,
    RestoreFailed,
    UsageError,
)
from dbguard.lock import target_lock
from dbguard.model import Target
from dbguard.report import Report, quiet
from dbguard.script import Script
from dbguard.whole import whole_copy

_CASE = "lower_case_table_names"
_LOCK_WAIT = 30
"""Seconds that a DROP waits for those who use the database."""
_LARGEST_PACKET = 1 << 30
"""Bytes; the most a server takes in one statement (max_allowed_packet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore would do. `replaced` are databases that hold something now and would be dropped."""

    archive: Archive
    target: Target
    databases: tuple[tuple[Database, str], ...]  # as saved, and the name it gets
    emptied: tuple[str, ...]
    replaced: tuple[str, ...]
    packet: int | None  # max_allowed_packet to set while loading, when the server's is too small

    def lines(self) -> list[str]:
        """For a person, before the question."""
        archive = self.archive
        partial = [f"partial   {reason}" for reason in archive.partial_reasons]
        return [
            f"archive   {archive.id} of {archive.target}, {archive.software.engine} {archive.software.server_version}",
            *partial,
            f"into      {self.target.name}, container {self.target.container.name}, {self.target.server.version}",
            *(f"database  {_arrow(saved.name, name)}, objects: {len(saved.named())}" for saved, name in self.databases),
            *(
                f"in use    {name} holds data: only --replace drops it, and then what it holds is lost"
                for name in self.replaced
            ),
            *((f"setting   max_allowed_packet = {self.packet} while loading",) if self.packet else ()),
        ]


def plan(
    archive: Archive,
    target: Target,
    *,
    containers: Containers,
    database: str | None = None,
    new_name: str | None = None,
) -> RestorePlan:
    """Looks at the archive and the server. Raises NotFound, UsageError or RestoreFailed when it cannot work."""
    _check_kind(archive, target)
    chosen = tuple(saved for saved in archive.databases if database in {None, saved.name})
    if not chosen:
        raise NotFound(f"{archive.id} holds no database {database}")
    if new_name is not None and (len(chosen) > 1 or not inventory.is_user_database(new_name)):
        raise UsageError(
            f"{new_name!r} cannot be the new name", hint="give one database, and no system database's name"
        )
    names = [new_name or saved.name for saved in chosen]
    full, empty = _present(containers, target)
    needed = archive.largest_statement + 4096
    return RestorePlan(
        archive=archive,
        target=target,
        databases=tuple(zip(chosen, names, strict=True)),
        emptied=tuple(name for name in names if _same(target, name) in empty),
        replaced=tuple(name for name in names if _same(target, name) in full),
        packet=_LARGEST_PACKET if needed > int(target.server.settings.get("max_allowed_packet", 0)) else None,
    )


def _check_kind(archive: Archive, target: Target) -> None:
    """The archive must be one that this server can hold."""
    if archive.software.engine != target.server.engine:
        raise RestoreFailed(
            f"{archive.id} is a dump of {archive.software.engine}, {target.name} runs {target.server.engine}",
            hint="restore into the same kind of server with --into",
        )
    theirs, ours = (settings.get(_CASE, "0") for settings in (archive.source.settings, target.server.settings))
    if theirs != ours:
        raise RestoreFailed(
            f"{archive.id} was taken with {_CASE} = {theirs}, {target.name} has {ours}: names would run together",
            hint=f"start a server with --lower-case-table-names={theirs}, it cannot be changed later",
        )
    if archive.largest_statement >= _LARGEST_PACKET:
        raise RestoreFailed(f"{archive.id} holds a statement of {archive.largest_statement} bytes: no server takes it")


def _present(containers: Containers, target: Target) -> tuple[set[str], set[str]]:
    """The databases there now that hold something, and those that hold nothing."""
    found = inventory.take(sql.session(containers, target), target.server).databases
    full = {_same(target, one.name) for one in found if one.named()}
    return full, {_same(target, one.name) for one in found} - full


def _same(target: Target, name: str) -> str:
    """The form in which two names of one database are equal on this server."""
    return name if target.server.settings.get(_CASE, "0") == "0" else name.casefold()


def restore(
    todo: RestorePlan,
    *,
    containers: Containers,
    catalogs: Sequence[Catalog],
    settings: Settings,
    keys: Sequence[Any] = (),
    replace_existing: bool = False,
    report: Report = quiet,
) -> tuple[str, ...]:
    """Carries the plan out, from the first of the catalogs whose copy is whole; says what is wrong with others.

    No byte reaches the server before the stored checksum was found right, and an encrypted archive was opened to its
    end with one of the `keys`.
    """
    if todo.replaced and not replace_existing:
        raise RestoreFailed(
            f"{todo.target.name}: {', '.join(todo.replaced)} holds data",
            hint="give --replace to drop it first, or restore under another name with --database NAME:NEWNAME",
        )
    with target_lock(settings.state, todo.target.name):
        catalog, passed_over = whole_copy(todo.archive, catalogs, keys, report)
        _check_unchanged(todo, containers)
        session = sql.session(containers, todo.target)
        _drop(todo, session, settings)
        try:
            with _packet(session, todo):
                _load(todo, containers, catalog, settings, keys, report)
            _compare(todo, session)
        except BaseException as error:
            _undo(todo, session)
            error.add_note(_left(todo))
            raise
        return passed_over


def _check_unchanged(todo: RestorePlan, containers: Containers) -> None:
    """The plan may have waited for an answer: what was empty or not there then may hold data now."""
    full, empty = _present(containers, todo.target)
    now = {name: (_same(todo.target, name) in full, _same(todo.target, name) in empty) for _, name in todo.databases}
    if any(state != (name in todo.replaced, name in todo.emptied) for name, state in now.items()):
        raise RestoreFailed(f"{todo.target.name}: its databases have changed meanwhile: nothing was touched")


def _drop(todo: RestorePlan, session: sql.Session, settings: Settings) -> None:
    """Makes room. The server gives up waiting for a lock before we do, so that no DROP comes true later."""
    gone: list[str] = []
    for name in (*todo.emptied, *todo.replaced):
        statements = (f"SET SESSION lock_wait_timeout = {_LOCK_WAIT}", f"DROP DATABASE {sql.quoted(name)}")
        try:
            session.query(*statements, timeout=max(settings.stall.total_seconds(), 2 * _LOCK_WAIT))
        except QueryFailed as error:
            lost = f"; dropped already: {', '.join(gone)}" if gone else "; nothing was dropped"
            raise RestoreFailed(
                f"{todo.target.name}: {name} could not be dropped: {error}{lost}",
                hint="does another session use it? stop the applications, then type the same command again",
            ) from error
        gone.append(name)


def _load(
    todo: RestorePlan,
    containers: Containers,
    catalog: Catalog,
    settings: Settings,
    keys: Sequence[Any],
    report: Report,
) -> None:
    argv = ENGINES[todo.target.server.engine].client(todo.target.programs.client, todo.target.server.socket)
    command = Command(argv=argv, login=todo.target.login, feed=True)
    script = Script(todo.archive, {saved.name: name for saved, name in todo.databases}, catalog, report, keys=keys)
    fence = f"fence-{command.tag}"
    said = b""
    try:
        with containers.start(todo.target.container.id, command, stall=settings.stall.total_seconds()) as process:
            for data in process.output(itertools.chain(script, [f"SELECT '{fence}';\n".encode()])):
                said = (said + data)[-len(fence) - 1 :]
    except ExecFailed as error:
        place = script.place(str(error))
        where = f", in {place}" if place else ""
        hint = "the load stopped at this statement" if place else "did the server stop? `docker logs` of it may say why"
        raise RestoreFailed(f"{todo.target.name}: {error}{where}", hint=hint) from error
    if said != f"{fence}\n".encode():  # an input that was cut looks to the client like the end of the script
        raise RestoreFailed(f"{todo.target.name}: the server did not see the whole script: its input was cut")


@contextlib.contextmanager
def _packet(session: sql.Session, todo: RestorePlan) -> Iterator[None]:
    """Lets the server take the largest statement of the dump, for the time of the load."""
    if todo.packet is None:
        yield
        return
    before = session.query("SELECT @@GLOBAL.max_allowed_packet")[0][0][0]
    session.execute(f"SET GLOBAL max_allowed_packet = {todo.packet}")
    try:
        yield
    finally:
        with contextlib.suppress(DbguardError):
            session.execute(f"SET GLOBAL max_allowed_packet = {int(before)}")


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


def _undo(todo: RestorePlan, session: sql.Session) -> None:
    """A load that failed leaves nothing behind, where there was nothing before."""
    mine = [name for _, name in todo.databases if name not in todo.replaced]
    with contextlib.suppress(DbguardError):
        session.execute(*(f"DROP DATABASE IF EXISTS {sql.quoted(name)}" for name in mine))


def _left(todo: RestorePlan) -> str:
    """What a person must know after a load that did not come to its end."""
    if not todo.replaced:
        return "what had been loaded was removed again, nothing else was touched"
    names = ", ".join(todo.replaced)
    return f"{names}: what was there had been dropped, what is there now is incomplete: restore {todo.archive.id} again"


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"
