"""Which archives to keep, and why. Pure.

The rules are restic's: https://restic.readthedocs.io/en/stable/060_forget.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile

from dbguard.archive import Stored
from dbguard.suspicion import suspicious

SKEW = timedelta(minutes=5)
"""How far ahead of us an archive's clock may be before nobody can tell which clock is wrong."""
_SWEEP = 5
"""So many may go at once without a question, even when they are most of what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which archives to keep. Nothing set keeps everything."""

    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    keep_within: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """About one archive."""

    archive: Stored
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Retention's answer, newest first. With `refusal`, nothing may be removed, and this is why."""

    keep: tuple[Decision, ...]
    remove: tuple[Decision, ...]
    refusal: str = ""

    @property
    def sweeping(self) -> bool:
        """It would remove so much that a person should look first."""
        return len(self.remove) > max(_SWEEP, len(self.keep))


_PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: f"{at:%Y-%m-%d %H}h{at:%z}",  # the hour that comes twice in autumn is two hours
    "daily": lambda at: f"{at:%Y-%m-%d}",
    "weekly": lambda at: f"{at:%G-W%V}",
    "monthly": lambda at: f"{at:%Y-%m}",
    "yearly": lambda at: f"{at:%Y}",
}


def plan(archives: Sequence[Stored], policy: Policy, *, now: datetime, zone: tzinfo = UTC) -> Plan:
    """What `policy` keeps and removes of the good archives of one target in one storage; days begin in `zone`.

    Kept whatever the policy says: the newest, the newest verified, the newest complete of this server and of each
    that had its name before, held ones, those that a deletion relied on, suspicious ones with all that is older, and
    those whose check failed until there is a newer one of which that is not known. Complete and partial archives are
    counted apart, so that neither pushes the other out; suspicious ones and those whose check failed fill no place. A
    policy with nothing set removes nothing, and neither does a clock that cannot be right.
    """
    newest_first = sorted(archives, key=_age_order, reverse=True)
    reasons: dict[str, list[str]] = {archive.id: [] for archive in newest_first}
    _keep_the_last_good_ones(newest_first, reasons)
    odd = suspicious(archives)
    _keep_what_people_must_see(newest_first, odd, reasons)
    _keep_what_was_relied_on(newest_first, now, reasons)
    if policy == Policy():
        _say(newest_first, reasons, "no rule set")
    counted = [archive for archive in newest_first if archive.id not in odd and not archive.marks.failed]
    for word, complete in (("", True), ("partial ", False)):
        _count([one for one in counted if one.summary.complete is complete], policy, zone, reasons, word)
    _keep_what_settles(newest_first, reasons)
    refusal = _refusal(newest_first, now)
    if refusal:
        _say(newest_first, reasons, "the clock cannot be right")
    return Plan(
        keep=tuple(Decision(archive=a, reasons=tuple(reasons[a.id])) for a in newest_first if reasons[a.id]),
        remove=tuple(Decision(archive=a, reasons=("no rule keeps it",)) for a in newest_first if not reasons[a.id]),
        refusal=refusal,
    )


def _age_order(archive: Stored) -> tuple[datetime, str]:
    return archive.summary.snapshot, archive.id


def _say(archives: Sequence[Stored], reasons: dict[str, list[str]], reason: str) -> None:
    for archive in archives:
        reasons[archive.id].append(reason)


def _refusal(newest_first: Sequence[Stored], now: datetime) -> str:
    """Ages mean nothing when an archive is younger than now."""
    if newest_first and newest_first[0].summary.snapshot > now + SKEW:
        newest = newest_first[0]
        return (
            f"{newest.id} is dated {newest.summary.snapshot:%Y-%m-%d %H:%M} UTC, in the future: which clock is wrong?"
        )
    return ""


def _keep_the_last_good_ones(newest_first: Sequence[Stored], reasons: dict[str, list[str]]) -> None:
    complete = [archive for archive in newest_first if archive.summary.complete and not archive.marks.failed]
    _say(newest_first[:1], reasons, "newest")
    _say(
        [*takewhile(lambda archive: archive.marks.failed, newest_first)], reasons, "its check failed, and none is newer"
    )
    _say([archive for archive in newest_first if archive.marks.verified][:1], reasons, "newest verified")
    newest_of = {archive.summary.identity: archive for archive in reversed(complete)}
    for archive in newest_of.values():
        own = archive is complete[0]
        reasons[archive.id].append("newest complete" if own else "newest complete of another server")


def _keep_what_people_must_see(
    newest_first: Sequence[Stored], odd: Mapping[str, Sequence[str]], reasons: dict[str, list[str]]
) -> None:
    _say([archive for archive in newest_first if archive.marks.held], reasons, "held")
    frozen_by = None
    for archive in newest_first:
        if archive.id in odd:
            reasons[archive.id].append(f"suspicious: {'; '.join(odd[archive.id])}")
        elif frozen_by is not None:
            reasons[archive.id].append(f"older than {frozen_by}, which is suspicious")
        frozen_by = archive.id if archive.id in odd and frozen_by is None else frozen_by


def _keep_what_was_relied_on(newest_first: Sequence[Stored], now: datetime, reasons: dict[str, list[str]]) -> None:
    for archive in newest_first:
        until = archive.marks.relied_on_until
        if until is not None and until > now:
            reasons[archive.id].append(f"a volume was deleted because of it: until {until:%Y-%m-%d}")


def _keep_what_settles(newest_first: Sequence[Stored], reasons: dict[str, list[str]]) -> None:
    """Without the newest confirmed one, suspicious ones before it that are kept would be suspicious again."""
    confirmed = next((archive for archive in newest_first if archive.marks.confirmed), None)
    if confirmed is not None and any(
        reasons[one.id] and one.summary.suspicious and one.summary.snapshot <= confirmed.summary.snapshot
        for one in newest_first
        if one is not confirmed
    ):
        reasons[confirmed.id].append("confirmed, and suspicious ones before it with it")


def _count(
    newest_first: Sequence[Stored], policy: Policy, zone: tzinfo, reasons: dict[str, list[str]], word: str
) -> None:
    """Of each period the newest, for as many periods as the rule says; the oldest of all while a rule has room."""
    for number, archive in enumerate(newest_first[: policy.keep_last or 0], start=1):
        reasons[archive.id].append(f"{word}last {number}")
    for name, period in _PERIODS.items():
        left: int = getattr(policy, f"keep_{name}") or 0
        last = ""
        for archive in newest_first:
            this = period(archive.summary.snapshot.astimezone(zone))
            if left and (this != last or archive is newest_first[-1]):
                reasons[archive.id].append(f"{word}{name} {this}" if this != last else f"{word}{name}, the oldest")
                left, last = left - 1, this
    if policy.keep_within is not None and newest_first:
        since = newest_first[0].summary.snapshot - policy.keep_within
        _say([archive for archive in newest_first if archive.summary.snapshot >= since], reasons, f"{word}within")
