"""Carrying out a retention plan: only what the rules do not keep goes, and only of one target in one storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dbguard.archive import Archive
from dbguard.config import Settings
from dbguard.errors import Busy, PruneRefused, StorageError
from dbguard.lock import target_lock
from dbguard.model import TargetName
from dbguard.prune import Pruned, plan, prune, sweep
from dbguard.retention import Plan
from dbguard.storages.local import LocalStorage
from tests.unit.nouns import OWNER, START, TARGET, archive
from tests.unit.stored import Stored

NOW = START + timedelta(days=400)
SQL = b"SELECT 1;\n"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("DBGUARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def settings(stored: Stored, **rules: Any) -> Settings:
    return Settings(storage=(stored.catalog.url,), state=stored.state, **rules)


def pruned(stored: Stored, *, now: Any = NOW, sure: bool = False, shown: Plan | None = None, **rules: Any) -> Pruned:
    return prune(TARGET, catalog=stored.catalog, settings=settings(stored, **rules), now=now, shown=shown, sure=sure)


def left(stored: Stored, target: TargetName = TARGET) -> list[str]:
    return [one.id for one in stored.catalog.listing(target).archives]


def several(stored: Stored, count: int, **changes: Any) -> list[Archive]:
    return [stored.put(SQL, "shop", number=number, **changes) for number in range(count)]


def test_the_last_ones_stay(stored: Stored) -> None:
    made = several(stored, 5)
    done = pruned(stored, keep_last=2)
    assert left(stored) == [made[4].id, made[3].id]
    assert [one.id for one in done.removed] == [made[0].id, made[1].id, made[2].id], "oldest first"
    assert done.stuck == {}
    assert not stored.data(made[0]).exists()


def test_without_rules_everything_stays(stored: Stored) -> None:
    several(stored, 3)
    assert pruned(stored).removed == ()
    assert len(left(stored)) == 3


def test_damaged_ones_fill_no_place_and_are_left_alone(stored: Stored) -> None:
    good = stored.put(SQL, "shop", number=0)
    bad = [stored.put(SQL, "shop", number=number) for number in (1, 2)]
    for one in bad:
        stored.data(one).unlink()
    decided = plan(TARGET, stored.catalog, settings(stored, keep_last=1), NOW)
    assert [one.archive.id for one in [*decided.keep, *decided.remove]] == [good.id]
    pruned(stored, keep_last=1)
    assert left(stored) == [good.id]
    assert len(stored.catalog.listing(TARGET).damaged) == 2


def test_what_is_being_written_is_left_alone(stored: Stored) -> None:
    """A backup of another host, without its manifest yet."""
    stored.put(SQL, "shop", number=1)
    with stored.catalog.create(TARGET, "20200101T000000Z-000000", "data.sql.zst") as out:
        out.write(b"half")
        pruned(stored, keep_last=1)
    assert (stored.root / "shop/db/20200101T000000Z-000000/data.sql.zst").read_bytes() == b"half"


def test_a_target_at_work_is_not_pruned(stored: Stored) -> None:
    with target_lock(stored.state, TARGET), pytest.raises(Busy):
        pruned(stored, keep_last=1)


def test_pruning_again_removes_nothing(stored: Stored) -> None:
    several(stored, 4)
    pruned(stored, keep_last=2)
    assert pruned(stored, keep_last=2).removed == ()
    assert len(left(stored)) == 2


def test_another_target_is_never_touched(stored: Stored) -> None:
    """Not even one whose name begins with the same words."""
    names = ["shop/db2", "shop/db-replica", "shop2/db", "_/db"]
    for name in names:
        other = replace(OWNER, project=TargetName.parse(name).project, service=TargetName.parse(name).service)
        stored.catalog.prepare(other)
        several(stored, 4, target=name, owner=other)
    several(stored, 4)
    pruned(stored, keep_last=1)
    assert [len(left(stored, TargetName.parse(name))) for name in ["shop/db", *names]] == [1, 4, 4, 4, 4]


def test_another_storage_is_never_touched(stored: Stored, tmp_path: Path) -> None:
    elsewhere = Stored(tmp_path / "elsewhere")
    several(elsewhere, 4)
    several(stored, 4)
    pruned(stored, keep_last=1)
    assert (len(left(stored)), len(left(elsewhere))) == (1, 4)


def test_the_rules_of_this_storage_count(stored: Stored) -> None:
    several(stored, 5)
    own = Settings.model_validate(
        {
            "storage": [stored.catalog.url, "file:///elsewhere"],
            "state": stored.state,
            "keep_last": 1,
            "storages": {stored.catalog.url: {"keep_last": 3}},
        }
    )
    prune(TARGET, catalog=stored.catalog, settings=own, now=NOW)
    assert len(left(stored)) == 3


# --- when nothing may go ---


def test_a_clock_that_cannot_be_right_removes_nothing(stored: Stored) -> None:
    made = several(stored, 5)
    early = made[-1].snapshot - timedelta(minutes=5, seconds=1)
    for sure in (False, True):
        with pytest.raises(PruneRefused, match="future"):
            pruned(stored, now=early, keep_last=1, sure=sure)
    assert len(left(stored)) == 5
    pruned(stored, now=early + timedelta(seconds=1), keep_last=1)
    assert len(left(stored)) == 1


@pytest.mark.parametrize(("count", "keep", "asks"), [(6, 1, False), (7, 1, True), (12, 6, False), (13, 6, True)])
def test_most_goes_only_when_it_is_meant(stored: Stored, count: int, keep: int, asks: bool) -> None:
    several(stored, count)
    if asks:
        with pytest.raises(PruneRefused, match="nothing was removed"):
            pruned(stored, keep_last=keep)
        assert len(left(stored)) == count
    pruned(stored, keep_last=keep, sure=asks)
    assert len(left(stored)) == keep


def test_what_was_not_shown_does_not_go(stored: Stored) -> None:
    """Somebody answers yes to a list; meanwhile another backup has made one more superfluous."""
    made = several(stored, 3)
    shown = plan(TARGET, stored.catalog, settings(stored, keep_last=2), NOW)
    stored.put(SQL, "shop", number=3)
    assert [one.id for one in pruned(stored, keep_last=2, shown=shown).removed] == [made[0].id]
    assert len(left(stored)) == 3


def test_what_was_held_after_it_was_shown_stays(stored: Stored) -> None:
    made = several(stored, 3)
    shown = plan(TARGET, stored.catalog, settings(stored, keep_last=1), NOW)
    stored.catalog.mark(made[0].summary, "hold", NOW)
    pruned(stored, keep_last=1, shown=shown)
    assert left(stored) == [made[2].id, made[0].id]


def test_a_hold_keeps_it_until_it_is_taken_back(stored: Stored) -> None:
    made = several(stored, 3)
    for _ in range(2):
        stored.catalog.mark(made[0].summary, "hold", NOW + timedelta(microseconds=_))
    pruned(stored, keep_last=1)
    assert left(stored) == [made[2].id, made[0].id]
    stored.catalog.release(made[0].summary)
    pruned(stored, keep_last=1)
    assert left(stored) == [made[2].id]


def test_before_a_suspicious_one_nothing_goes_until_it_is_confirmed(stored: Stored) -> None:
    several(stored, 4)
    odd = stored.put(SQL, "shop", number=4, suspicious=("less than half the tables: 1, before 9",))
    pruned(stored, keep_last=1)
    assert len(left(stored)) == 5
    stored.catalog.mark(odd.summary, "confirm", NOW)
    pruned(stored, keep_last=1)
    assert left(stored) == [odd.id]


# --- when it does not work ---


@contextmanager
def unremovable(monkeypatch: pytest.MonkeyPatch, archive_id: str) -> Iterator[None]:
    delete = LocalStorage.delete

    def fail(self: LocalStorage, key: str) -> None:
        if archive_id in key:
            raise StorageError(f"{key}: locked")
        delete(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "delete", fail)
        yield


def test_one_that_cannot_be_removed_is_still_whole_and_stops_no_other(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = several(stored, 4)
    with unremovable(monkeypatch, made[1].id):
        done = pruned(stored, keep_last=1)
    assert [one.id for one in done.removed] == [made[0].id, made[2].id]
    assert list(done.stuck) == [made[1].id]
    assert left(stored) == [made[3].id, made[1].id]
    assert stored.data(made[1]).exists()


# --- what killed runs have left ---


def age(path: Path, days: float) -> None:
    moment = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (moment, moment))


def test_what_was_begun_long_ago_is_swept_and_nothing_else(stored: Stored) -> None:
    whole = stored.put(SQL, "shop", number=0)
    others = replace(OWNER, service="db2")
    stored.catalog.prepare(others)
    for name, number, days in ((TARGET, 1, 8), (TARGET, 2, 6), (TargetName.parse("shop/db2"), 3, 8)):
        with stored.catalog.create(name, archive(number).id, "data.sql.zst") as out:
            out.write(b"half")
        age(stored.root / str(name) / archive(number).id / "data.sql.zst", days)
    for place, days in (("shop/db", 8), ("shop/db", 6), ("shop/db2", 8)):
        (stored.root / place / f".tmp-{days}").write_bytes(b"half")
        age(stored.root / place / f".tmp-{days}", days)
    for path in (stored.root / "shop/db" / whole.id).iterdir():
        age(path, 100)
    gone = sweep(TARGET, catalog=stored.catalog, now=NOW)
    assert gone == [f"unfinished archive shop/db/{archive(1).id}", "unfinished write of shop/db/.tmp-8"]
    assert sorted(path.name for path in stored.root.rglob("*") if path.name.startswith((".tmp", "data"))) == [
        ".tmp-6", ".tmp-8", "data.sql.zst", "data.sql.zst", "data.sql.zst",
    ]  # fmt: skip
    assert left(stored) == [whole.id]
