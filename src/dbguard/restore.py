"""Check an archive whole, then load it, then compare what is there with what was saved."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dbguard import inventory, sql
from dbguard.catalog import Catalog
from dbguard.command import Command
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import ArchiveDamaged, DbguardError, ExecFailed, NotFound, RestoreFailed
from dbguard.lock import target_lock
from dbguard.model import Archive, Database, Progress, Target
from dbguard.report import Report, Throttled, quiet
from dbguard.sqldump import Piece, Scanner
from dbguard.stream import Meter, metered, unpacked

_LARGEST_PACKET = 1 << 30
"""Bytes; the most a server takes in one statement (max_allowed_packet)."""
_AT_LINE = re.compile(r"ERROR .* at line (\d+):?")
_BATCH = 256 << 10


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
        return [
            f"archive   {archive.id} of {archive.target}, {archive.software.engine} {archive.software.server_version}",
            f"into      {self.target.name}, container {self.target.container.name}, {self.target.server.version}",
            *(f"database  {_arrow(saved.name, name)}: {len(saved.named())} objects" for saved, name in self.databases),
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
    """Looks at the archive and the server. Raises NotFound or RestoreFailed when it cannot work."""
    if archive.software.engine != target.server.engine:
        raise RestoreFailed(
            f"{archive.id} is a dump of {archive.software.engine}, {target.name} runs {target.server.engine}",
            hint="restore into the same kind of server with --into",
        )
    if archive.largest_statement >= _LARGEST_PACKET:
        raise RestoreFailed(f"{archive.id} holds a statement of {archive.largest_statement} bytes: no server takes it")
    chosen = tuple(saved for saved in archive.databases if database in {None, saved.name})
    if not chosen:
        raise NotFound(f"{archive.id} holds no database {database}")
    present = inventory.take(sql.session(containers, target)).databases
    holds = {one.name: bool(one.named()) for one in present}
    names = [new_name or saved.name for saved in chosen]
    needed = archive.largest_statement + 4096
    return RestorePlan(
        archive=archive,
        target=target,
        databases=tuple(zip(chosen, names, strict=True)),
        emptied=tuple(name for name in names if holds.get(name) is False),
        replaced=tuple(name for name in names if holds.get(name)),
        packet=_LARGEST_PACKET if needed > int(target.server.settings.get("max_allowed_packet", 0)) else None,
    )


def restore(
    todo: RestorePlan,
    *,
    containers: Containers,
    catalog: Catalog,
    settings: Settings,
    replace_existing: bool = False,
    report: Report = quiet,
) -> None:
    """Carries the plan out. No byte reaches the server before the stored checksum was found right."""
    if todo.replaced and not replace_existing:
        raise RestoreFailed(
            f"{todo.target.name}: {', '.join(todo.replaced)} holds data",
            hint="give --replace to drop it first, or restore under another name with --database NAME:NEWNAME",
        )
    with target_lock(settings.state, todo.target.name):
        _check_whole(todo.archive, catalog, report)
        _check_unchanged(todo, containers)
        session = sql.session(containers, todo.target)
        session.execute(*(f"DROP DATABASE {sql.quoted(name)}" for name in (*todo.emptied, *todo.replaced)), "DO 0")
        try:
            with _packet(session, todo):
                _load(todo, containers, catalog, settings, report)
            _compare(todo, session)
        except BaseException:
            _undo(todo, session)
            raise


def _check_whole(archive: Archive, catalog: Catalog, report: Report) -> None:
    blob = archive.blobs["data"]
    throttled, done = Throttled(report), 0
    for chunk in catalog.chunks(archive, blob):
        done += len(chunk)
        share = blob.plain_size * done // max(blob.size, 1)
        throttled(lambda share=share: _progress(archive, "checking", share))  # type: ignore[misc]


def _check_unchanged(todo: RestorePlan, containers: Containers) -> None:
    """The plan may have waited for an answer: what was empty then may hold data now."""
    present = {one.name: bool(one.named()) for one in inventory.take(sql.session(containers, todo.target)).databases}
    filled = [name for _, name in todo.databases if present.get(name) and name not in todo.replaced]
    if filled:
        raise RestoreFailed(f"{todo.target.name}: {', '.join(filled)} has been filled meanwhile: nothing was touched")


def _load(todo: RestorePlan, containers: Containers, catalog: Catalog, settings: Settings, report: Report) -> None:
    argv = ENGINES[todo.target.server.engine].client(todo.target.programs.client, todo.target.server.socket)
    command = Command(argv=argv, login=todo.target.login, feed=True)
    script = _Script(todo, catalog, report)
    try:
        with containers.start(todo.target.container.id, command, stall=settings.stall.total_seconds()) as process:
            for _ in process.output(script):
                pass
    except ExecFailed as error:
        place = script.place(str(error))
        raise RestoreFailed(
            f"{todo.target.name}: {error}{place}", hint="the load was stopped at this statement"
        ) from error


class _Script:
    """The statements to load, as an iterator, remembering which line of them belongs to which object."""

    def __init__(self, todo: RestorePlan, catalog: Catalog, report: Report) -> None:
        self._todo = todo
        self._catalog = catalog
        self._report = Throttled(report)
        self._places: list[tuple[int, str]] = []
        self._line = 1

    def __iter__(self) -> Iterator[bytes]:
        batch: list[bytes] = []
        size = 0
        for data in self._statements():
            self._line += data.count(b"\n")
            batch.append(data)
            size += len(data)
            if size >= _BATCH:
                yield b"".join(batch)
                batch, size = [], 0
        if batch:
            yield b"".join(batch)

    def place(self, message: str) -> str:
        """`, in table shop.orders`, from the line that the client's message names."""
        match = _AT_LINE.search(message)
        if match is None:
            return ""
        line = int(match.group(1))
        before = [what for start, what in self._places if start <= line]
        return f", in {before[-1]}" if before else ""

    def _statements(self) -> Iterator[bytes]:
        archive = self._todo.archive
        blob = archive.blobs["data"]
        meter = Meter()
        scanner = Scanner()
        select = _Selection(self._todo)
        for chunk in metered(unpacked(self._catalog.chunks(archive, blob)), meter):
            for piece in scanner.feed(chunk):
                yield from select.of(piece)
                self._note(piece)
            self._report(lambda: _progress(archive, "loading", meter.size, self._places[-1][1] if self._places else ""))
        for piece in scanner.close():
            yield from select.of(piece)
        if meter.sha256 != blob.plain_sha256:
            raise ArchiveDamaged(f"archive {archive.id}: what was unpacked is not what was dumped")

    def _note(self, piece: Piece) -> None:
        if piece.object is not None:
            kind, name = piece.object
            what = f"{kind} {piece.database}.{name}"
            if not self._places or self._places[-1][1] != what:
                self._places.append((self._line, what))


