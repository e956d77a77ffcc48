"""When the next run is: by Debian's crontab(5) and cron(8), with cronsim as the oracle."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given, settings
from hypothesis import strategies as st

from dbguard.errors import ConfigError
from dbguard.schedule import Schedule

MONDAY = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN, NEW_YORK, LORD_HOWE, CASABLANCA, KOLKATA, UTC_ZONE = ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kolkata",
        "UTC",
    )
]


def changes(zone: ZoneInfo) -> list[datetime]:
    """The hours of 2025 to 2028 after which the clock of the zone was changed."""
    hours = [datetime(2025, 1, 1, tzinfo=UTC) + n * HOUR for n in range(4 * 365 * 24)]
    return [before for before, after in pairwise(hours) if offset(before, zone) != offset(after, zone)]


def offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


CHANGES = {zone: changes(zone) for zone in ZONES}


@st.composite
def moments_of(draw: st.DrawFn, zone: ZoneInfo) -> datetime:
    """Any moment, or one around a change of the clock."""
    if not CHANGES[zone] or draw(st.booleans()):
        start = datetime(2000, 1, 1, tzinfo=UTC)
        return start + timedelta(seconds=draw(st.integers(0, 99 * 365 * 86400)), microseconds=draw(st.integers(0, 9)))
    near = st.integers(-5 * 60, 5 * 60)
    return (
        draw(st.sampled_from(CHANGES[zone])) + draw(near) * MINUTE + timedelta(seconds=draw(st.sampled_from([0, 30])))
    )


MONTHS = ["jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "Mon", "TUE", "wed", "thu", "fri", "sat"]


def fields(
    lowest: int, highest: int, names: list[str] | None = None, busy: int | None = None
) -> st.SearchStrategy[str]:
    """A cron field: stars, values, names, ranges, steps, and lists of them; `busy` is where most values lie."""
    value = st.integers(lowest, highest) if busy is None else st.integers(lowest, busy) | st.integers(lowest, highest)

    def spelled(number: int) -> st.SearchStrategy[str]:
        named = names and lowest <= number < lowest + len(names)
        return st.sampled_from([str(number), names[number - lowest]]) if names and named else st.just(str(number))

    def spanned(ends: tuple[int, int]) -> st.SearchStrategy[str]:
        return st.tuples(spelled(min(ends)), spelled(max(ends))).map("-".join)

    step = st.integers(1, highest + 2).map(lambda number: f"/{number}")
    wide = st.tuples(value, value).filter(lambda ends: ends[0] != ends[1]).flatmap(spanned)
    stars = st.just("*") | step.map(lambda text: f"*{text}")
    term = stars | value.flatmap(spelled) | wide | st.tuples(wide, step).map("".join)
    return stars | st.lists(term, min_size=1, max_size=3).map(",".join)


FIELDS = [
    fields(0, 59),
    fields(0, 23, busy=4),
    st.just("*") | fields(1, 31) | st.sampled_from(["31", "29", "30,31"]),
    st.just("*") | fields(1, 12, MONTHS) | st.just("2"),
    st.just("*") | fields(0, 7, WEEKDAYS) | st.sampled_from(["7", "0", "5-7"]),
]
texts = st.tuples(*FIELDS).map(" ".join)
cases = st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(texts, st.just(zone), moments_of(zone)))


def by_the_clock(text: str) -> bool:
    return any(field.startswith("*") for field in text.split()[:2])


def oracle(text: str, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """cronsim's first run after the moment: it forgets in which of two equal hours it was asked, so some are past."""
    try:
        runs = (run.astimezone(UTC) for run in CronSim(text, moment.astimezone(zone)))
    except CronSimError:
        return None  # a day that no month has
    return next((run for run in runs if run > moment), None)


