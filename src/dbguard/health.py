"""How well each target is protected: what `status`, the container's health, metrics and messages go by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from dbguard.archive import Stored
from dbguard.habits import Habits
from dbguard.model import Sighting, TargetName
from dbguard.past import Past
from dbguard.retention import SKEW
from dbguard.suspicion import suspicious

Problem = Literal[
    "stale",  # the newest good archive is too old, or there is none and the last run failed
    "failed",  # the last run saved nothing
    "unreachable",  # it cannot be backed up as it is: no login, a wrong label
    "partial",  # the newest good archive lacks what the account cannot see
    "suspicious",  # the newest archive has lost much since the one before
    "unverified",  # the newest archive's check failed
    "uncopied",  # an archive is not in every storage
    "unpruned",  # what should have gone is still there
    "unreadable",  # a storage cannot be read
    "unlocked",  # a volume of it should have an anchor, and has none
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetHealth:
    """One target. Sizes in bytes; times are aware."""

    target: str
    problems: Mapping[Problem, str] = field(default_factory=dict)  # each in one line
    newest: datetime | None = None  # the snapshot of the newest good archive
    newest_id: str | None = None
    max_age: timedelta
    archives: int = 0
    size: int = 0  # of the newest archive
    plain_size: int = 0
    took: timedelta | None = None  # to make it
    next_run: datetime | None = None
    running_since: datetime | None = None

    @property
    def healthy(self) -> bool:
        """Its newest good backup is as young as it should be; other problems are told, and do not count here."""
        return "stale" not in self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All targets of one sidecar at one moment; `problems` are those of no single target, by what they are about."""

    at: datetime
    targets: tuple[TargetHealth, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.problems and all(target.healthy for target in self.targets)


def with_problem(health: TargetHealth, problem: Problem, text: str) -> TargetHealth:
    """The same target with one problem more."""
    return replace(health, problems={**health.problems, problem: text})


def newest_good(archives: Sequence[Stored], now: datetime) -> Stored | None:
    """The one that was ready last, of the whole target: no failed check, and not from a future that a wrong clock has
    seen."""
    sound = [one for one in archives if not one.marks.failed and not one.summary.selected]
    good = [one for one in sound if one.summary.finished <= now + SKEW]
    return max(good, key=lambda one: one.summary.finished, default=None)


def assess(
    name: TargetName,
    *,
    habits: Habits,
    archives: Sequence[Stored],
    unreadable: Mapping[str, str],
    seen: Sighting | None,
    past: Past,
    now: datetime,
    max_age: timedelta | None = None,
    next_run: datetime | None = None,
    running_since: datetime | None = None,
) -> TargetHealth:
    """`archives` are all good ones in the storages that can be read, `unreadable` says why the others cannot; a given
    `max_age` is above what the habits say."""
    newest = newest_good(archives, now)
    summary = newest.summary if newest is not None else None
    if max_age is None:
        max_age = habits.max_age(summary.snapshot if summary is not None else now)
    problems: dict[Problem, str] = {}
    if why_not := _why_not(seen):
        problems["unreachable"] = why_not
    if past.error and not _done_since(past, newest):
        problems["failed"] = past.error
    if summary is not None and summary.age(now) > max_age:
        problems["stale"] = f"the newest good backup is older than {max_age}: of {summary.snapshot:%Y-%m-%d %H:%M} UTC"
        if seen is None:
            problems["stale"] += "; no running container is this target"
    if summary is not None and not summary.complete:
        problems["partial"] = f"{summary.id}: {'; '.join(summary.partial_reasons)}"
    if past.nothing and summary is not None:
        problems["failed"] = "the server has no database any more"
    if summary is None and (reason := past.error or why_not or "; ".join(unreadable.values())):
        problems["stale"] = f"there is no good backup: {reason}"
    return TargetHealth(
        target=str(name),
        problems=problems | _of_archives(archives, past, unreadable),
        newest=summary.snapshot if summary is not None else None,
        newest_id=summary.id if summary is not None else None,
        max_age=max_age,
        archives=len(archives),
        size=summary.size if summary is not None else 0,
        plain_size=summary.plain_size if summary is not None else 0,
        took=summary.finished - summary.started if summary is not None else None,
        next_run=next_run,
        running_since=running_since,
    )


def _done_since(past: Past, newest: Stored | None) -> bool:
    """Somebody has typed `backup now`, and it went well."""
    return newest is not None and past.ended is not None and newest.summary.finished > past.ended


def _why_not(seen: Sighting | None) -> str:
    """A server that is starting is no problem yet; one that does so for too long no longer counts as starting."""
    return seen.why_not or "" if seen is not None and seen.target is None and not seen.starting else ""


def _of_archives(archives: Sequence[Stored], past: Past, unreadable: Mapping[str, str]) -> dict[Problem, str]:
    found: dict[Problem, str] = {}
    latest = max(archives, key=lambda one: one.id, default=None)
    if latest is not None and (reasons := suspicious(archives).get(latest.id)):
        found["suspicious"] = f"{latest.id}: {'; '.join(reasons)}; `dbguard confirm {latest.id}` if it is right"
    if latest is not None and latest.marks.failed:
        found["unverified"] = f"the check of {latest.id} failed"
    if past.uncopied:
        found["uncopied"] = "; ".join(past.uncopied)
    if past.unpruned:
        found["unpruned"] = "; ".join(past.unpruned)
    if unreadable:
        found["unreadable"] = "; ".join(f"{url}: {why}" for url, why in unreadable.items())
    return found
