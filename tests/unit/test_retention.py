"""The laws of retention, for any archives and any policy; and examples of what restic's documentation says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import layout, retention
from dbguard.archive import Marks, Stored
from dbguard.retention import SKEW, Plan, Policy
from tests.unit.nouns import START, archive, listed

NOW = START + timedelta(days=4 * 365)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BASE = archive().summary
ZONES = [UTC, *map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))]
TURNS = [  # of the clocks in these zones, in UTC
    datetime(2027, 3, 14, 7, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 4, 3, 15, tzinfo=UTC),
    datetime(2027, 10, 2, 15, 30, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC),
    datetime(2027, 11, 7, 6, tzinfo=UTC),
]  # fmt: skip
WHY = ("less than half the tables: 1, before 9",)


def one(at: datetime, number: int = 0, *, marks: Marks | None = None, **changes: Any) -> Stored:
    summary = replace(BASE, id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}", snapshot=at, **changes)
    return Stored(summary=summary, marks=marks or Marks())


moments = st.one_of(
    st.integers(0, 72).map(lambda hours: START + hours * HOUR),
    st.integers(0, 3 * 365).map(lambda days: START + days * DAY),
    st.integers(0, 3 * 365 * 86400).map(lambda seconds: START + timedelta(seconds=seconds)),
    st.builds(lambda turn, steps: turn + steps * timedelta(minutes=15), st.sampled_from(TURNS), st.integers(-120, 120)),
)


@st.composite
def several(draw: st.DrawFn) -> list[Stored]:
    """Any archives of one target, some at the same time."""
    rare = st.integers(0, 5).map(lambda number: number == 5)
    return [
        one(
            at,
            number,
            complete=draw(st.booleans()),
            identity=draw(st.sampled_from(["this server", "the one before", "an empty one"])),
            suspicious=WHY if draw(rare) else (),
            marks=Marks(held=draw(rare), confirmed=draw(rare), verified=draw(st.sampled_from([None, True, False]))),
        )
        for number, at in enumerate(draw(st.lists(moments, max_size=14)))
    ]


def unsuspicious(archives: list[Stored]) -> list[Stored]:
    return [replace(one, summary=replace(one.summary, suspicious=())) for one in archives]


calm = several().map(unsuspicious)
counts = st.none() | st.integers(1, 15)
policies = st.builds(
    Policy,
    keep_last=counts,
    keep_hourly=counts,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
    keep_within=st.none() | st.integers(0, 5000).map(lambda hours: hours * HOUR),
)
zones = st.sampled_from(ZONES)


def plan(archives: Sequence[Stored], policy: Policy, *, now: datetime = NOW, zone: tzinfo = UTC) -> Plan:
    return retention.plan(archives, policy, now=now, zone=zone)


def kept(answer: Plan) -> list[Stored]:
    return [one.archive for one in answer.keep]


def ids(archives: Sequence[Stored]) -> set[str]:
    return {one.id for one in archives}


def newest_first(archives: Sequence[Stored]) -> list[Stored]:
    return sorted(archives, key=lambda one: (one.summary.snapshot, one.id), reverse=True)


def doubtful(archives: Sequence[Stored]) -> list[Stored]:
    """Suspicious, and neither they nor a later one confirmed."""
    settled = [one.summary.snapshot for one in archives if one.marks.confirmed]
    return [one for one in archives if one.summary.suspicious and all(one.summary.snapshot > at for at in settled)]


def confirmed(archive: Stored) -> Stored:
    return replace(archive, marks=replace(archive.marks, confirmed=True))


# --- laws ---


@given(several(), policies, zones)
def test_every_archive_is_kept_or_removed_and_none_twice(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    answer = plan(archives, policy, zone=zone)
    decided = [one.archive for one in (*answer.keep, *answer.remove)]
    assert newest_first(decided) == newest_first(archives)


@given(several(), policies, zones)
def test_whatever_is_decided_has_a_reason(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    answer = plan(archives, policy, zone=zone)
    assert all(one.reasons and all(one.reasons) for one in (*answer.keep, *answer.remove))


def newest_complete(archives: Sequence[Stored]) -> list[Stored]:
    """Of every server that had this name, newest first."""
    complete = [one for one in newest_first(archives) if one.summary.complete]
    servers = [one.summary.identity for one in complete]
    return [one for at, one in enumerate(complete) if one.summary.identity not in servers[:at]]


def always_kept(archives: Sequence[Stored]) -> list[Stored]:
    verified = [one for one in newest_first(archives) if one.marks.verified]
    held = [one for one in archives if one.marks.held]
    failed = takewhile(lambda one: one.marks.verified is False, newest_first(archives))
    return [*newest_first(archives)[:1], *failed, *verified[:1], *newest_complete(unfailed(archives)), *held]


def unfailed(archives: Sequence[Stored]) -> list[Stored]:
    return [one for one in archives if one.marks.verified is not False]


@given(several(), policies, zones)
def test_those_whose_check_failed_take_no_place_of_others(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    without = plan(unfailed(archives), policy, zone=zone)
    assert ids(kept(without)) <= ids(kept(plan(archives, policy, zone=zone)))


def test_while_every_check_fails_nothing_goes() -> None:
    """The fault may be the check's."""
    archives = [one(START + day * DAY, marks=Marks(verified=False)) for day in range(9)]
    assert plan(archives, Policy(keep_last=1)).remove == ()
    good = one(START + 3 * DAY, 1)
    assert ids(kept(plan([*archives, good], Policy(keep_last=1)))) == {good.id, *(each.id for each in archives[4:])}


