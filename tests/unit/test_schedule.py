"""When the next run is, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ConfigError
from dbguard.schedule import Schedule

MONDAY = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("30 3 * * *", MONDAY.replace(hour=3)),
        ("30 1 * * *", MONDAY + timedelta(days=1)),
        ("@hourly", MONDAY.replace(hour=2, minute=0)),
        ("@daily", datetime(2026, 11, 24, tzinfo=UTC)),
        ("@weekly", datetime(2026, 11, 29, tzinfo=UTC)),
        ("@monthly", datetime(2026, 12, 1, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("*/15 * * * *", MONDAY + timedelta(minutes=15)),
        ("0 0 * MAR THU", datetime(2027, 3, 4, tzinfo=UTC)),
    ],
)
def test_the_next_run(text: str, following: datetime) -> None:
    assert Schedule(text).after(MONDAY) == following


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 0 31 2 *",
        "@never",
        "@reboot",
        "R R * * *",
        "0 r * * *",
        "0 R(2-4) * * *",
        "H 3 * * *",
        "0 0 * * mon-x",
        "@",
    ],
)
def test_what_never_comes_or_cannot_be_read_is_a_wrong_setting(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Schedule(text)
    assert repr(text) in str(caught.value)


moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones())  # noqa: DTZ001


@given(moments, st.sampled_from(["30 2 * * *", "@daily", "0 0 * * 0"]))
def test_it_comes_once_in_each_period_whatever_the_zone(moment: datetime, text: str) -> None:
    schedule = Schedule(text)
    first = schedule.after(moment)
    second = schedule.after(first)
    assert moment < first < second
    assert second - first == timedelta(days=7 if text.endswith("0") else 1)
    assert schedule.after(moment.astimezone(UTC)) == first
    assert schedule.after(first - timedelta(seconds=1)) == first
