"""What is remembered of manifests costs time when it is lost, and never says anything that is no longer so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dbguard.archive import Archive, Summary
from dbguard.cache import SummaryCache
from dbguard.catalog import Catalog
from dbguard.reader import ManifestReader
from dbguard.storages.local import LocalStorage
from tests.unit.nouns import TARGET, archive, listed
from tests.unit.stored import Stored

URL = "file:///backups"
SUMMARY = archive().summary
KEY = (SUMMARY.id, "version 1")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def cache(state: Path) -> SummaryCache:
    return SummaryCache(state, URL)


def file(state: Path) -> Path:
    [found] = state.glob("summaries-*.sqlite")
    return found


# --- the cache itself ---


def test_what_was_saved_comes_back(cache: SummaryCache, state: Path) -> None:
    assert cache.load("shop/db") == {}
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert SummaryCache(state, URL).load("shop/db") == {KEY: SUMMARY}


def test_targets_and_storages_do_not_mix(cache: SummaryCache, state: Path) -> None:
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert cache.load("shop/db2") == {}
    assert SummaryCache(state, "file:///other").load("shop/db") == {}
    SummaryCache(state, "file:///other").save("shop/db", {}, gone={KEY})
    assert cache.load("shop/db") == {KEY: SUMMARY}


def test_what_is_gone_is_forgotten(cache: SummaryCache) -> None:
    other = (SUMMARY.id, "version 2")
    cache.save("shop/db", {KEY: SUMMARY, other: SUMMARY}, gone=set())
    cache.save("shop/db", {}, gone={KEY})
    assert cache.load("shop/db") == {other: SUMMARY}


def test_only_the_owner_may_enter(cache: SummaryCache, state: Path) -> None:
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert state.stat().st_mode & 0o777 == 0o700


def overwrite(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scramble(path: Path) -> None:
    """The head is right, the pages are not."""
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


def another_table(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE summaries (something TEXT)")


def nonsense(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE summaries SET summary = '{}'")


def nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE summaries SET summary = NULL")


def no_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE summaries SET summary = CAST(x'ff' AS TEXT)")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": overwrite(b""), "no database": overwrite(b"no database" * 1000), "zeros": overwrite(bytes(8192)),
    "cut": cut, "scrambled": scramble, "another table": another_table, "nonsense": nonsense, "nothing": nothing,
    "no text": no_text, "a folder": folder,
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_one_costs_time_only(cache: SummaryCache, state: Path, damage: Callable[[Path], object]) -> None:
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    damage(file(state))
    assert cache.load("shop/db") == {}
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert cache.load("shop/db") in ({}, {KEY: SUMMARY})


@pytest.mark.parametrize("name", ["empty", "no database", "zeros", "cut", "scrambled"])
def test_what_is_no_database_is_replaced(cache: SummaryCache, state: Path, name: str) -> None:
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    DAMAGE[name](file(state))
    for _ in range(2):
        cache.load("shop/db")
        cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert cache.load("shop/db") == {KEY: SUMMARY}


def test_one_that_cannot_be_written_costs_time_only(state: Path) -> None:
    state.write_text("a file where the folder should be")
    cache = SummaryCache(state, URL)
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    assert cache.load("shop/db") == {}


def test_that_of_another_version_is_not_looked_at(cache: SummaryCache, state: Path) -> None:
    cache.save("shop/db", {KEY: SUMMARY}, gone=set())
    file(state).rename(state / "summaries-0.sqlite")
    assert cache.load("shop/db") == {}
    assert (state / "summaries-0.sqlite").exists(), "an older dbguard may still use it"


# --- in a catalogue ---


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The manifests that were read."""
    keys: list[str] = []
    whole = ManifestReader.archive

    def noted(self: ManifestReader, key: str) -> Archive:
        keys.append(key)
        return whole(self, key)

    monkeypatch.setattr(ManifestReader, "archive", noted)
    return keys


def again(stored: Stored) -> Catalog:
    return Catalog(LocalStorage(stored.root), stored.state)


def test_a_manifest_is_read_once(stored: Stored, read: list[str]) -> None:
    made = [stored.put(b"SELECT 1;\n", "shop", number=number) for number in (1, 0)]
    for _ in range(3):
        assert again(stored).listing(TARGET).archives == tuple(map(listed, made))
    assert len(read) == 2


def test_without_a_memory_everything_is_read_again(stored: Stored, read: list[str]) -> None:
    made = stored.put(b"SELECT 1;\n", "shop")
    assert again(stored).listing(TARGET).archives == (listed(made),)
    for damage in DAMAGE.values():
        read.clear()
        again(stored).listing(TARGET)
        path = file(stored.state)
        if path.is_dir():
            path.rmdir()
        elif path.stat().st_size > 8192:
            damage(path)
        assert again(stored).listing(TARGET).archives == (listed(made),)


def test_an_archive_that_was_deleted_is_not_remembered(stored: Stored, read: list[str]) -> None:
    made = [stored.put(b"SELECT 1;\n", "shop", number=number) for number in range(2)]
    stored.catalog.listing(TARGET)
    stored.catalog.forget(made[0].summary)
    assert again(stored).listing(TARGET).archives == (listed(made[1]),)
    manifest = stored.root / "shop/db" / made[1].id / "manifest.json"
    text = manifest.read_bytes()
    manifest.unlink()
    assert again(stored).listing(TARGET).archives == ()
    read.clear()
    manifest.write_bytes(text)
    assert again(stored).listing(TARGET).archives == (listed(made[1]),)
    assert len(read) == 1, "it is another file now"


def test_a_manifest_that_was_changed_is_read_again(stored: Stored) -> None:
    made = stored.put(b"SELECT 1;\n", "shop")
    stored.catalog.listing(TARGET)
    manifest = stored.root / "shop/db" / made.id / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "complete": False}))
    [found] = again(stored).listing(TARGET).archives
    assert found.summary.complete is False


def test_what_was_damaged_once_is_looked_at_again(stored: Stored, read: list[str]) -> None:
    """Errors are not remembered: a newer dbguard may read what this one cannot."""
    made = stored.put(b"SELECT 1;\n", "shop")
    manifest = stored.root / "shop/db" / made.id / "manifest.json"
    manifest.write_text("{")
    for _ in range(2):
        assert len(again(stored).listing(TARGET).damaged) == 1
    assert len(read) == 2


def test_marks_and_sizes_are_never_remembered(stored: Stored) -> None:
    made = stored.put(b"SELECT 1;\n", "shop")
    stored.catalog.listing(TARGET)
    stored.catalog.mark(made.summary, "hold", made.finished)
    assert again(stored).listing(TARGET).archives == (listed(made, held=True),)
    stored.data(made).write_bytes(b"short")
    assert again(stored).listing(TARGET).archives == ()


def test_a_summary_is_small_whatever_the_archive_holds() -> None:
    assert set(Summary.__slots__) & {"objects", "settings", "options"} == set()