class _Selection:
    """Of a dump, the part that was asked for, under the name that was asked for."""

    def __init__(self, todo: RestorePlan) -> None:
        self._names = {saved.name for saved, _ in todo.databases}
        self._whole = len(self._names) == len(todo.archive.databases)
        self._renamed = {saved.name: (saved, name) for saved, name in todo.databases if saved.name != name}

    def of(self, piece: Piece) -> Iterator[bytes]:
        if piece.kind in {"database", "use"} and piece.database in self._renamed:
            saved, name = self._renamed[piece.database]
            yield _creation(saved, name) if piece.kind == "database" else b""
            yield f"USE {sql.quoted(name)};\n".encode()
        elif self._whole or piece.database is None or piece.database in self._names:
            yield piece.data


def _creation(saved: Database, name: str) -> bytes:
    """The saved CREATE DATABASE with another name."""
    return (saved.create.replace(sql.quoted(saved.name), sql.quoted(name), 1) + ";\n").encode()


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
    found = {database.name: database.named() for database in inventory.take(session).databases}
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
        session.execute(*(f"DROP DATABASE IF EXISTS {sql.quoted(name)}" for name in mine), "DO 0")


def _progress(archive: Archive, phase: str, done: int, current: str = "") -> Progress:
    total = archive.blobs["data"].plain_size
    return Progress(target=archive.target, phase=phase, done=done, total=total, current=current)


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"
