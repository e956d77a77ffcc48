"""Copies that are missing are made; what the rules have removed, or what is damaged, is not copied back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dbguard.archive import Archive, Entry
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.copies import Copies
from dbguard.errors import AlreadyExists, ArchiveDamaged, DbguardError, NotFound, StorageError
from dbguard.mirror import repair
from dbguard.prune import prune
from tests.unit.nouns import OWNER, START, TARGET, archive, listed
from tests.unit.stored import DATA, packed

NOW = START + timedelta(days=900)
STORED, BLOB = packed(b"SELECT 1;\n")


@pytest.fixture(autouse=True, scope="module")
def nothing_set() -> Iterator[None]:
    """No variable of the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DBGUARD_")]:
            patch.delenv(name)
        yield


class Memory:
    """A storage as quick as a dictionary."""

    def __init__(self, name: str) -> None:
        self.url = f"memory://{name}"
        self.blobs: dict[str, bytes] = {}
        self.broken: tuple[str, ...] = ()  # ends of keys that cannot be written

    @contextmanager
    def create(self, key: str) -> Iterator[_Blob]:
        out = _Blob()
        yield out
        if key.endswith(self.broken):
            raise StorageError(f"{key}: no room")
        if key in self.blobs:
            raise AlreadyExists(key)
        self.blobs[key] = bytes(out.data)

    @contextmanager
    def open(self, key: str) -> Iterator[_Blob]:
        if key not in self.blobs:
            raise NotFound(key)
        yield _Blob(self.blobs[key])

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for key in sorted(self.blobs):
            if key.startswith(prefix):
                yield Entry(key=key, size=len(self.blobs[key]), modified=NOW, version=str(hash(self.blobs[key])))

    def folders(self, prefix: str = "") -> Iterator[str]:
        below = (key.removeprefix(prefix).partition("/") for key in self.blobs if key.startswith(prefix))
        yield from sorted({name for name, slash, _ in below if slash})

    def delete(self, key: str) -> None:
        self.blobs.pop(key, None)

    def free(self) -> int | None:
        return None

    def leftovers(self) -> Iterator[Entry]:
        yield from ()

    def clear(self, leftover: Entry) -> None:
        self.blobs.pop(leftover.key, None)

    def doubts(self) -> Iterator[str]:
        yield from ()


class _Blob:
    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def write(self, data: bytes, /) -> None:
        self.data += data

    def read(self, size: int, /) -> bytes:
        taken, self.data = self.data[:size], self.data[size:]
        return bytes(taken)


class World:
    """Storages with rules of their own, a and b the first two."""

    def __init__(self, state: Path, *rules: dict[str, Any]) -> None:
        self.storages = [Memory(name) for name in "abc"[: len(rules)]]
        self.catalogs = [Catalog(storage, state) for storage in self.storages]
        for catalog in self.catalogs:
            catalog.prepare(OWNER)
        self.copies = Copies(self.catalogs)
        sections = {storage.url: rule for storage, rule in zip(self.storages, rules, strict=True)}
        self.settings = Settings.model_validate({"storage": [*sections], "state": state, "storages": sections})

    def put(self, made: Archive, *where: int) -> Archive:
        for catalog in [self.catalogs[at] for at in where]:
            with catalog.create(TARGET, made.id, DATA) as out:
                out.write(STORED)
            catalog.publish(made)
        return made

    def repair(self, now: datetime = NOW) -> list[tuple[str, str]]:
        """Id and storage of what was copied. Nothing may fail."""
        done = [*repair(TARGET, copies=self.copies, settings=self.settings, now=now)]
        assert [error for _, _, error in done if error] == []
        return [(stored.id, url[-1]) for stored, url, _ in done]

    def failures(self) -> list[DbguardError | None]:
        return [error for _, _, error in repair(TARGET, copies=self.copies, settings=self.settings, now=NOW)]

    def prune(self, now: datetime = NOW) -> set[tuple[str, str]]:
        gone = set()
        for catalog in self.catalogs:
            done = prune(TARGET, catalog=catalog, settings=self.settings, now=now, sure=True)
            gone |= {(one.id, catalog.url[-1]) for one in done.removed}
        return gone

    def ids(self, at: int) -> list[str]:
        return [one.id for one in self.catalogs[at].listing(TARGET).archives]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {}, {})


def made(number: int = 0, **changes: Any) -> Archive:
    return archive(number, blobs={"data": BLOB}, **changes)


# --- what is copied ---