@settings(max_examples=600)
@given(cases)
def test_it_agrees_with_cronsim(case: tuple[str, ZoneInfo, datetime]) -> None:
    text, zone, moment = case
    if zone is LORD_HOWE and by_the_clock(text):
        # cronsim walks in steps of an hour and loses half of one there: test_a_job_by_the_clock_… covers it.
        zone = KOLKATA
    expected = oracle(text, zone, moment)
    if expected is None:
        with pytest.raises(ConfigError, match="never comes"):
            Schedule(text, zone)
    else:
        assert Schedule(text, zone).after(moment) == expected


@settings(max_examples=200)
@given(
    st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(st.just(zone), moments_of(zone))),
    st.tuples(*FIELDS[:2], st.just("* * *")).map(" ".join).filter(by_the_clock),
)
def test_a_job_by_the_clock_runs_whenever_the_clock_shows_its_time(case: tuple[ZoneInfo, datetime], text: str) -> None:
    zone, moment = case
    minutes = [moment.replace(second=0, microsecond=0) + n * MINUTE for n in range(1, 6 * 60)]
    shown = [minute.astimezone(zone).replace(tzinfo=None) for minute in minutes]
    first = min(shown) - timedelta(seconds=1)
    due: set[datetime] = set()
    for time in CronSim(text, first):  # the calendar alone, without a zone
        if time > max(shown):
            break
        due.add(time)
    expected = next((minute for minute, time in zip(minutes, shown, strict=True) if time in due), None)
    found = Schedule(text, zone).after(moment)
    assert found == expected if expected else found > minutes[-1]


@settings(max_examples=200)
@given(cases)
def test_time_order(case: tuple[str, ZoneInfo, datetime]) -> None:
    text, zone, moment = case
    try:
        schedule = Schedule(text, zone)
    except ConfigError:
        return
    first = schedule.after(moment)
    assert first.tzinfo is UTC
    assert moment < first < schedule.after(first)
    for between in (first - timedelta(seconds=1), first - timedelta(microseconds=1), moment + (first - moment) / 2):
        assert schedule.after(between) == first
    assert schedule.after(moment.astimezone(KOLKATA)) == schedule.after(moment.astimezone(zone)) == first
    assert schedule.after(moment - HOUR) <= first


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("time", ["0 0", "30 1", "0 2", "15 2", "30 2", "59 2", "0 3"])
def test_a_daily_job_runs_exactly_once_on_every_local_day(zone: ZoneInfo, time: str) -> None:
    schedule = Schedule(f"{time} * * *", zone)
    moment = datetime(2026, 1, 1, tzinfo=zone) - timedelta(seconds=1)
    days: Counter[date] = Counter()
    while (moment := schedule.after(moment)) < datetime(2027, 1, 1, tzinfo=zone):
        days[moment.astimezone(zone).date()] += 1
    assert days == Counter(date(2026, 1, 1) + n * DAY for n in range(365))


