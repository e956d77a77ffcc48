"""Carrying out a retention plan: only what the policy does not keep goes, and only of one target."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbguard.errors import Busy
from dbguard.lock import target_lock
from dbguard.prune import prune
from dbguard.retention import Policy
from tests.unit.nouns import TARGET
from tests.unit.stored import Stored


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def left(stored: Stored) -> list[str]:
    return [one.id for one in stored.catalog.listing(TARGET).archives]


def test_the_last_ones_stay(stored: Stored) -> None:
    made = [stored.put(b"SELECT 1;\n", "shop", number=number) for number in range(5)]
    plan = prune(TARGET, catalog=stored.catalog, policy=Policy(keep_last=2), state=stored.state)
    assert left(stored) == [made[4].id, made[3].id]
    assert [one.id for one in plan.remove] == [made[2].id, made[1].id, made[0].id]
    assert not stored.data(made[0]).exists()


def test_without_a_policy_everything_stays(stored: Stored) -> None:
    for number in range(3):
        stored.put(b"SELECT 1;\n", "shop", number=number)
    prune(TARGET, catalog=stored.catalog, policy=Policy(), state=stored.state)
    assert len(left(stored)) == 3


def test_damaged_ones_fill_no_place_and_are_left_alone(stored: Stored) -> None:
    good = stored.put(b"SELECT 1;\n", "shop", number=0)
    bad = [stored.put(b"SELECT 1;\n", "shop", number=number) for number in (1, 2)]
    for one in bad:
        stored.data(one).unlink()
    prune(TARGET, catalog=stored.catalog, policy=Policy(keep_last=1), state=stored.state)
    assert left(stored) == [good.id]
    assert len(stored.catalog.listing(TARGET).damaged) == 2


def test_what_is_being_written_is_left_alone(stored: Stored) -> None:
    """A backup of another host, without its manifest yet."""
    stored.put(b"SELECT 1;\n", "shop", number=1)
    with stored.catalog.create(TARGET, "20200101T000000Z-000000", "data.sql.zst") as out:
        out.write(b"half")
        prune(TARGET, catalog=stored.catalog, policy=Policy(keep_last=1), state=stored.state)
    assert (stored.root / "shop/db/20200101T000000Z-000000/data.sql.zst").read_bytes() == b"half"


def test_a_target_at_work_is_not_pruned(stored: Stored) -> None:
    with target_lock(stored.state, TARGET), pytest.raises(Busy):
        prune(TARGET, catalog=stored.catalog, policy=Policy(keep_last=1), state=stored.state)


def test_pruning_again_removes_nothing(stored: Stored) -> None:
    for number in range(4):
        stored.put(b"SELECT 1;\n", "shop", number=number)
    policy = Policy(keep_last=2)
    prune(TARGET, catalog=stored.catalog, policy=policy, state=stored.state)
    assert prune(TARGET, catalog=stored.catalog, policy=policy, state=stored.state).remove == ()
