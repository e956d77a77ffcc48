"""May this volume be deleted? Pure; the answer says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from dbguard.archive import Stored, Summary
from dbguard.model import TargetName, VolumeVerdict
from dbguard.since import Since

_SKEW = timedelta(minutes=1)
"""How far ahead of us a backup's clock may be."""

Require = Literal["exact", "recent", "complete"]
Others = Literal["allow", "databases", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What it takes to let a volume go, see GuardSection."""

    require: Require = "exact"
    recent: timedelta = timedelta(minutes=15)
    others: Others = "databases"
    ignore: frozenset[str] = frozenset()


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
    other: str = ""  # a database of a kind that cannot be backed up here: "postgresql", …
    empty: bool = False
    elsewhere: str = ""  # where its data really lies: deleting the volume leaves it there
    waived: str = ""  # the label that says that it may go
    container: str = ""  # id of one that mounts it, and in it the data directory: where to ask what was written
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """All that is stored for the targets of one volume, newest first; of what is damaged, id and reason.

    `since` says of an archive, by its id, what was written after it.
    """

    archives: Sequence[Stored] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, Since] = field(default_factory=dict)


def decide(contents: Contents, backups: Backups, *, rules: Rules, now: datetime) -> VolumeVerdict:
    """A volume with a database may go when a backup of this same server allows it.

    The backup must be complete and taken with this very volume. A copy of a data directory has the same identity and
    other data, so the identity alone proves nothing.
    """
    allowed, reason, stored = _decided(contents, backups, rules, now)
    likely = str(contents.targets[0]) if contents.engine and contents.targets else ""
    return VolumeVerdict(
        volume=contents.volume,
        what=_what(contents),
        allowed=allowed,
        reason=reason,
        archive=stored.id if stored is not None else "",
        target=stored.summary.target if stored is not None else likely,
        mendable=not allowed and _mendable(contents, backups),
    )


def _mendable(contents: Contents, backups: Backups) -> bool:
    """Whether a backup now would allow it: one of a running server, by an account that sees everything."""
    newest = next((one.summary for one in backups.archives if _is_of(one.summary, contents)), None)
    limited = newest is not None and not newest.complete and not newest.selected
    since = backups.since.get(newest.id) if newest is not None else None
    if since is not None and not since.mendable:
        return False
    return contents.running and bool(contents.identity) and not contents.unknown and not limited


def _what(contents: Contents) -> str:
    if contents.engine is not None:
        return " ".join([contents.engine, *map(str, contents.targets[:1])])
    if contents.unknown:
        return "unknown"
    return contents.other or ("empty" if contents.empty else "files")


def _spared(contents: Contents, rules: Rules) -> str:
    """Why it may go, or stays, whatever is on it."""
    if contents.kept_by:
        return f"stays: still used by {', '.join(contents.kept_by)}"
    if contents.volume in rules.ignore:
        return "guard.ignore names it"
    if contents.waived:
        return f"its label {contents.waived} lets it go"
    if contents.elsewhere:
        return f"its data stays in {contents.elsewhere}"
    return ""


def _decided(contents: Contents, backups: Backups, rules: Rules, now: datetime) -> tuple[bool, str, Stored | None]:
    """Whether it may go, why, and the archive that allows it, where it takes one."""
    if spared := _spared(contents, rules):
        return True, spared, None
    if contents.unknown:
        return False, contents.unknown, None
    if contents.engine is None:
        return *_decided_other(contents, rules), None
    if not contents.identity:
        return False, "its files do not say which server they belong to", None
    if stored := relied_on(contents, backups, rules, now):
        return True, _praise(stored, backups, now), stored
    stopped = "" if contents.running else "; its server is not running"
    return False, _objection(contents, backups, rules, now) + stopped, None


def _decided_other(contents: Contents, rules: Rules) -> tuple[bool, str]:
    if contents.empty:
        return True, "nothing is on it"
    if rules.others == "refuse" or (contents.other and rules.others == "databases"):
        return False, "cannot be backed up here: guard.others refuses it"
    return True, "not a MySQL or MariaDB database"


def candidates(contents: Contents, backups: Backups, now: datetime) -> Iterable[Stored]:
    """The archives that may allow the deletion, newest first."""
    for stored in backups.archives:
        archive, good = stored.summary, stored.summary.complete and not stored.marks.failed
        if good and _is_of(archive, contents) and now - archive.snapshot >= -_SKEW:
            yield stored


def relied_on(contents: Contents, backups: Backups, rules: Rules, now: datetime) -> Stored | None:
    """The archive that allows the deletion, once it is verified where that is required."""
    for stored in candidates(contents, backups, now):
        since = backups.since.get(stored.id)
        young = rules.require != "exact" and now - stored.summary.snapshot <= rules.recent
        if stored.id not in backups.damaged and (young or (since is not None and since.unchanged)):
            return stored
    return None


def _is_of(archive: Summary, contents: Contents) -> bool:
    return archive.identity == contents.identity and contents.volume in archive.volumes


def _praise(stored: Stored, backups: Backups, now: datetime) -> str:
    since = backups.since.get(stored.id)
    words = [f"backup {stored.id}", f"{_age(stored.summary, now)} old"]
    words += ["verified"] if stored.marks.verified else ["not verified"]
    return ", ".join([*words, *([since.words] if since is not None else [])])


def _objection(contents: Contents, backups: Backups, rules: Rules, now: datetime) -> str:
    """What is wrong with the newest backup, the one that people expect to count."""
    summaries = [stored.summary for stored in backups.archives]
    own = [archive for archive in summaries if _is_of(archive, contents)]
    newest = max([*(archive.id for archive in summaries), *backups.damaged], default=None)
    if newest is None:
        return "never backed up"
    if newest in backups.damaged:
        return f"its newest backup {newest} cannot be relied on: {backups.damaged[newest]}"
    archive = own[0] if own else summaries[0]
    if archive.identity != contents.identity:
        return f"never backed up: the backups of {archive.target} are of another server"
    if not own:
        return f"never backed up: the backups of {archive.target} are of its volume {', '.join(archive.volumes)}"
    if archive.snapshot - now > _SKEW:
        return f"its newest backup {archive.id} lies in the future: which clock is wrong?"
    if not archive.complete:
        return f"its newest backup {archive.id} is partial: {'; '.join(archive.partial_reasons)}"
    since = backups.since.get(archive.id)
    old = f"its newest backup {archive.id} is {_age(archive, now)} old"
    if rules.require != "exact":
        old += f", more than {_words(rules.recent)}"
    return f"{old}, {since.words}" if since is not None else old


def _age(archive: Summary, now: datetime) -> str:
    return _words(max(now - archive.snapshot, timedelta()))


def _words(span: timedelta) -> str:
    """`40 s`, `15 min`, `26 h`, `3 days`: rounded down, and two of a unit before it is used."""
    seconds = span.total_seconds()
    for length, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