@given(several(), policies, zones)
def test_the_newest_good_verified_and_complete_ones_and_held_ones_are_kept(
    archives: list[Stored], policy: Policy, zone: tzinfo
) -> None:
    """An empty server that came up after a disaster must not push out what there was before."""
    assert ids(always_kept(archives)) <= ids(kept(plan(archives, policy, zone=zone)))


@given(several())
def test_a_policy_with_nothing_set_removes_nothing(archives: list[Stored]) -> None:
    assert plan(archives, Policy()).remove == ()


@given(several(), policies, moments, st.integers(1, 10**6))
def test_a_clock_that_cannot_be_right_removes_nothing(
    archives: list[Stored], policy: Policy, now: datetime, seconds: int
) -> None:
    future = one(now + SKEW + timedelta(seconds=seconds), 999)
    answer = plan([*archives, future], policy, now=now)
    assert answer.refusal
    assert answer.remove == ()


@given(several().filter(bool), policies)
def test_a_clock_that_is_a_little_behind_is_no_obstacle(archives: list[Stored], policy: Policy) -> None:
    newest = max(one.summary.snapshot for one in archives)
    assert plan(archives, policy, now=newest - SKEW) == plan(archives, policy)
    assert plan(archives, policy, now=newest - SKEW).refusal == ""


@given(several(), policies)
def test_it_is_sweeping_when_most_would_go_and_not_a_few(archives: list[Stored], policy: Policy) -> None:
    answer = plan(archives, policy)
    assert answer.sweeping is (len(answer.remove) > max(5, len(answer.keep)))


@pytest.mark.parametrize(("count", "keep", "sweeping"), [(6, 1, False), (7, 1, True), (12, 6, False), (13, 6, True)])
def test_sweeping_is_more_than_five_and_more_than_stay(count: int, keep: int, sweeping: bool) -> None:
    archives = [one(START + number * HOUR) for number in range(count)]
    assert plan(archives, Policy(keep_last=keep)).sweeping is sweeping


