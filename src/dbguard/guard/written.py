"""Was anything written to this server since an archive of it? Asked of it, or of its files when it does not run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath

from dbguard import binlog, sql
from dbguard.archive import Archive, Marker
from dbguard.command import Command
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.discover import sighting
from dbguard.engines import ENGINES
from dbguard.errors import DbguardError, ExecFailed, NotFound, QueryFailed
from dbguard.freshness import Contents
from dbguard.model import Login, Target
from dbguard.since import MOST_EVENTS, UNCHANGED, Since, by_events, by_gtid, same_start

_LOG_FILE = re.compile(r"[\w.-]+\.(\d{6,})")
_MAKES_ITS_OWN = ("ib*", "#ib*", "undo*", "*.ibd", "*.ibu", "#innodb*", "*.pid", "*.err", "*.log", "ddl*", "*.sock")
"""Files of InnoDB, whose LSN tells about them, and what a server writes that nobody would miss."""


def since(containers: Containers, settings: Settings, contents: Contents, archive: Archive) -> Since:
    """Never raises: what cannot be told is unknown, with the reason."""
    if archive.marker is None:
        return Since.unknown("the backup does not know its position")
    try:
        if not contents.running:
            return _in_files(containers, contents, archive.marker)
        seen = sighting(containers, settings, containers.inspect(contents.container))
        if seen.target is None:
            return Since.unknown(seen.why_not or "its server does not answer")
        return _on_server(containers, seen.target, archive, archive.marker)
    except DbguardError as error:
        return Since.unknown(str(error))


# --- of a server that runs ---


def _on_server(containers: Containers, target: Target, archive: Archive, then: Marker) -> Since:
    asking, server = sql.session(containers, target), target.server
    engine = ENGINES[server.engine]
    statements = engine.position(server)
    if not statements:
        return Since.unknown(f"{server.account} may not ask for the write position", mendable=False)
    now = engine.marker(asking.query(*statements))
    stood_still = same_start(archive.source.started, server.started) and then.lsn is not None and then.lsn == now.lsn
    if now.file is None and server.engine == "mysql":
        return Since.unknown("it has no binary log", mendable=False)  # a dump moves the LSN, by 10 in 9.7.4
    if now.file is None:
        return _by_lsn(containers, target, archive) if stood_still else _moved(archive, target, then, now)
    if gap := _gap(asking, target):
        return Since.unknown(gap, mendable=False)
    found = by_gtid(then, now)
    if found is not None:
        return found
    if then.file is None or then.offset is None:
        return Since.unknown("the backup does not know its place in the binary log")
    if (then.file, then.offset) == (now.file, now.offset):
        return UNCHANGED
    return by_events(_events(asking, then.file, then.offset))


def _gap(asking: sql.Asking, target: Target) -> str:
    """Why the binary log does not hold all that is written."""
    engine = ENGINES[target.server.engine]
    status, followed, variables = asking.query(
        engine.log_status(target.server),
        engine.replica_status(target.server),
        "SHOW GLOBAL VARIABLES WHERE variable_name IN ('log_replica_updates', 'log_slave_updates')",
    )
    if any(text not in {"", "NULL"} for text in status[0][2:4]):
        return "only some databases are in its binary log"
    if followed and not any(value == "ON" for _, value in variables):
        return "it follows another server, and does not log what it does for it"
    return ""


def _events(asking: sql.Asking, file: str, offset: int) -> Iterator[str]:
    """The names of the events behind this place of the binary log."""
    files = [row[0] for row in asking.query("SHOW BINARY LOGS")[0]]
    if file not in files:
        raise NotFound(f"its binary log of that time, {file}, is gone")
    for name in files[files.index(file) :]:
        if not _LOG_FILE.fullmatch(name):
            raise NotFound(f"its binary log has an odd name: {name}")
        start = f" FROM {offset:d}" if name == file else ""
        yield from (row[2] for row in asking.query(f"SHOW BINLOG EVENTS IN '{name}'{start} LIMIT {MOST_EVENTS:d}")[0])


def _moved(archive: Archive, target: Target, then: Marker, now: Marker) -> Since:
    """Without a binary log there is the LSN, which moves when the server starts."""
    if then.file is not None:
        return Since.unknown("its binary log was switched off")
    if then.lsn is None or now.lsn is None:
        return Since.unknown("it has no binary log, and its LSN may not be asked for")
    if not same_start(archive.source.started, target.server.started):
        return Since.unknown("it has no binary log, and was started again")
    return Since.written(None)


def _by_lsn(containers: Containers, target: Target, archive: Archive) -> Since:
    """An LSN that stands still says that InnoDB is as it was; the times of all other files say the rest."""
    others = {
        table.engine or "nobody knows which engine"
        for database in archive.databases
        for table in database.tables
        if (table.engine or "").lower() != "innodb"
    }
    if others:
        kinds = ", ".join(sorted(others))
        return Since.unknown(f"it has no binary log, and tables of {kinds}", mendable=False)
    changed = _changed_files(containers, target, archive.snapshot)
    return Since.written(None) if changed else UNCHANGED


def _changed_files(containers: Containers, target: Target, snapshot: datetime) -> bool:
    """MariaDB keeps tables' definitions, triggers, routines and accounts in files that are not InnoDB's."""
    own = [word for name in _MAKES_ITS_OWN for word in ("!", "-name", name)]
    time = f"@{int(snapshot.timestamp())}"
    argv = ("find", target.server.datadir, "-type", "f", "-newermt", time, *own, "-print", "-quit")
    try:
        return bool(containers.run(target.container.id, Command(argv=argv, login=Login())).stdout)
    except ExecFailed as error:
        raise QueryFailed(f"`find` in its container failed: {error}") from error


# --- of files ---


def _in_files(containers: Containers, contents: Contents, then: Marker) -> Since:
    """The binary log tells, whether the server was stopped or killed: a commit is in it first."""
    if then.file is None or then.offset is None:
        return Since.unknown("it has no binary log, and is not running")
    match = _LOG_FILE.fullmatch(then.file)
    if match is None:
        return Since.unknown(f"its binary log has an odd name: {then.file}")
    stem, number = then.file.removesuffix(match[1]), match[1]
    found: list[str] = []
    start = then.offset
    for place in itertools.count(int(number)):
        file = f"{stem}{place:0{len(number)}d}"
        chunks = containers.file(contents.container, str(PurePosixPath(contents.folder) / file))
        if chunks is None:
            break
        try:
            found += itertools.islice(binlog.events(chunks, start), MOST_EVENTS)
        except binlog.Unreadable as error:
            return Since.unknown(f"its binary log {file} cannot be read: {error}")
        start = len(binlog.MAGIC)
    if file == then.file:
        return Since.unknown(f"its binary log of that time, {file}, is not in its data directory")
    return by_events(found)
