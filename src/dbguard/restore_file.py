"""Load a dump that another tool has made. There is no manifest: nothing can be compared with what was saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from dbguard import inventory, sql
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError, RestoreFailed, UsageError
from dbguard.foreign import ForeignDump, statements
from dbguard.loading import packet, run_plain
from dbguard.lock import target_lock
from dbguard.model import Progress, Target
from dbguard.report import Report, Throttled, quiet
from dbguard.restore_plan import LARGEST_PACKET, present, same


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """What a load would do. `used` are databases that hold something now."""

    dump: ForeignDump
    target: Target
    database: str | None  # to load into, where the dump names none
    databases: tuple[str, ...]
    used: tuple[str, ...]
    new: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a person, before the question."""
        return [
            f"file      {self.dump.path}, {self.dump.size} bytes of SQL",
            f"into      {self.target.name}, container {self.target.container.name}, {self.target.server.version}",
            *(f"database  {name}{' is made' if name in self.new else ''}" for name in self.databases),
            *(f"in use    {name} holds data: --in-place loads over it" for name in self.used),
            "note      there is no manifest: that all is there afterwards cannot be proven",
        ]

    def facts(self) -> dict[str, object]:
        return {
            "file": str(self.dump.path),
            "target": str(self.target.name),
            "databases": list(self.databases),
            "used": list(self.used),
        }


def plan_file(dump: ForeignDump, target: Target, database: str | None, *, containers: Containers) -> FilePlan:
    """Raises UsageError or RestoreFailed when it cannot work."""
    if dump.ended is False:
        raise RestoreFailed(
            f"{dump.path} was cut: its last line, `-- Dump completed`, is missing",
            hint="the tool that wrote it failed, or the copy did: nothing was loaded",
        )
    if system := next((name for name in dump.databases if not inventory.is_user_database(name)), None):
        raise RestoreFailed(
            f"{dump.path} would change the system database {system}", hint="take a dump of your own databases only"
        )
    if database is None and not dump.databases:
        raise UsageError(f"{dump.path} names no database", hint="say where to load it: --database NAME")
    if database is not None and dump.databases:
        raise UsageError(f"{dump.path} names its databases: {', '.join(dump.databases)}", hint="leave --database out")
    if database is not None and not inventory.is_user_database(database):
        raise UsageError(f"{database!r} is a system database")
    names = dump.databases or (database or "",)
    full, empty = present(containers, target)
    return FilePlan(
        dump=dump,
        target=target,
        database=database,
        databases=names,
        used=tuple(name for name in names if same(target, name) in full),
        new=tuple(name for name in names if same(target, name) not in full | empty),
    )


def restore_file(
    todo: FilePlan,
    *,
    containers: Containers,
    settings: Settings,
    in_place: bool = False,
    save: Callable[[], None] | None = None,
    report: Report = quiet,
) -> int:
    """Returns how many tables the databases hold then. What there is in them stays, but where the dump itself drops
    it, and before anything is touched `save` is called. Raises RestoreFailed at the first statement that fails."""
    if todo.used and not in_place:
        raise RestoreFailed(
            f"{todo.target.name}: {', '.join(todo.used)} holds data",
            hint="give --in-place to load over it: what is there is backed up first",
        )
    if todo.used and save is not None:
        save()
    with target_lock(settings.state, todo.target.name):
        session = sql.session(containers, todo.target)
        try:
            with packet(session, LARGEST_PACKET):
                run_plain(_script(todo, report), todo.target, containers, settings)
        except BaseException as error:
            error.add_note(_undo(todo, session))
            raise
        found = inventory.take(session, todo.target.server).databases
        wanted = {same(todo.target, name) for name in todo.databases}
        return sum(len(one.tables) for one in found if same(todo.target, one.name) in wanted)


def _script(todo: FilePlan, report: Report) -> Iterator[tuple[bytes, str]]:
    """Behind it a statement ends that the file has left open."""
    throttled, done = Throttled(report), 0
    for data, what in chain(_head(todo), statements(todo.dump), [(b"\n;\n", "")]):
        yield data, what
        done += len(data)
        throttled(
            lambda done=done, what=what: Progress(  # type: ignore[misc]
                target=str(todo.target.name), phase="loading", done=done, total=todo.dump.size, current=what
            )
        )


def _head(todo: FilePlan) -> Iterator[tuple[bytes, str]]:
    if todo.database is not None:
        name = sql.quoted(todo.database)
        yield f"CREATE DATABASE IF NOT EXISTS {name};\nUSE {name};\n".encode(), ""


def _undo(todo: FilePlan, session: sql.Session) -> str:
    """What a person must know after a load that failed. Databases that were not there before are removed."""
    try:
        session.execute(*(f"DROP DATABASE IF EXISTS {sql.quoted(name)}" for name in todo.new))
    except DbguardError as error:
        return f"{', '.join(todo.new)}: what had been loaded could not be removed: {error}"
    if len(todo.new) == len(todo.databases):
        return "what had been loaded was removed again"
    kept = ", ".join(name for name in todo.databases if name not in todo.new)
    return f"{kept}: the file was loaded in part, and what it dropped is gone; the backup from before has it"