def test_what_one_storage_has_missed_is_copied_oldest_first(world: World) -> None:
    archives = [world.put(made(number), *where) for number, where in enumerate([(0, 1), (0,), (1,), (0,), (0, 1)])]
    assert world.repair() == [(archives[2].id, "a"), (archives[1].id, "b"), (archives[3].id, "b")]
    first, second = world.storages
    assert first.blobs == second.blobs
    assert world.repair() == []


def test_a_storage_that_was_added_later_gets_the_newest(world: World) -> None:
    """To copy years of archives is a decision of a person."""
    archives = [world.put(made(number), 0) for number in range(4)]
    assert world.repair() == [(archives[3].id, "b")]
    world.put(made(4), 0, 1)
    assert world.repair() == []


def test_what_is_older_than_the_oldest_here_is_not_copied(world: World) -> None:
    archives = [world.put(made(number), *where) for number, where in enumerate([(0,), (0, 1), (0,)])]
    assert world.repair() == [(archives[2].id, "b")]


def test_only_what_its_own_rules_would_keep(tmp_path: Path) -> None:
    world = World(tmp_path, {}, {"keep_last": 2})
    archives = [world.put(made(number), *where) for number, where in enumerate([(0, 1), (0,), (0,), (0,)])]
    assert world.repair() == [(archives[2].id, "b"), (archives[3].id, "b")]


def test_the_manifest_is_copied_as_it_is(world: World) -> None:
    """A newer dbguard may have written more into it than this one understands."""
    world.put(made(0), 0, 1)
    one = world.put(made(1), 0)
    key = f"shop/db/{one.id}/manifest.json"
    text = json.dumps({**json.loads(world.storages[0].blobs[key]), "later": [1]}).encode()
    world.storages[0].blobs[key] = text
    world.repair()
    assert world.storages[1].blobs[key] == text


@pytest.mark.parametrize("marks", [(), ("hold",), ("confirm",), ("hold", "confirm")])
def test_what_was_said_of_it_goes_along(world: World, marks: tuple[Any, ...]) -> None:
    world.put(made(0), 0, 1)
    one = world.put(made(1), 0)
    for kind in marks:
        world.catalogs[0].mark(one.summary, kind, NOW)
    world.repair()
    expected = listed(one, held="hold" in marks, confirmed="confirm" in marks)
    assert world.catalogs[1].find(one.id) == expected


def test_a_storage_that_cannot_be_read_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(made(), 0)
    monkeypatch.setattr(world.storages[1], "list", broken_list)
    assert world.repair() == []


def broken_list(prefix: str = "") -> Iterator[Entry]:
    raise StorageError(f"{prefix}: no route to host")


def test_a_clock_that_cannot_be_right_copies_nothing(world: World) -> None:
    world.put(made(), 0)
    assert world.repair(now=START - timedelta(hours=1)) == []
    assert len(world.repair()) == 1


# --- what is not ---


def test_a_damaged_source_is_not_published(world: World) -> None:
    world.put(made(0), 0, 1)
    one = world.put(made(1), 0)
    data = world.storages[0].blobs[f"shop/db/{one.id}/{DATA}"]
    world.storages[0].blobs[f"shop/db/{one.id}/{DATA}"] = data[:-1] + b"!"
    before = dict(world.storages[1].blobs)
    [error] = world.failures()
    assert isinstance(error, ArchiveDamaged)
    assert world.storages[1].blobs == before


@pytest.mark.parametrize("broken", [DATA, "manifest.json", ".json"])
def test_a_copy_that_fails_is_not_listed_and_stops_no_other(world: World, broken: str) -> None:
    world.put(made(0), 0, 1)
    one, other = world.put(made(1), 0), world.put(made(2), 0)
    world.catalogs[0].mark(one.summary, "hold", NOW)
    before = dict(world.storages[1].blobs)
    world.storages[1].broken = (f"{one.id}/{broken}",) if broken != ".json" else (f"{NOW:%Y%m%d}T013000000000Z.json",)
    errors = world.failures()
    assert [type(error) for error in errors] == [StorageError, type(None)]
    left = {key.rpartition("/")[2] for key in world.storages[1].blobs if one.id in key}
    assert left <= {DATA, f"hold-{NOW:%Y%m%d}T013000000000Z.json"}, "the next try uses it"
    assert {key for key in world.storages[1].blobs if one.id not in key and other.id not in key} == set(before)
    assert one.id not in world.ids(1)
    world.storages[1].broken = ()
    assert world.repair() == [(one.id, "b")]


