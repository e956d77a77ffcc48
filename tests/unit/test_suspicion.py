"""What nobody should rely on before a person has looked: losses, and only those."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.archive import Marks, Stored, Summary
from dbguard.suspicion import latest, losses, suspicious
from tests.unit.nouns import START, archive

BASE = replace(archive().summary, tables=10, rows=1000, plain_size=10 << 20)
WHY = ("less than half the tables: 1, before 9",)


def summary(number: int = 0, **changes: Any) -> Summary:
    at = START + timedelta(hours=number)
    return replace(BASE, id=f"{at:%Y%m%dT%H%M%SZ}-{number:06x}", snapshot=at, **changes)


def one(number: int = 0, *, confirmed: bool = False, **changes: Any) -> Stored:
    return Stored(summary=summary(number, **changes), marks=Marks(confirmed=confirmed))


# --- losses ---


def test_the_first_one_has_lost_nothing() -> None:
    assert losses(summary(tables=0, rows=0, plain_size=0), []) == ()


def test_a_database_as_it_was_is_not_suspicious() -> None:
    assert losses(summary(1), [one()]) == ()


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"tables": 5}, []),
        ({"tables": 4}, ["less than half the tables: 4, before 10"]),
        ({"rows": 500}, []),
        ({"rows": 499}, ["less than half the rows: 499, before 1000"]),
        ({"rows": 0}, ["less than half the rows: 0, before 1000"]),
        ({"rows": None}, []),
        ({"plain_size": 5 << 20}, []),
        ({"plain_size": (5 << 20) - 1}, ["less than half the bytes of SQL: 5242879, before 10485760"]),
        (
            {"tables": 0, "rows": 0, "plain_size": 0},
            [
                "less than half the tables: 0, before 10",
                "less than half the rows: 0, before 1000",
                "less than half the bytes of SQL: 0, before 10485760",
            ],
        ),
    ],
)
def test_more_than_half_is_lost(changes: dict[str, Any], reasons: list[str]) -> None:
    assert [*losses(summary(1, **changes), [one()])] == reasons


def test_rows_that_were_not_counted_before_are_not_missed() -> None:
    assert losses(summary(1, rows=0), [one(rows=None)]) == ()


def test_a_few_bytes_of_a_small_database_are_no_loss() -> None:
    assert losses(summary(1, plain_size=1 << 10), [one(plain_size=64 << 10)]) == ()
    assert losses(summary(1, plain_size=1 << 10), [one(plain_size=66 << 10)]) != ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tables": 9}, "of another server, with fewer tables: 9, before 10"),
        ({"rows": 999}, "of another server, with fewer rows: 999, before 1000"),
        ({"plain_size": (9 << 20) - 1}, "of another server, with fewer bytes of SQL: 9437183, before 10485760"),
    ],
)
def test_of_another_server_every_loss_counts(changes: dict[str, Any], reason: str) -> None:
    assert losses(summary(1, identity="another", **changes), [one()]) == (reason,)
    assert losses(summary(1, **changes), [one()]) == ()


def test_another_server_with_the_same_data_is_a_move() -> None:
    assert losses(summary(1, identity="another", plain_size=(10 << 20) - (10 << 10)), [one()]) == ()


sizes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "tables": st.integers(0, 10**6),
        "rows": st.none() | st.integers(0, 10**12),
        "plain_size": st.integers(0, 10**15),
    }
)


@given(sizes, st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**12), st.sampled_from(["uuid", "other"]))
def test_growth_is_never_suspicious(before: dict[str, Any], tables: int, rows: int, size: int, identity: str) -> None:
    grown = {
        "tables": before["tables"] + tables,
        "rows": None if before["rows"] is None else before["rows"] + rows,
        "plain_size": before["plain_size"] + size,
    }
    assert losses(summary(1, identity=identity, **grown), [one(**before)]) == ()


@given(sizes, st.sampled_from(["uuid", "other"]))
def test_an_empty_server_is_suspicious_whenever_there_was_something(before: dict[str, Any], identity: str) -> None:
    """The container started anew on an empty volume: its dump is whole, and holds nothing."""
    empty = summary(1, identity=identity, tables=0, rows=0, plain_size=1000)
    assert bool(losses(empty, [one(**before)])) is bool(
        before["tables"] or before["rows"] or before["plain_size"] > (64 << 10) + 1000
    )


# --- what is compared ---


def test_it_is_compared_with_the_newest_one_that_can_be_relied_on() -> None:
    """Else the second dump of an empty server would look right beside the first."""
    before = [one(0), one(1, tables=0, rows=0, plain_size=0, suspicious=WHY)]
    assert len(losses(summary(2, tables=0, rows=0, plain_size=0), before)) == 3
    assert losses(summary(2), before) == ()
    settled = [before[0], replace(before[1], marks=Marks(confirmed=True))]
    assert losses(summary(2, tables=0, rows=0, plain_size=0), settled) == ()


def test_little_by_little_is_no_loss() -> None:
    before = [one(number, tables=tables) for number, tables in enumerate((20, 12, 8))]
    assert losses(summary(9, tables=5), before) == ()
    assert losses(summary(9, tables=5), before[::-1]) == (), "whatever the order"


def test_who_sees_less_is_compared_with_who_saw_the_same() -> None:
    some: dict[str, Any] = {"complete": False, "partial_reasons": ("only shop was asked for",), "tables": 2, "rows": 20}
    assert losses(summary(1, **some), [one(0)]) == ()
    assert losses(summary(2, **{**some, "rows": 1}), [one(0), one(1, **some)]) != ()
    assert losses(summary(2), [one(0), one(1, **some)]) == ()


# --- which are suspicious ---


def test_why_one_is_suspicious_is_what_was_found_when_it_was_taken() -> None:
    archives = [one(0), one(1, suspicious=WHY), one(2)]
    assert suspicious(archives) == {archives[1].id: WHY}


def test_who_confirms_one_settles_those_before_it_and_none_after() -> None:
    archives = [one(number, suspicious=WHY, confirmed=number == 2) for number in range(5)]
    assert list(suspicious(archives)) == [archives[3].id, archives[4].id]


def test_a_good_one_that_was_confirmed_settles_too() -> None:
    archives = [one(0, suspicious=WHY), one(1, confirmed=True), one(2, suspicious=WHY)]
    assert list(suspicious(archives)) == [archives[2].id]


any_archives = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=8).map(
    lambda several: [
        one(number, complete=complete, suspicious=WHY if odd else (), confirmed=confirmed)
        for number, (complete, odd, confirmed) in enumerate(several)
    ]
)


@given(any_archives)
def test_to_confirm_the_newest_settles_everything(archives: list[Stored]) -> None:
    assert suspicious([*archives, one(99, confirmed=True)]) == {}


@given(any_archives, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(archives: list[Stored], dice: Any) -> None:
    shuffled = [*archives]
    dice.shuffle(shuffled)
    assert suspicious(shuffled) == suspicious(archives)
    assert latest(shuffled) == latest(archives)


# --- the latest ---


def test_without_any_there_is_no_latest() -> None:
    assert latest([]) == (None, {})


def test_the_latest_is_the_newest() -> None:
    archives = [one(number) for number in range(3)]
    assert latest(archives) == (archives[2], {})


def test_a_suspicious_or_partial_one_is_passed_over_and_told() -> None:
    archives = [
        one(0),
        one(1),
        one(2, complete=False, partial_reasons=("only shop was asked for",)),
        one(3, suspicious=WHY),
    ]
    chosen, skipped = latest(archives)
    assert chosen == archives[1]
    assert skipped == {
        archives[3].id: f"suspicious: {WHY[0]} (`dbguard confirm {archives[3].id}` if it is right)",
        archives[2].id: "partial: only shop was asked for",
    }


def test_once_it_is_confirmed_it_is_the_latest() -> None:
    archives = [one(0), one(1, suspicious=WHY, confirmed=True)]
    assert latest(archives) == (archives[1], {})


def test_a_partial_one_is_better_than_none() -> None:
    archives = [one(0, complete=False), one(1, complete=False), one(2, suspicious=WHY)]
    chosen, skipped = latest(archives)
    assert chosen == archives[1]
    assert list(skipped) == [archives[2].id]


@given(any_archives)
def test_the_latest_is_never_suspicious_and_what_is_newer_is_told(archives: list[Stored]) -> None:
    chosen, skipped = latest(archives)
    odd = suspicious(archives)
    assert (chosen is None) is (len(odd) == len(archives))
    assert chosen is None or chosen.id not in odd
    assert set(skipped) == {one.id for one in archives if chosen is None or one.id > chosen.id}
