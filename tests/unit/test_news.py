"""What is worth a message, and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dbguard.health import Health, TargetHealth
from dbguard.news import Message, News, Told, keyed, news, warned

NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
DAY = timedelta(hours=24)
FAILED = {"shop/db failed": "the dump did not end well"}


def told_of(problems: Mapping[str, str], at: datetime = NOW) -> Mapping[str, Told]:
    return news(problems, {}, now=at, remind=DAY).told


def said(found: News) -> list[tuple[str, str]]:
    return [(one.kind, one.title) for one in found.messages]


# --- one thing at a time ---


def test_nothing_wrong_is_no_news() -> None:
    found = news({}, {}, now=NOW, remind=DAY)
    assert (found.messages, found.told) == ((), {})


def test_a_new_problem_is_told_with_its_text() -> None:
    found = news(FAILED, {}, now=NOW, remind=DAY)
    assert found.messages == (
        Message(kind="failure", title="dbguard: shop/db failed", body="shop/db failed: the dump did not end well"),
    )
    assert found.told == {"shop/db failed": Told(text="the dump did not end well", since=NOW, at=NOW)}


def test_several_new_problems_are_one_message_that_names_the_targets() -> None:
    found = news(
        {"shop/db failed": "a", "shop/db stale": "b", "blog/db stale": "c", "guard shop_data": "d"},
        {},
        now=NOW,
        remind=DAY,
    )
    (message,) = found.messages
    assert message.title == "dbguard: shop/db failed and stale, blog/db stale, guard shop_data"
    assert message.body.splitlines() == [
        "shop/db failed: a",
        "shop/db stale: b",
        "blog/db stale: c",
        "guard shop_data: d",
    ]


def test_a_new_problem_beside_an_old_one_is_told_alone() -> None:
    later = NOW + timedelta(hours=1)
    found = news(FAILED | {"blog/db stale": "old"}, told_of(FAILED), now=later, remind=DAY)
    assert said(found) == [("failure", "dbguard: blog/db stale")]
    assert found.told["shop/db failed"].at == NOW


def test_another_text_is_no_news() -> None:
    """It may hold an age."""
    told = told_of({"shop/db stale": "26 h old"})
    found = news({"shop/db stale": "27 h old"}, told, now=NOW + timedelta(hours=1), remind=DAY)
    assert (found.messages, found.told) == ((), told)


def test_what_lasts_is_told_again_after_a_day_all_in_one() -> None:
    told = {**told_of(FAILED), **told_of({"blog/db stale": "26 h"}, NOW + timedelta(hours=3))}
    problems = FAILED | {"blog/db stale": "47 h"}
    assert not news(problems, told, now=NOW + DAY - timedelta(seconds=1), remind=DAY).messages
    found = news(problems, told, now=NOW + DAY, remind=DAY)
    assert said(found) == [("reminder", "dbguard: still: shop/db failed, blog/db stale")]
    assert found.messages[0].body.splitlines() == [
        "shop/db failed: since 2026-11-23 03:30 UTC: the dump did not end well",
        "blog/db stale: since 2026-11-23 06:30 UTC: 47 h",
    ]
    assert {one.at for one in found.told.values()} == {NOW + DAY}
    assert {one.since for one in found.told.values()} == {NOW, NOW + timedelta(hours=3)}


def test_without_a_time_to_remind_nothing_is_told_again() -> None:
    found = news(FAILED, told_of(FAILED), now=NOW + 100 * DAY, remind=timedelta(0))
    assert not found.messages


def test_what_is_over_is_told_and_forgotten() -> None:
    found = news({}, told_of(FAILED), now=NOW + timedelta(hours=1), remind=DAY)
    assert said(found) == [("recovery", "dbguard: over: shop/db failed")]
    assert "2026-11-23 03:30 UTC" in found.messages[0].body
    assert found.told == {}


def test_states_follow_the_messages_one_by_one() -> None:
    """So that what nobody heard is told again, and nothing else is."""
    told = told_of({"a failed": "", "b failed": ""})
    found = news({"b failed": "", "c failed": ""}, told, now=NOW + DAY, remind=DAY)
    assert [one.kind for one in found.messages] == ["failure", "recovery", "reminder"]
    assert [set(one) for one in found.states] == [
        {"a failed", "b failed"},
        {"a failed", "b failed", "c failed"},
        {"b failed", "c failed"},
        {"b failed", "c failed"},
    ]
    assert [one["b failed"].at for one in found.states] == [NOW, NOW, NOW, NOW + DAY]


# --- size and shape ---


def test_a_hundred_problems_are_one_short_message() -> None:
    (message,) = news({f"shop/db{n} failed": "x" * 5000 for n in range(100)}, {}, now=NOW, remind=DAY).messages
    assert message.title.endswith("shop/db2 failed, and 97 more")
    lines = message.body.splitlines()
    assert (len(lines), lines[-1]) == (21, "and 80 more")
    assert max(map(len, lines)) == 300


def test_names_cannot_break_out_of_their_line() -> None:
    (message,) = news({"shop/db\nfailed": "a\r\n\x1b[31mb\ud800"}, {}, now=NOW, remind=DAY).messages
    assert message.title.isprintable()
    assert message.body.isprintable()


# --- the clock ---


def test_a_clock_that_goes_back_neither_floods_nor_silences() -> None:
    told = told_of(FAILED, NOW + 365 * DAY)
    first = news(FAILED, told, now=NOW, remind=DAY)
    assert not first.messages
    assert not news(FAILED, first.told, now=NOW + timedelta(hours=23), remind=DAY).messages
    assert first.told["shop/db failed"].since == NOW, "no problem began in the future"
    assert said(news(FAILED, first.told, now=NOW + DAY, remind=DAY)) == [("reminder", "dbguard: still: shop/db failed")]


# --- warnings ---


def test_a_warning_is_told_once_in_a_while_and_then_forgotten() -> None:
    found = warned("guard shop_data", "refused: never backed up", {}, now=NOW, remind=DAY)
    assert found.messages == (
        Message(kind="warning", title="dbguard: guard shop_data", body="refused: never backed up"),
    )
    assert found.states[0] == {}
    again = warned("guard shop_data", "refused again", found.told, now=NOW + timedelta(hours=23), remind=DAY)
    assert (again.messages, again.told) == ((), found.told)
    other = warned("guard blog_data", "refused", again.told, now=NOW + timedelta(hours=23), remind=DAY)
    assert len(other.messages) == 1
    late = warned("guard shop_data", "refused", other.told, now=NOW + DAY, remind=DAY)
    assert len(late.messages) == 1
    assert set(warned("x", "", late.told, now=NOW + 3 * DAY, remind=DAY).told) == {"x"}, "the rest is long past"


def test_a_warning_survives_a_clock_that_goes_back() -> None:
    told = warned("x", "", {}, now=NOW + 365 * DAY, remind=DAY).told
    back = warned("x", "", told, now=NOW, remind=DAY)
    assert not back.messages
    assert warned("x", "", back.told, now=NOW + DAY, remind=DAY).messages


# --- health ---


def test_health_by_keys() -> None:
    target = TargetHealth(target="shop/db", problems={"failed": "a", "stale": "b"}, max_age=DAY)
    sound = TargetHealth(target="blog/db", max_age=DAY)
    health = Health(at=NOW, targets=(target, sound), problems={"file:///backups unreadable": "c"})
    assert keyed(health) == {"shop/db failed": "a", "shop/db stale": "b", "file:///backups unreadable": "c"}


# --- whatever happens ---

KEYS = ["a/db failed", "a/db stale", "b/db failed", "guard c_data"]
STEPS = st.integers(-3 * 86400, 3 * 86400) | st.integers(0, 3600)
LOOKS = st.lists(st.tuples(STEPS, st.sets(st.sampled_from(KEYS)), st.integers(0, 3)), max_size=40)
"""Seconds to the look before, what is wrong then, and how many messages arrive at most."""


def about(message: Message) -> list[str]:
    return [line.partition(": ")[0] for line in message.body.splitlines()]


@given(LOOKS)
def test_each_change_is_told_once_and_what_lasts_once_a_day(looks: list[tuple[int, set[str], int]]) -> None:
    """Some messages may be lost; what arrives is neither a flood nor twice the same."""
    told: Mapping[str, Told] = {}
    now = NOW
    forward = timedelta(0)
    heard: dict[str, list[str]] = {key: [] for key in KEYS}
    changes: Counter[str] = Counter()
    before: set[str] = set()
    for seconds, wrong, arriving in looks:
        now += timedelta(seconds=seconds)
        forward += timedelta(seconds=max(seconds, 0))
        changes.update(wrong ^ before)
        before = wrong
        found = news(dict.fromkeys(wrong, f"look at {now}"), told, now=now, remind=DAY)
        arrived = found.messages[:arriving]
        told = found.states[len(arrived)]
        for message in arrived:
            assert len(about(message)) == len(set(about(message)))
            for key in about(message):
                heard[key].append(message.kind)
        if len(arrived) == len(found.messages):
            assert set(told) == wrong, "everything that is wrong has been told, and nothing else"
            assert not news(dict.fromkeys(wrong, ""), told, now=now, remind=DAY).messages, "the same look again"
    for key, kinds in heard.items():
        states = [kind for kind in kinds if kind != "reminder"]
        assert states == ["failure", "recovery"] * (len(states) // 2) + ["failure"] * (len(states) % 2)
        assert len(states) <= changes[key]
        assert kinds.count("reminder") <= forward / DAY
        assert not kinds or kinds[0] == "failure"


@given(st.lists(st.integers(-86400, 86400), max_size=20), st.integers(0, 86400))
def test_what_lasts_is_told_again_within_a_day_whatever_the_clock_did(steps: list[int], rest: int) -> None:
    now, told = NOW, told_of(FAILED)
    for step in steps:
        now += timedelta(seconds=step)
        told = news(FAILED, told, now=now, remind=DAY).told
    assert now - DAY < told["shop/db failed"].at <= now
    later = news(FAILED, told, now=now + timedelta(seconds=rest), remind=DAY).told
    final = news(FAILED, later, now=now + DAY + timedelta(seconds=rest), remind=DAY)
    assert final.told["shop/db failed"].at > now