@given(several(), policies, zones)
def test_nothing_older_than_a_suspicious_one_goes(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    remove = [one.archive for one in plan(archives, policy, zone=zone).remove]
    for odd in doubtful(archives):
        assert all(newest_first([one, odd])[0] is one for one in remove)
        assert odd not in remove


RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within")


def places(answer: Plan) -> dict[str, list[str]]:
    """What each archive is kept for by the rules."""
    found = {
        one.archive.id: [why for why in one.reasons if why.removeprefix("partial ").startswith(RULES)]
        for one in answer.keep
    }
    return {archive_id: reasons for archive_id, reasons in found.items() if reasons}


@given(several(), policies, zones)
def test_suspicious_ones_fill_no_place(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    odd = ids(doubtful(archives))
    without = [one for one in archives if one.id not in odd]
    assert places(plan(archives, policy, zone=zone)) == places(plan(without, policy, zone=zone))


@given(several().filter(lambda archives: bool(doubtful(archives))), policies, st.data())
def test_a_suspicious_one_is_like_any_other_once_it_or_a_later_one_is_confirmed(
    archives: list[Stored], policy: Policy, data: st.DataObject
) -> None:
    odd = newest_first(doubtful(archives))[0]
    later = [one for one in archives if one.summary.snapshot >= odd.summary.snapshot]
    word = data.draw(st.sampled_from(later))
    settled = [confirmed(one) if one is word else one for one in archives]
    keep = ids(kept(plan(settled, policy)))
    assert keep - {word.id} == ids(kept(plan(unsuspicious(settled), policy))) - {word.id}


@given(several(), policies, zones)
def test_what_was_confirmed_stays_confirmed(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    """As long as a suspicious one is kept that somebody has settled, what settles it is kept too."""
    keep = kept(plan(archives, policy, zone=zone))
    assert ids(doubtful(keep)) == ids(doubtful(archives))


@given(several(), policies, zones, st.randoms(use_true_random=False))
def test_the_order_of_the_question_does_not_matter(
    archives: list[Stored], policy: Policy, zone: tzinfo, dice: Random
) -> None:
    shuffled = [*archives]
    dice.shuffle(shuffled)
    assert plan(shuffled, policy, zone=zone) == plan(archives, policy, zone=zone)


@given(several(), policies, zones, st.integers(0, 10**5))
def test_asked_again_about_what_it_kept_it_removes_nothing(
    archives: list[Stored], policy: Policy, zone: tzinfo, hours: int
) -> None:
    """Nor later: time alone takes nothing."""
    keep = kept(plan(archives, policy, zone=zone))
    again = plan(keep, policy, zone=zone, now=NOW + hours * HOUR)
    assert again.remove == ()
    assert kept(again) == keep


@given(calm, calm, policies)
def test_partial_ones_push_no_complete_one_out(some: list[Stored], more: list[Stored], policy: Policy) -> None:
    """Nor a complete one a partial one."""
    some = [replace(one, marks=Marks()) for one in some]
    for complete in (True, False):
        own = [one for one in some if one.summary.complete is complete]
        others = [
            one(other.summary.snapshot, 2000 + number, complete=not complete) for number, other in enumerate(more)
        ]
        assert places(plan(own, policy)).items() <= places(plan([*own, *others], policy)).items()


@given(several(), policies, zones, st.sampled_from([f"keep_{name}" for name in RULES]))
def test_who_keeps_more_loses_nothing(archives: list[Stored], policy: Policy, zone: tzinfo, rule: str) -> None:
    given_ = getattr(policy, rule)
    more = HOUR if rule == "keep_within" else 1
    if given_ is not None and policy != Policy():
        wider = replace(policy, **{rule: given_ + more})
        assert ids(kept(plan(archives, policy, zone=zone))) <= ids(kept(plan(archives, wider, zone=zone)))


@given(several(), policies)
def test_it_answers_newest_first(archives: list[Stored], policy: Policy) -> None:
    answer = plan(archives, policy)
    assert kept(answer) == newest_first(kept(answer))
    assert [one.archive for one in answer.remove] == newest_first([one.archive for one in answer.remove])


# --- restic's rules, written down a second time ---

PERIODS: dict[str, Callable[[datetime], object]] = {
    "keep_hourly": lambda at: (at.date(), at.hour, at.utcoffset()),
    "keep_daily": lambda at: at.date(),
    "keep_weekly": lambda at: at.isocalendar()[:2],
    "keep_monthly": lambda at: (at.year, at.month),
    "keep_yearly": lambda at: at.year,
}


def restic(archives: Sequence[Stored], policy: Policy, zone: tzinfo) -> set[str]:
    """Of each period the newest, of the newest periods; the oldest of all where there are not enough periods."""
    ordered = newest_first(archives)
    found = ids(ordered[: policy.keep_last or 0])
    for rule, period in PERIODS.items():
        newest: dict[object, Stored] = {}
        for made in ordered:
            newest.setdefault(period(made.summary.snapshot.astimezone(zone)), made)
        count = getattr(policy, rule) or 0
        chosen = [*newest.values()][:count]
        found |= ids(chosen if len(chosen) == count else [*chosen, *ordered[-1:]])
    if policy.keep_within is not None and ordered:
        end = ordered[0].summary.snapshot
        found |= {one.id for one in ordered if end - one.summary.snapshot <= policy.keep_within}
    return found


@given(calm, policies.filter(lambda policy: policy != Policy()), zones)
def test_the_rules_keep_what_restic_would_and_no_others(archives: list[Stored], policy: Policy, zone: tzinfo) -> None:
    expected = ids(always_kept(archives))
    for complete in (True, False):
        expected |= restic([one for one in unfailed(archives) if one.summary.complete is complete], policy, zone)
    assert ids(kept(plan(archives, policy, zone=zone))) == expected


# --- examples ---


def every(step: timedelta, count: int, since: datetime = START) -> list[Stored]:
    return [one(since + number * step) for number in range(count)]


def times(answer: Plan) -> list[str]:
    return [f"{one.summary.snapshot:%Y-%m-%d %H:%M}" for one in kept(answer)]


def test_two_years_of_days() -> None:
    """At half past one in the morning, the last one in December."""
    archives = every(DAY, 2 * 365 + 1, datetime(2024, 12, 31, 1, 30, tzinfo=UTC))
    policy = Policy(keep_daily=3, keep_weekly=2, keep_monthly=3, keep_yearly=2)
    answer = plan(archives, policy)
    assert [(day[:10], one.reasons) for day, one in zip(times(answer), answer.keep, strict=True)] == [
        ("2026-12-31", ("newest", "newest complete", "daily 2026-12-31", "weekly 2026-W53", "monthly 2026-12",
                        "yearly 2026")),
        ("2026-12-30", ("daily 2026-12-30",)),
        ("2026-12-29", ("daily 2026-12-29",)),
        ("2026-12-27", ("weekly 2026-W52",)),
        ("2026-11-30", ("monthly 2026-11",)),
        ("2026-10-31", ("monthly 2026-10",)),
        ("2025-12-31", ("yearly 2025",)),
    ]  # fmt: skip


def test_days_without_an_archive_take_no_place() -> None:
    """keep-daily 7: for the last 7 days which have one or more snapshots."""
    archives = [*every(DAY, 3), *every(DAY, 3, START + 300 * DAY)]
    assert [day[:10] for day in times(plan(archives, Policy(keep_daily=5)))] == [
        "2027-09-21", "2027-09-20", "2027-09-19", "2026-11-25", "2026-11-24",
    ]  # fmt: skip


def test_of_a_day_the_newest_stays() -> None:
    archives = every(6 * HOUR, 8, datetime(2027, 1, 1, 1, tzinfo=UTC))
    assert times(plan(archives, Policy(keep_daily=2))) == ["2027-01-02 19:00", "2027-01-01 19:00"]


def test_the_oldest_stays_while_a_rule_has_room() -> None:
    """Else the first months of backups would be as short as the rule with the smallest step."""
    archives = every(DAY, 20, datetime(2027, 1, 5, tzinfo=UTC))
    answer = plan(archives, Policy(keep_daily=2, keep_yearly=2))
    assert [day[:10] for day in times(answer)] == ["2027-01-24", "2027-01-23", "2027-01-05"]
    assert answer.keep[-1].reasons == ("yearly, the oldest",)
    assert [day[:10] for day in times(plan(archives, Policy(keep_daily=2, keep_yearly=1)))] == [
        "2027-01-24", "2027-01-23",
    ]  # fmt: skip


def test_within_counts_from_the_newest() -> None:
    """Not from now: a server that was off for a month has lost nothing."""
    archives = every(DAY, 10)
    for now in (START + 10 * DAY, NOW):
        assert len(plan(archives, Policy(keep_within=3 * DAY), now=now).keep) == 4


def test_weeks_are_those_of_the_calendar() -> None:
    """The last days of December can belong to the first week of the year after."""
    archives = every(DAY, 8, datetime(2024, 12, 28, tzinfo=UTC))
    answer = plan(archives, Policy(keep_weekly=9))
    assert [(day[:10], one.reasons[-1]) for day, one in zip(times(answer), answer.keep, strict=True)] == [
        ("2025-01-04", "weekly 2025-W01"), ("2024-12-29", "weekly 2024-W52"), ("2024-12-28", "weekly, the oldest"),
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_every_day_has_exactly_one_daily_also_when_the_clocks_turn(zone: tzinfo, turn: datetime) -> None:
    """A day of 23 or 25 hours is one day."""
    archives = every(HOUR / 2, 48 * 8, turn - 4 * DAY)
    days = [at.summary.snapshot.astimezone(zone).date() for at in kept(plan(archives, Policy(keep_daily=5), zone=zone))]
    assert days == [days[0] - number * DAY for number in range(5)]
    last = [archives[-1].summary.snapshot.astimezone(zone).date() - number * DAY for number in range(5)]
    assert days == last


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_an_hour_that_comes_twice_is_two_hours(zone: tzinfo, turn: datetime) -> None:
    archives = every(HOUR, 48, turn - DAY)
    assert len(plan(archives, Policy(keep_hourly=48), zone=zone).keep) == 48


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    archives = every(HOUR, 2, datetime(2027, 1, 1, 22, 30, tzinfo=UTC))
    assert len(plan(archives, Policy(keep_daily=1)).keep) == 1
    assert len(plan(archives, Policy(keep_daily=2), zone=ZoneInfo("Europe/Berlin")).keep) == 2
    assert [one.reasons[-1] for one in plan(archives, Policy(keep_daily=2), zone=ZoneInfo("Europe/Berlin")).keep] == [
        "daily 2027-01-02", "daily 2027-01-01",
    ]  # fmt: skip


def test_reasons_can_be_read() -> None:
    archives = [archive(0, identity="older"), archive(1), archive(2, complete=False), archive(3)]
    assert [one.reasons for one in plan([*map(listed, archives)], Policy(keep_last=2)).keep] == [
        ("newest", "newest complete", "last 1"),
        ("partial last 1",),
        ("last 2",),
        ("newest complete of another server",),
    ]


def test_what_people_must_see_can_be_read() -> None:
    archives = [
        listed(archive(0), held=True),
        listed(archive(1)),
        listed(archive(2, suspicious=WHY)),
        listed(archive(3), verified=True),
    ]
    odd = archives[2].id
    assert [one.reasons for one in plan(archives, Policy(keep_last=1)).keep] == [
        ("newest", "newest verified", "newest complete", "last 1"),
        (f"suspicious: {WHY[0]}",),
        (f"older than {odd}, which is suspicious",),
        ("held", f"older than {odd}, which is suspicious"),
    ]


def test_what_settles_a_suspicious_one_stays_as_long_as_that_one() -> None:
    """Else it would be suspicious again, and nothing older would ever go."""
    odd = listed(archive(0, suspicious=WHY), held=True)
    word = listed(archive(1), confirmed=True)
    others = [listed(archive(2)), listed(archive(3))]
    answer = plan([odd, word, *others], Policy(keep_last=1))
    assert kept(answer) == [others[1], word, odd]
    assert answer.keep[1].reasons == ("confirmed, and suspicious ones before it with it",)
    released = replace(odd, marks=Marks())
    assert kept(plan([released, word, *others], Policy(keep_last=1))) == [others[1]]


def test_what_a_deletion_relied_on_stays_until_then() -> None:
    """The mark bears the time; of several the latest counts, and from then on the rules decide."""
    archives = [one(START + day * DAY) for day in range(9)]
    relied, now = archives[2], archives[-1].summary.snapshot
    names = [layout.mark("relied", now - DAY), layout.mark("relied", now + DAY), layout.mark("relied", now)]
    archives[2] = replace(relied, marks=layout.marks(names))
    policy = Policy(keep_last=1)
    kept = {decision.archive.id: decision.reasons for decision in retention.plan(archives, policy, now=now).keep}
    assert kept[relied.id] == (f"a volume was deleted because of it: until {now + DAY:%Y-%m-%d}",)
    assert relied.id in {decision.archive.id for decision in retention.plan(archives, policy, now=now + DAY).remove}
