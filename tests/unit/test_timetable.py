"""When runs begin: weeks on a clock of our own, with everything that clocks, machines and storages do to a schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import config
from dbguard.archive import Stored
from dbguard.habits import Habits, habits
from dbguard.past import Past
from dbguard.timetable import AFTER_A_FAILURE, Candidate, missed, orders, proof_due
from tests.unit.nouns import TARGET, archive, listed

MINUTE, HOUR, DAY, WEEK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CHANGES = ["2026-03-06", "2026-03-27", "2026-04-02", "2026-10-02", "2026-10-23", "2026-10-30", "2028-02-27"]
"""Some days before clocks are changed somewhere, and before a leap day."""
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]


@pytest.fixture(autouse=True, scope="module")
def nothing_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        yield


def rules(schedule: str, **more: Any) -> Habits:
    return habits(config.load(schedule=schedule, **more), str(TARGET), {})


class Sidecar:
    """One target, looked at every minute of real time. `clock` says what its wall clock shows then."""

    def __init__(self, schedule: str, start: datetime = MONDAY, **settings: Any) -> None:
        self.habits = rules(schedule, **settings)
        vars(self.habits.schedule)["after"] = cache(self.habits.schedule.after)  # a look a minute asks the same again
        self.real = start
        self.archives: list[Stored] = []
        self.begun: list[datetime] = []  # by the wall clock
        self.really: list[datetime] = []  # when that really was
        self.skipped: list[datetime] = []
        self.past = Past()
        self.container = "first"
        self.clock: Callable[[datetime], datetime] = lambda real: real
        self.takes = MINUTE
        self.works: Callable[[datetime], bool] = lambda real: True
        self._running: tuple[datetime, datetime] | None = None  # started by the wall clock, until in real time
        self._counted: datetime | None = None

    def live(self, length: timedelta) -> Sidecar:
        end = self.real + length
        while self.real < end:
            self._look()
            self.real += MINUTE
        return self

    def sleep(self, length: timedelta) -> Sidecar:
        """The machine is off, or the container is."""
        assert self._running is None
        self.real += length
        return self

    def _look(self) -> None:
        now = self.clock(self.real)
        if self._running is not None and self.real >= self._running[1]:
            self._end(self._running[0], now)
        slot = self._running and missed(self.habits, TARGET, self._running[0], self._counted, now)
        if slot is not None:
            self._counted = slot
            self.skipped.append(slot)
        running = {TARGET} if self._running is not None else set()
        for _, work in orders([self._candidate()], running, parallel=2, now=now):
            assert work == "backup"
            self._running = now, self.real + self.takes
            self.begun.append(now)
            self.really.append(self.real)

    def _candidate(self) -> Candidate:
        return Candidate(
            name=TARGET,
            habits=self.habits,
            archives=self.archives,
            past=self.past,
            container=self.container,
            started=EPOCH,
        )

    def _end(self, started: datetime, now: datetime) -> None:
        self._running = None
        if not self.works(self.real):
            self.past = replace(self.past, ended=now, error="the disk is full", container=self.container)
            return
        self.past = Past(ended=now, container=self.container)
        number = len(self.archives)
        made = archive(
            number, id=f"{started:%Y%m%dT%H%M%SZ}-{number:06x}", snapshot=started, started=started, finished=now
        )
        self.archives.append(listed(made))


def local_days(moments: list[datetime], zone: str) -> Counter[date]:
    return Counter(moment.astimezone(ZoneInfo(zone)).date() for moment in moments)


# --- the plain case ---


def test_the_first_backup_is_taken_at_once_then_the_schedule_holds() -> None:
    sidecar = Sidecar("30 3 * * *").live(WEEK)
    first, *rest = sidecar.begun
    assert first == MONDAY
    assert rest == [datetime(2026, 11, day, 3, 30, tzinfo=UTC) for day in range(24, 31)]
    assert not sidecar.skipped


def test_a_backup_that_somebody_typed_serves_its_slot_too() -> None:
    sidecar = Sidecar("30 3 * * *")
    sidecar.archives.append(listed(archive(snapshot=MONDAY, started=MONDAY, finished=MONDAY)))
    assert sidecar.live(DAY).begun == [datetime(2026, 11, 24, 3, 30, tzinfo=UTC)]


def test_jitter_moves_each_run_of_a_target_by_the_same_time() -> None:
    sidecar = Sidecar("0 3 * * *", jitter="2h").live(WEEK)
    late = {moment - moment.replace(hour=3, minute=0) for moment in sidecar.begun[1:]}
    assert len(late) == 1
    assert timedelta(0) <= late.pop() < 2 * HOUR


# --- rows 40 to 43 ---


@pytest.mark.fault(40)
@pytest.mark.parametrize("back", [MINUTE, 10 * MINUTE, HOUR, 23 * HOUR])
def test_a_clock_that_goes_back_makes_at_most_one_backup_more(back: timedelta) -> None:
    step = MONDAY + timedelta(days=2)
    sidecar = Sidecar("0 * * * *")
    sidecar.clock = lambda real: real if real < step else real - back
    sidecar.live(WEEK)
    gaps = [later - earlier for earlier, later in pairwise(sidecar.really)]
    assert max(gaps) <= HOUR + min(back, HOUR), "what the clock repeats is all that can be longer"
    assert len(sidecar.begun) <= 7 * 24 + 2
    after = [moment for moment in sidecar.begun if moment > step]
    assert all(moment.minute == 0 for moment in after[2:]), "the rhythm is back"


@pytest.mark.fault(40)
def test_a_clock_that_was_a_year_ahead_for_an_hour_costs_two_backups_and_no_day() -> None:
    ahead = MONDAY + timedelta(days=2), MONDAY + timedelta(days=2, hours=1)
    sidecar = Sidecar("30 3 * * *")
    sidecar.clock = lambda real: real + timedelta(days=365) if ahead[0] <= real < ahead[1] else real
    sidecar.live(WEEK)
    assert sum(moment.year == 2027 for moment in sidecar.begun) == 1, "what a real year would have missed: one run"
    days = local_days([moment for moment in sidecar.begun if moment.year == 2026], "UTC")
    assert days == {date(2026, 11, day): 2 if day == 25 else 1 for day in range(23, 31)}, "one more"


@pytest.mark.fault(40)
def test_a_step_in_the_middle_of_a_run_neither_repeats_nor_loses_one() -> None:
    step = MONDAY.replace(hour=3, minute=35) + DAY
    for jump in (-4 * MINUTE, 4 * MINUTE, 2 * HOUR):
        sidecar = Sidecar("30 3 * * *")
        sidecar.takes = 10 * MINUTE
        sidecar.clock = lambda real, jump=jump: real if real < step else real + jump  # type: ignore[misc]
        sidecar.live(WEEK)
        assert set(local_days(sidecar.begun, "UTC").values()) == {1}


@pytest.mark.fault(41)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", ["30 2", "0 0", "45 1", "15 2", "59 23", "0 3"])
@pytest.mark.parametrize("change", CHANGES)
def test_each_local_day_has_exactly_one_daily_run(zone: str, time: str, change: str) -> None:
    start = datetime.fromisoformat(change).replace(tzinfo=ZoneInfo(zone)) - 3 * HOUR
    sidecar = Sidecar(f"{time} * * *", start.astimezone(UTC), timezone=zone)
    sidecar.archives.append(listed(archive(snapshot=start, started=start, finished=start.astimezone(UTC))))
    sidecar.live(timedelta(days=5))
    days = local_days(sidecar.begun, zone)
    whole = [date.fromisoformat(change) + timedelta(days=n) for n in range(4)]
    assert [days[day] for day in whole] == [1, 1, 1, 1]
    assert max(days.values()) == 1


@pytest.mark.fault(41)
def test_the_31st_comes_in_the_months_that_have_one_and_the_leap_day_in_its_year() -> None:
    months = rules("0 3 31 * *").schedule
    found, at = [], datetime(2027, 12, 31, 12, tzinfo=UTC)
    while at.year < 2029:
        at = months.after(at)
        found.append((at.year, at.month))
    assert found[:7] == [(2028, month) for month in (1, 3, 5, 7, 8, 10, 12)]
    assert rules("0 3 29 2 *").schedule.after(MONDAY) == datetime(2028, 2, 29, 3, tzinfo=UTC)


@pytest.mark.fault(42)
@pytest.mark.parametrize("off", [3 * DAY, WEEK, timedelta(hours=30)])
@pytest.mark.parametrize("schedule", ["30 3 * * *", "@hourly", "every 6h"])
def test_what_was_missed_is_caught_up_once_then_the_rhythm_goes_on(off: timedelta, schedule: str) -> None:
    sidecar = Sidecar(schedule).live(2 * DAY)
    while sidecar._running is not None:
        sidecar.live(MINUTE)
    before = len(sidecar.begun)
    sidecar.sleep(off)
    woken = sidecar.real
    sidecar.live(2 * DAY)
    caught_up, *rest = sidecar.begun[before:]
    assert caught_up == woken
    expected, at = [], caught_up + MINUTE
    while (at := sidecar.habits.schedule.after(at)) < sidecar.real:
        expected.append(at)
    assert rest == expected


@pytest.mark.fault(43)
def test_a_run_longer_than_the_interval_makes_the_next_be_skipped_and_counted() -> None:
    sidecar = Sidecar("@hourly")
    sidecar.takes = 100 * MINUTE
    sidecar.live(DAY)
    assert all(later - earlier >= sidecar.takes for earlier, later in pairwise(sidecar.begun)), "never two at once"
    assert all(moment.minute == 0 for moment in sidecar.begun), "and none begins late to make up for one"
    hours = {MONDAY + n * HOUR for n in range(1, 24)}
    assert set(sidecar.begun[1:]) | set(sidecar.skipped) == hours
    assert not set(sidecar.begun) & set(sidecar.skipped)


# --- failures ---


def test_a_failure_is_tried_again_within_its_slot_until_it_goes_well_and_not_once_more() -> None:
    down = MONDAY.replace(hour=3) + DAY, MONDAY.replace(hour=9) + DAY
    sidecar = Sidecar("30 3 * * *")
    sidecar.works = lambda real: not down[0] <= real < down[1]
    sidecar.live(3 * DAY)
    tries = [moment for moment in sidecar.begun if moment.date() == date(2026, 11, 24)]
    assert len(tries) == 7
    assert all(AFTER_A_FAILURE <= later - earlier <= AFTER_A_FAILURE + 2 * MINUTE for earlier, later in pairwise(tries))
    assert len(sidecar.archives) == 4, "of Monday, and one of each day"


def test_the_next_time_of_the_schedule_does_not_wait_for_the_pause_after_a_failure() -> None:
    sidecar = Sidecar("*/10 * * * *")
    sidecar.works = lambda real: False
    sidecar.live(2 * HOUR)
    assert len(sidecar.begun) == 12


def test_backups_that_we_cannot_see_where_we_look_do_not_make_a_run_follow_a_run() -> None:
    sidecar = Sidecar("@hourly")
    sidecar.archives = Blind()
    sidecar.live(6 * HOUR)
    assert len(sidecar.begun) == 6


class Blind(list[Stored]):
    """A storage that takes archives and does not show them."""

    def append(self, _: Stored) -> None:
        pass


def test_a_new_container_is_tried_at_once() -> None:
    sidecar = Sidecar("30 3 * * *")
    sidecar.works = lambda real: sidecar.container == "second"
    sidecar.live(20 * MINUTE)
    sidecar.container = "second"
    sidecar.live(20 * MINUTE)
    assert sidecar.begun == [MONDAY, MONDAY + 20 * MINUTE]
    assert len(sidecar.archives) == 1


def test_a_container_that_started_after_a_failure_is_tried_at_once_unless_the_run_brought_it_down() -> None:
    past = Past(ended=MONDAY, error="the server has gone away", container="one")
    for after, due in ((0, False), (1, False), (10, True)):
        started = MONDAY + timedelta(seconds=after)
        candidate = Candidate(
            name=TARGET, habits=rules("@daily"), archives=[], past=past, container="one", started=started
        )
        assert (candidate.work(MONDAY + MINUTE) == "backup") is due


def test_missing_copies_are_made_between_two_backups() -> None:
    newest = listed(archive(snapshot=MONDAY, started=MONDAY, finished=MONDAY))
    past = Past(ended=MONDAY, container="one", uncopied=("not in the bucket",))
    candidate = Candidate(
        name=TARGET, habits=rules("@daily"), archives=[newest], past=past, container="one", started=EPOCH
    )
    assert candidate.work(MONDAY + MINUTE) is None
    assert candidate.work(MONDAY + 11 * MINUTE) == "copies"
    again = replace(candidate, past=replace(past, copied=MONDAY + 11 * MINUTE))
    assert again.work(MONDAY + 15 * MINUTE) is None
    assert again.work(MONDAY + 22 * MINUTE) == "copies"
    assert again.work(MONDAY + DAY) == "backup", "which makes the copies too"


def test_a_server_without_a_database_is_looked_at_every_minute() -> None:
    past = Past(ended=MONDAY, container="one", nothing=True)
    candidate = Candidate(name=TARGET, habits=rules("@daily"), archives=[], past=past, container="one", started=EPOCH)
    assert candidate.work(MONDAY + timedelta(seconds=59)) is None
    assert candidate.work(MONDAY + MINUTE) == "backup"


# --- several targets ---


def several() -> Iterator[Candidate]:
    habit = rules("@daily")
    for number in range(5):
        name = replace(TARGET, service=f"db{number}")
        made = archive(snapshot=MONDAY - DAY, started=MONDAY - DAY, finished=MONDAY - DAY - number * DAY)
        yield Candidate(name=name, habits=habit, archives=[listed(made)], past=Past(), container="one", started=EPOCH)


def test_never_more_runs_than_parallel_the_longest_due_first() -> None:
    every = [*several()]
    begun = [one.name.service for one, _ in orders(every, set(), parallel=2, now=MONDAY)]
    assert begun == ["db4", "db3"]
    running = {every[4].name, every[3].name}
    assert orders(every, running, parallel=2, now=MONDAY) == []
    assert [one.name.service for one, _ in orders(every, running, parallel=4, now=MONDAY)] == ["db2", "db1"]


@given(st.lists(st.integers(-400, 400), max_size=8), st.integers(1, 4), st.integers(0, 3))
def test_what_is_running_is_never_begun_again(ages: list[int], parallel: int, busy: int) -> None:
    habit = rules("@daily")
    every = [
        Candidate(
            name=replace(TARGET, service=f"db{n}"), habits=habit, past=Past(), container="one", started=EPOCH,
            archives=[listed(archive(snapshot=MONDAY, started=MONDAY, finished=MONDAY + age * HOUR))],
        )
        for n, age in enumerate(ages)
    ]  # fmt: skip
    running = {one.name for one in every[:busy]}
    begun = orders(every, running, parallel=parallel, now=MONDAY)
    assert len(begun) + len(running) <= max(parallel, len(running))
    assert not running & {one.name for one, _ in begun}
    assert all(one.next_run(MONDAY) <= MONDAY for one, _ in begun)


# --- when archives are verified ---


def test_a_time_to_verify_is_used_once() -> None:
    daily = rules("@daily", verify={"when": "schedule", "schedule": "0 5 * * *"})
    five = MONDAY.replace(hour=5) + DAY
    assert not proof_due(daily, Past(), MONDAY, five - MINUTE), "none has passed since the sidecar began"
    assert proof_due(daily, Past(), MONDAY, five)
    assert proof_due(daily, Past(checked=MONDAY), five + HOUR, five + 2 * HOUR), "it was missed while nothing ran"
    assert not proof_due(daily, Past(checked=five + MINUTE), MONDAY, five + 23 * HOUR)
    assert proof_due(daily, Past(checked=five + MINUTE), MONDAY, five + DAY)


def test_a_memory_from_the_future_holds_up_no_verification() -> None:
    daily = rules("@daily", verify={"when": "schedule", "schedule": "every 24h"})
    assert proof_due(daily, Past(checked=MONDAY + 365 * DAY), MONDAY, MONDAY + DAY)


@pytest.mark.parametrize("verify", [{}, {"when": "off"}])
def test_without_a_schedule_of_its_own_nothing_is_verified_later(verify: dict[str, str]) -> None:
    assert not proof_due(rules("@daily", verify=verify), Past(), MONDAY, MONDAY + WEEK)
