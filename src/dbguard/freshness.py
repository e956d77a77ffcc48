"""May this volume be deleted? Pure; the answer says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbguard.archive import Summary
from dbguard.model import TargetName, VolumeVerdict

_SKEW = timedelta(minutes=1)
"""How far ahead of us a backup's clock may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is on a volume, as far as anyone could see."""

    volume: str
    engine: str | None = None  # "mysql", "mariadb", or "database" when it is one of them; None when it is neither
    identity: str = ""  # of the server that wrote it; empty when nobody could read it
    targets: tuple[TargetName, ...] = ()  # who may have backed it up, the likeliest first
    running: bool = False
    kept_by: tuple[str, ...] = ()  # containers that hold it and stay: the engine will not delete it
    unknown: str = ""  # why nobody can tell what it is, or whose


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """All that is stored for the targets of one volume, newest first; of what is damaged, id and reason."""

    archives: Sequence[Summary] = ()
    damaged: Mapping[str, str]


def decide(contents: Contents, backups: Backups, *, recent: timedelta, now: datetime) -> VolumeVerdict:
    """A volume with a database may go when a backup of this same server allows it.

    The backup must be complete and taken with this very volume, its snapshot at most `recent` old. A copy of a
    data directory has the same identity and other data, so the identity alone proves nothing.
    """
    allowed, reason = _decided(contents, backups, recent, now)
    return VolumeVerdict(volume=contents.volume, what=_what(contents), allowed=allowed, reason=reason)


def _what(contents: Contents) -> str:
    if contents.engine is None:
        return "unknown" if contents.unknown else "files"
    return " ".join([contents.engine, *map(str, contents.targets[:1])])


def _decided(contents: Contents, backups: Backups, recent: timedelta, now: datetime) -> tuple[bool, str]:
    if contents.kept_by:
        return True, f"stays: still used by {', '.join(contents.kept_by)}"
    if contents.unknown:
        return False, contents.unknown
    if contents.engine is None:
        return True, "not a MySQL or MariaDB database"
    if not contents.identity:
        return False, "its files do not say which server they belong to"
    if archive := relied_on(contents, backups, recent, now):
        return True, f"backup {archive.id} is {_age(archive, now)} old"
    own = [archive for archive in backups.archives if _is_of(archive, contents)]
    stopped = "" if contents.running else "; its server is not running: start it first"
    return False, _objection(contents, backups, own, recent, now) + stopped


def relied_on(contents: Contents, backups: Backups, recent: timedelta, now: datetime) -> Summary | None:
    """The archive that allows the deletion."""
    return next(
        (
            archive
            for archive in backups.archives
            if _is_of(archive, contents) and archive.complete and -_SKEW <= now - archive.snapshot <= recent
        ),
        None,
    )


def _is_of(archive: Summary, contents: Contents) -> bool:
    return archive.identity == contents.identity and contents.volume in archive.volumes


def _objection(contents: Contents, backups: Backups, own: Sequence[Summary], recent: timedelta, now: datetime) -> str:
    """What is wrong with the newest backup, the one that people expect to count."""
    newest = max([*(archive.id for archive in backups.archives), *backups.damaged], default=None)
    if newest is None:
        return "never backed up"
    if newest in backups.damaged:
        return f"its newest backup {newest} is damaged: {backups.damaged[newest]}"
    archive = own[0] if own else backups.archives[0]
    if archive.identity != contents.identity:
        return f"never backed up: the backups of {archive.target} are of another server"
    if not own:
        return f"never backed up: the backups of {archive.target} are of its volume {', '.join(archive.volumes)}"
    if archive.snapshot - now > _SKEW:
        return f"its newest backup {archive.id} lies in the future: which clock is wrong?"
    if not archive.complete:
        return f"its newest backup {archive.id} is partial: {'; '.join(archive.partial_reasons)}"
    return f"its newest backup {archive.id} is {_age(archive, now)} old, more than {_words(recent)}"


def _age(archive: Summary, now: datetime) -> str:
    return _words(max(now - archive.snapshot, timedelta()))


def _words(span: timedelta) -> str:
    """`40 s`, `15 min`, `26 h`, `3 days`: rounded down, and two of a unit before it is used."""
    seconds = span.total_seconds()
    for length, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
