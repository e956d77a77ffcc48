"""When a target is backed up next, and which runs begin now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dbguard.archive import Stored
from dbguard.habits import Habits
from dbguard.health import newest_good
from dbguard.model import TargetName
from dbguard.past import Past
from dbguard.retention import SKEW

AFTER_A_FAILURE = timedelta(hours=1)
"""After a run and all its retries have failed, the next one comes then, or at the next time of the schedule."""
_CRASHED = timedelta(seconds=3)
"""A container that starts so soon after a failed run was brought down by it: that is no reason to do it again."""
_UNTIL_A_DATABASE = timedelta(minutes=1)
_UNTIL_COPIES = timedelta(minutes=10)

Work = Literal["backup", "copies", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A target that could be backed up now: its server answers."""

    name: TargetName
    habits: Habits
    archives: Sequence[Stored]
    past: Past
    container: str  # its id
    started: datetime  # the container; what has failed with one start may go well with the next

    def next_run(self, now: datetime) -> datetime:
        """A moment that is not after `now` means: now.

        A run is due when a time of the schedule has passed since the newest archive was ready, however many have:
        what was missed while nothing ran is caught up once, and what passed during a long run is skipped. So what
        must survive a restart is in the storage.
        """
        last = self._last(now)
        slot = self.habits.due(self.name, last) if last is not None else now
        ended = self.past.ended
        if ended is None or ended > now:
            return slot
        following = self.habits.due(self.name, ended)
        if not (self.past.nothing or self.past.error):  # it saved one, even if we cannot see it where we look
            return max(slot, following)
        if self.past.container != self.container or self.started > ended + _CRASHED:
            return slot
        return max(slot, ended + _UNTIL_A_DATABASE if self.past.nothing else min(ended + AFTER_A_FAILURE, following))

    def _last(self, now: datetime) -> datetime | None:
        """When the newest archive was ready. Where a clock was wrong and archives are from the future, what they say
        about the time is worth nothing: then our own memory counts."""
        if any(one.summary.finished > now + SKEW for one in self.archives):
            return self.past.ended if self.past.ended is not None and self.past.ended <= now else None
        newest = newest_good(self.archives, now)
        return newest.summary.finished if newest is not None else None

    def work(self, now: datetime) -> Work | None:
        """What is to be done for it now."""
        if self.next_run(now) <= now:
            return "backup"
        tried = max(filter(None, (self.past.ended, self.past.copied)), default=None)
        waited = tried is None or not tried <= now < tried + _UNTIL_COPIES
        return "copies" if self.past.uncopied and waited else None


def proof_due(habits: Habits, past: Past, since: datetime, now: datetime) -> bool:
    """Whether a time to verify has passed that nobody has made use of yet. It waits for a backup that is due or runs,
    whose archive will be the newest; so two schedules that meet always verify what is new. Where nothing is remembered
    the times count from `since` on."""
    last = past.checked if past.checked is not None and past.checked <= now else since
    return habits.verification is not None and habits.verification.after(last) <= now


def orders(
    candidates: Iterable[Candidate], running: Collection[TargetName], *, parallel: int, now: datetime
) -> list[tuple[Candidate, Work]]:
    """The runs that begin now, the longest due first; never two of one target, never more than `parallel` in all."""
    waiting = [(one, work) for one in candidates if one.name not in running and (work := one.work(now))]
    waiting.sort(key=lambda pair: (pair[0].next_run(now), pair[0].name))
    return waiting[: max(0, parallel - len(running))]


def missed(
    habits: Habits, name: TargetName, started: datetime, counted: datetime | None, now: datetime
) -> datetime | None:
    """The time of the schedule that a run begun at `started` has made the target miss, if there is one not counted
    yet."""
    slot = habits.due(name, max(started, counted) if counted is not None else started)
    return slot if slot <= now else None