@pytest.mark.parametrize("whole", [True, False])
def test_data_that_an_earlier_run_left_without_a_manifest_is_used_when_it_is_whole(world: World, whole: bool) -> None:
    """The network was cut just before the manifest, so nobody could remove the data either."""
    world.put(made(0), 0, 1)
    one = world.put(made(1), 0)
    left = STORED if whole else STORED[:-1] + b"!"
    world.storages[1].blobs[f"shop/db/{one.id}/{DATA}"] = left
    if whole:
        assert world.repair() == [(one.id, "b")]
        assert world.ids(1) == world.ids(0)
        return
    [error] = world.failures()
    assert isinstance(error, ArchiveDamaged)
    assert world.storages[1].blobs[f"shop/db/{one.id}/{DATA}"] == left, "it may be another run's"
    assert one.id not in world.ids(1)


def test_a_damaged_copy_is_not_replaced(world: World) -> None:
    """Never deleted in silence; and nothing is ever overwritten."""
    archives = [world.put(made(number), 0, 1) for number in range(2)]
    world.storages[1].blobs[f"shop/db/{archives[1].id}/{DATA}"] = b"short"
    assert world.repair() == []
    assert [bad.id for bad in world.catalogs[1].listing(TARGET).damaged] == [archives[1].id]


def test_what_was_verified_in_one_storage_is_not_copied_to_where_it_was_removed(tmp_path: Path) -> None:
    """A check is of one copy: its mark would not go along, and the rules would remove it again, every time."""
    world = World(tmp_path, {}, {"keep_last": 1})
    held = world.put(made(0), 0, 1)
    world.catalogs[1].mark(held.summary, "hold", NOW)
    checked = world.put(made(1), 0)
    world.put(made(2), 0, 1)
    with world.catalogs[0].create(TARGET, checked.id, "check-20261124T000000000000Z-passed.json") as out:
        out.write(b"{}")
    assert world.repair() == []


def test_a_suspicious_one_brings_nothing_back(tmp_path: Path) -> None:
    """It keeps what is older where it is."""
    world = World(tmp_path, {}, {"keep_last": 1})
    world.catalogs[1].mark(world.put(made(0), 0, 1).summary, "hold", NOW)
    world.put(made(1), 0, 1)
    world.put(made(2), 0, 1)
    assert world.prune() == {(made(1).id, "b")}
    odd = world.put(made(3, suspicious=("few tables",)), 0)
    assert world.repair() == [(odd.id, "b")]


# --- together with the rules ---

rules = st.fixed_dictionaries(
    {},
    optional={
        "keep_last": st.integers(1, 4),
        "keep_hourly": st.integers(1, 4),
        "keep_daily": st.integers(1, 4),
        "keep_weekly": st.integers(1, 3),
        "keep_yearly": st.integers(1, 2),
        "keep_within": st.integers(0, 99).map(lambda hours: timedelta(hours=hours)),
    },
)
rare = st.integers(0, 4).map(lambda number: number == 4)
histories = st.lists(
    st.fixed_dictionaries(
        {
            "hours": st.sampled_from([1, 1, 5, 24, 24, 100, 999]),
            "where": st.sampled_from([(0, 1), (0, 1), (0,), (1,)]),
            "complete": st.booleans(),
            "identity": st.sampled_from(["this", "this", "another"]),
            "suspicious": rare,
            "marks": st.lists(st.sampled_from(["hold", "confirm", "check"]), max_size=1),
        }
    ),
    min_size=1,
    max_size=9,
)


def live(world: World, history: list[dict[str, Any]]) -> Iterator[tuple[list[tuple[str, str]], set[tuple[str, str]]]]:
    """Backups one after the other, of which some reach one storage only; after each what was copied and removed."""
    number = 0
    for step in history:
        number += step["hours"]
        one = made(
            number,
            complete=step["complete"],
            identity=step["identity"],
            suspicious=("few tables",) if step["suspicious"] else (),
        )
        world.put(one, *step["where"])
        for at in step["where"]:
            for kind in step["marks"]:
                if kind != "check":
                    world.catalogs[at].mark(one.summary, kind, one.finished)
                elif at == 0:
                    with world.catalogs[at].create(TARGET, one.id, "check-20261124T000000000000Z-passed.json") as out:
                        out.write(b"{}")
        now = one.finished.astimezone(UTC)
        copied = world.repair(now)
        yield copied, world.prune(now)


@settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # to make it smaller takes minutes
@given(rules, rules, histories)
def test_what_was_removed_is_not_copied_back(
    here: dict[str, Any], there: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), here, there)
        removed: set[tuple[str, str]] = set()
        for copied, gone in live(world, history):
            assert not removed & set(copied), "copied back"
            assert not gone & set(copied), "copied for nothing"
            removed |= gone
            assert world.repair() == []
            assert world.prune() == set()