def runs(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    found = []
    while (start := schedule.after(start)) <= end:
        found.append(start)
    return found


@pytest.mark.parametrize(
    ("zone", "text", "start", "hours", "shown"),
    [
        (BERLIN, "30 2 * * *", "2026-03-29T00:00+01:00", 5, ["03:00+02"]),
        (BERLIN, "10,30,50 2 * * *", "2026-03-29T00:00+01:00", 5, ["03:00+02"]),
        (BERLIN, "0 3 * * *", "2026-03-29T00:00+01:00", 5, ["03:00+02"]),
        (BERLIN, "30 2,3 * * *", "2026-03-29T00:00+01:00", 5, ["03:00+02", "03:30+02"]),
        (BERLIN, "30 * * * *", "2026-03-29T00:59+01:00", 3, ["01:30+01", "03:30+02", "04:30+02"]),
        (BERLIN, "*/30 2 * * *", "2026-03-29T00:00+01:00", 5, []),
        (BERLIN, "30 2 * * *", "2026-10-25T00:00+02:00", 6, ["02:30+02"]),
        (BERLIN, "30 2 * * *", "2026-10-25T02:15+01:00", 6, []),
        (BERLIN, "0 2,3 * * *", "2026-10-25T00:00+02:00", 6, ["02:00+02", "03:00+01"]),
        (BERLIN, "30 * * * *", "2026-10-25T01:00+02:00", 4, ["01:30+02", "02:30+02", "02:30+01", "03:30+01"]),
        (BERLIN, "*/30 2 * * *", "2026-10-25T00:00+02:00", 6, ["02:00+02", "02:30+02", "02:00+01", "02:30+01"]),
        (NEW_YORK, "30 2 * * *", "2026-03-08T00:00-05:00", 5, ["03:00-04"]),
        (NEW_YORK, "30 1 * * *", "2026-11-01T00:00-04:00", 5, ["01:30-04"]),
        (NEW_YORK, "@hourly", "2026-11-01T00:30-04:00", 3, ["01:00-04", "01:00-05", "02:00-05"]),
        (LORD_HOWE, "15 2 * * *", "2026-10-04T00:00+10:30", 5, ["02:30+11"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-05T00:00+11:00", 5, ["01:45+11"]),
        (LORD_HOWE, "*/15 1 * * *", "2026-04-05T01:20+11:00", 2, ["01:30+11", "01:45+11", "01:30+1030", "01:45+1030"]),
        (LORD_HOWE, "*/15 1 * * *", "2026-04-05T01:50+11:00", 2, ["01:30+1030", "01:45+1030"]),
        (LORD_HOWE, "*/30 17 * * *", "2026-04-05T01:09+11:00", 17, ["17:00+1030", "17:30+1030"]),
        (CASABLANCA, "30 2 * * *", "2026-02-15T00:00+01:00", 6, ["02:30+01"]),
        (CASABLANCA, "30 2 * * *", "2026-03-22T00:00+00:00", 6, ["03:00+01"]),
        (ZoneInfo("Pacific/Apia"), "30 2 * * *", "2011-12-29T12:00-10:00", 24, ["00:00+14", "02:30+14"]),
    ],
)
def test_the_known_nights(zone: ZoneInfo, text: str, start: str, hours: int, shown: list[str]) -> None:
    first = datetime.fromisoformat(start).astimezone(zone)  # whose arithmetic is that of the wall
    found = runs(Schedule(text, zone), first, first.astimezone(UTC) + hours * HOUR)
    assert [f"{run.astimezone(zone):%H:%M%z}".removesuffix("00") for run in found] == shown


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("30 3 * * *", MONDAY.replace(hour=3)),
        ("30 1 * * *", MONDAY + DAY),
        ("@hourly", MONDAY.replace(hour=2, minute=0)),
        ("@daily", datetime(2026, 11, 24, tzinfo=UTC)),
        ("@midnight", datetime(2026, 11, 24, tzinfo=UTC)),
        ("@Weekly ", datetime(2026, 11, 29, tzinfo=UTC)),
        ("@monthly", datetime(2026, 12, 1, tzinfo=UTC)),
        ("@yearly", datetime(2027, 1, 1, tzinfo=UTC)),
        ("@annually", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 29 2 */7", datetime(2032, 2, 29, tzinfo=UTC)),
        ("0 0 31 2 mon", datetime(2027, 2, 1, tzinfo=UTC)),
        ("*/15 * * * *", MONDAY + 15 * MINUTE),
        ("0 0 * MAR THU", datetime(2027, 3, 4, tzinfo=UTC)),
        ("0 0 1 * fri", datetime(2026, 11, 27, tzinfo=UTC)),  # either day, crontab(5)
        ("0 0 */2 * fri", datetime(2026, 11, 27, tzinfo=UTC)),  # both, as one begins with a star
        ("0 0 */2 * sat", datetime(2026, 12, 5, tzinfo=UTC)),
        ("0 0 1-31 * fri", datetime(2026, 11, 24, tzinfo=UTC)),
        ("0 0 * * 7", datetime(2026, 11, 29, tzinfo=UTC)),
        ("3-3 * * * *", MONDAY.replace(hour=2, minute=3)),
        ("*/70 * * * *", MONDAY.replace(hour=2, minute=0)),
        ("every 6h", MONDAY.replace(hour=6, minute=0)),
        ("every 90m", MONDAY + 90 * MINUTE),
        ("every 1h30m", MONDAY + 90 * MINUTE),
        ("every  1.5h", MONDAY + 90 * MINUTE),
        ("Every 1d", datetime(2026, 11, 24, tzinfo=UTC)),
    ],
)
def test_the_next_run(text: str, following: datetime) -> None:
    schedule = Schedule(text)
    assert (schedule.text, schedule.zone) == (text, UTC_ZONE)
    assert schedule.after(MONDAY) == following


EXTENSIONS = ["R R * * *", "0 r * * *", "0 R(2-4) * * *", "H 3 * * *", "H/5 3 * * *", "0 0 L * *", "0 0 LW * *"]
EXTENSIONS += ["0 0 1W * *", "0 0 ? * *", "0 0 * * ?", "0 0 * * 5#2", "0 0 * * fri#2", "0 0 * * L5", "0 0 * * 5L"]
WRAPPED = ["50-10 * * * *", "0 22-2 * * *", "0 0 * nov-feb *", "0 0 * * fri-sun", "0 0 * * 7-1"]
STEPS = [
    "5/15 * * * *",
    "5-5/15 * * * *",
    "*/0 * * * *",
    "*/ * * * *",
    "*/-1 * * * *",
    "*/5/5 * * * *",
    "1-2-3 * * * *",
]
NUMBERS = ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 8", "-1 * * * *"]
NUMBERS += [
    "٣ * * * *",
    "1.5 * * * *",
    "1,,2 * * * *",
    ", * * * *",
    "mon * * * *",
    "0 0 * mon *",
    "0 0 * * mon-x",
    "_ * * * *",
]
COUNTS = ["", " ", "x", "* * * *", "* * * * * *", "0 0 3 * * * 2027", "@", "@never", "@reboot", "@ daily", "every_6h"]
EVERY = [
    "every",
    "every ",
    "every 6",
    "every six",
    "every h",
    "every 0h",
    "every 59s",
    "every 367d",
    "every -6h",
    "every6h",
]
EVERY += ["every 6 h", "every 1h 30m", "every 1h,30m", "every 1.5.5h", "every 1mm", "every 1y", "every 99999999999999d"]
NEVER = ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30 2 */2"]


@pytest.mark.parametrize("text", [*EXTENSIONS, *WRAPPED, *STEPS, *NUMBERS, *COUNTS, *EVERY, *NEVER])
def test_what_never_comes_or_cannot_be_read_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule(text)
    assert repr(text) in str(caught.value)
    assert caught.value.hint or text in NEVER


@given(st.lists(st.text("0123456789*/-,LWRH#?@ \n", max_size=5), max_size=7).map(" ".join) | st.text(max_size=20))
def test_any_text_is_read_or_is_a_wrong_setting(text: str) -> None:
    try:
        schedule = Schedule(text)
    except ConfigError:
        return
    if not text.strip().lower().startswith(("@", "every")):
        assert oracle(text, UTC_ZONE, MONDAY) == schedule.after(MONDAY)


lengths = st.integers(1, 366 * 24 * 60)


@given(lengths, st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(st.just(zone), moments_of(zone))))
def test_every_is_a_grid_from_1970_whatever_the_zone(minutes: int, case: tuple[ZoneInfo, datetime]) -> None:
    zone, moment = case
    length = minutes * MINUTE
    schedule = Schedule(f"every {minutes // 60}h{minutes % 60}m", zone)
    following = schedule.after(moment)
    assert moment < following <= moment + length
    assert (following - EPOCH) % length == timedelta(0)
    assert schedule.after(following) == following + length
    assert schedule.after(following - timedelta(microseconds=1)) == following
    assert schedule.after(EPOCH - length) == EPOCH


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_a_year_of_nights_is_cronsims(zone: ZoneInfo) -> None:
    start = datetime(2026, 1, 1, tzinfo=zone)
    expected = [run.astimezone(UTC) for run in islice(CronSim("30 2 * * *", start), 400)]
    assert runs(Schedule("30 2 * * *", zone), start, expected[-1]) == expected
