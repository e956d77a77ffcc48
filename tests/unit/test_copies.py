"""Several storages as one: one that fails does not stop the others, and what cannot be read is never "no backup"."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbguard.archive import Entry
from dbguard.catalog import Catalog
from dbguard.copies import Copies, Round
from dbguard.errors import (
    ArchiveDamaged,
    NotFound,
    NotSetUp,
    Refused,
    StorageError,
    StorageUnavailable,
)
from dbguard.model import TargetName
from dbguard.storages import Writer
from dbguard.storages.local import LocalStorage
from tests.unit.nouns import OWNER, START, TARGET, archive, listed
from tests.unit.stored import DATA, Stored, packed

SQL = b"CREATE TABLE `t` (a int);\n" * 1000


class Failing(LocalStorage):
    """Fails when the moment has come that `when` names; until then it is a folder like any other."""

    when = ""

    def fail(self, moment: str) -> None:
        if self.when == moment:
            raise StorageError(f"{self.root.name}: cannot {moment}")

    @contextmanager
    def create(self, key: str) -> Iterator[Any]:
        name = key.rpartition("/")[2]
        self.fail(f"begin {name}")
        with super().create(key) as out:
            yield _Failing(self, out, name)
            self.fail(f"end {name}")

    def delete(self, key: str) -> None:
        self.fail("delete")
        super().delete(key)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        if self.when == "list":
            raise StorageUnavailable(f"{self.root.name}: cannot list")
        return super().list(prefix)


class _Failing:
    def __init__(self, storage: Failing, out: Writer, name: str) -> None:
        self._storage, self._out, self._name = storage, out, name
        self._written = 0

    def write(self, data: bytes, /) -> None:
        self._written += 1
        if self._written == 2:
            self._storage.fail(f"write {self._name}")
        self._out.write(data)


class Place:
    """A storage that can be made to fail."""

    def __init__(self, folder: Path, name: str) -> None:
        self.storage = Failing(folder / name)
        self.catalog = Catalog(self.storage, folder / "state")
        self.catalog.prepare(OWNER)

    @property
    def url(self) -> str:
        return self.catalog.url

    @property
    def files(self) -> set[str]:
        names = {str(path.relative_to(self.storage.root)) for path in self.storage.root.rglob("*") if path.is_file()}
        return names - {"dbguard.json", "shop/db/owner.json"}

    def archives(self) -> list[str]:
        return [one.id for one in self.catalog.listing(TARGET).archives]


@pytest.fixture
def near(tmp_path: Path) -> Place:
    return Place(tmp_path, "near")


@pytest.fixture
def far(tmp_path: Path) -> Place:
    return Place(tmp_path, "far")


def save(*places: Place, number: int = 0) -> Round:
    """As a backup does it."""
    data, blob = packed(SQL)
    made = replace(archive(number), blobs={"data": blob})
    round_ = Round([place.catalog for place in places], TARGET, made.id)
    try:
        with round_.create(DATA) as out:
            for at in range(0, len(data), 10):
                out.write(data[at : at + 10])
        round_.publish(made)
    except BaseException:
        round_.discard()
        raise
    return round_


MOMENTS = [
    f"{moment} {name}"
    for moment, name in [
        ("begin", DATA), ("write", DATA), ("end", DATA), ("begin", "manifest.json"), ("end", "manifest.json"),
    ]
]  # fmt: skip


# --- written in one pass ---


def test_every_storage_gets_the_same(near: Place, far: Place) -> None:
    round_ = save(near, far)
    assert [catalog.url for catalog in round_.alive] == [near.url, far.url]
    assert round_.failed == {}
    assert near.archives() == far.archives() == [archive().id]
    for name in near.files | far.files:
        assert (near.storage.root / name).read_bytes() == (far.storage.root / name).read_bytes()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("which", ["near", "far"])
def test_one_that_fails_leaves_nothing_and_does_not_stop_the_other(
    near: Place, far: Place, moment: str, which: str
) -> None:
    bad, good = (near, far) if which == "near" else (far, near)
    bad.storage.when = moment
    round_ = save(near, far)
    assert [catalog.url for catalog in round_.alive] == [good.url]
    assert {url: str(error) for url, error in round_.failed.items()} == {bad.url: f"{which}: cannot {moment}"}
    assert good.archives() == [archive().id]
    assert bad.files == set()
    assert good.catalog.find(archive().id).summary.plain_size == len(SQL)


@pytest.mark.parametrize("first", MOMENTS)
@pytest.mark.parametrize("second", MOMENTS)
def test_when_all_fail_the_first_is_raised_and_nothing_stays(near: Place, far: Place, first: str, second: str) -> None:
    near.storage.when, far.storage.when = first, second
    with pytest.raises(StorageError) as caught:
        save(near, far)
    errors = {f"near: cannot {first}", f"far: cannot {second}"}
    notes = caught.value.__notes__
    assert str(caught.value) in errors
    assert len(notes) == 1
    assert notes[0].endswith((errors - {str(caught.value)}).pop())
    assert near.files == far.files == set()


def break_off(round_: Round, error: BaseException) -> None:
    with round_.create(DATA) as out:
        out.write(b"half")
        raise error


def test_a_failure_elsewhere_leaves_nothing_anywhere(near: Place, far: Place) -> None:
    """The dump was cut, or somebody pressed Ctrl-C."""
    for error in (StorageError("the dump"), KeyboardInterrupt()):
        round_ = Round([near.catalog, far.catalog], TARGET, archive().id)
        with pytest.raises(type(error)):
            break_off(round_, error)
        assert near.files == far.files == set()


def test_what_went_before_is_never_discarded(near: Place, far: Place) -> None:
    save(near, far)
    before = near.files
    near.storage.when = f"write {DATA}"
    save(near, far, number=1)
    assert near.files == before
    assert len(far.archives()) == 2


def test_one_that_was_left_out_is_not_written_to(near: Place, far: Place) -> None:
    """Its folder belongs to another engine, say: that was found out before the dump began."""
    round_ = Round([near.catalog, far.catalog], TARGET, archive().id)

    def refuse(catalog: Catalog) -> None:
        if catalog is near.catalog:
            raise Refused("another engine's")

    round_.each(refuse)
    with round_.create(DATA) as out:
        out.write(b"x")
    assert (len(near.files), len(far.files)) == (0, 1)


# --- read as one ---


def test_what_is_in_several_is_listed_once_newest_first(near: Place, far: Place) -> None:
    save(near, far, number=2)
    save(far, number=1)
    save(near, number=3)
    merged = Copies([near.catalog, far.catalog]).listing(TARGET)
    assert [one.stored.id for one in merged.archives] == [archive(number).id for number in (3, 2, 1)]
    assert [[catalog.url for catalog in one.catalogs] for one in merged.archives] == [
        [near.url], [near.url, far.url], [far.url],
    ]  # fmt: skip
    assert merged.unreadable == {}


def test_an_archive_is_read_from_the_nearest_that_has_it(near: Place, far: Place) -> None:
    save(far, number=1)
    save(near, far, number=2)
    copies = Copies([near.catalog, far.catalog])
    assert copies.find(archive(1).id).catalogs == (far.catalog,)
    assert copies.find(archive(2).id).catalogs == (near.catalog, far.catalog)


def test_a_copy_that_is_damaged_is_told_and_the_other_one_is_good(near: Place, far: Place) -> None:
    save(near, far)
    (near.storage.root / "shop/db" / archive().id / DATA).unlink()
    copies = Copies([near.catalog, far.catalog])
    merged = copies.listing(TARGET)
    assert [one.catalogs for one in merged.archives] == [(far.catalog,)]
    assert [(url, bad.id) for url, bad in merged.damaged] == [(near.url, archive().id)]
    assert copies.find(archive().id).catalogs == (far.catalog,)
    shutil.rmtree(far.storage.root / "shop/db" / archive().id)
    with pytest.raises(ArchiveDamaged, match="is missing"):
        copies.find(archive().id)


def test_what_was_said_of_any_copy_holds_for_the_archive(near: Place, far: Place) -> None:
    save(near, far)
    summary = archive().summary
    far.catalog.mark(summary, "hold", START)
    near.catalog.mark(summary, "confirm", START)
    [one] = Copies([near.catalog, far.catalog]).listing(TARGET).stored
    assert (one.marks.held, one.marks.confirmed, one.marks.verified) == (True, True, None)
    far.catalog.release(summary)
    [one] = Copies([near.catalog, far.catalog]).listing(TARGET).stored
    assert (one.marks.held, one.marks.confirmed) == (False, True)


@pytest.mark.parametrize(
    ("checks", "verified"),
    [(("", ""), None), (("passed", "failed"), True), (("failed", "passed"), False), (("", "failed"), False)],
)
def test_of_checks_that_of_the_nearest_copy_counts(
    near: Place, far: Place, checks: tuple[str, str], verified: bool | None
) -> None:
    save(near, far)
    for place, said in zip((near, far), checks, strict=True):
        if said:
            with place.catalog.create(TARGET, archive().id, f"check-20261124T000000000000Z-{said}.json") as out:
                out.write(b"{}")
    [one] = Copies([near.catalog, far.catalog]).listing(TARGET).stored
    assert one.marks.verified is verified


# --- what cannot be read ---


@pytest.mark.parametrize("which", ["near", "far"])
def test_one_that_cannot_be_read_is_named_beside_what_the_other_has(near: Place, far: Place, which: str) -> None:
    bad, good = (near, far) if which == "near" else (far, near)
    save(near, far)
    bad.storage.when = "list"
    copies = Copies([near.catalog, far.catalog])
    merged = copies.listing(TARGET)
    assert [one.catalogs for one in merged.archives] == [(good.catalog,)]
    assert list(merged.unreadable) == [bad.url]
    assert copies.targets() == [TARGET]
    assert copies.find(archive().id).catalogs == (good.catalog,)
    with pytest.raises(StorageUnavailable, match="cannot list"):
        copies.find(archive(1).id)  # it may well be there


def test_when_none_can_be_read_that_is_never_no_backup(near: Place, far: Place) -> None:
    save(near, far)
    near.storage.when = far.storage.when = "list"
    copies = Copies([near.catalog, far.catalog])
    for question in (copies.targets, lambda: copies.listing(TARGET), lambda: copies.find("2026", [TARGET])):
        with pytest.raises(StorageUnavailable):
            question()


def test_one_that_was_never_used_has_nothing_to_say(near: Place, tmp_path: Path) -> None:
    save(near)
    new = Catalog(LocalStorage(tmp_path / "new"), tmp_path / "state")
    merged = Copies([new, near.catalog]).listing(TARGET)
    assert len(merged.archives) == 1
    assert merged.unreadable == {}
    with pytest.raises(NotSetUp):
        Copies([new]).listing(TARGET)


def test_one_never_used_and_one_that_cannot_be_read_are_no_answer(near: Place, tmp_path: Path) -> None:
    new = Catalog(LocalStorage(tmp_path / "new"), tmp_path / "state")
    near.storage.when = "list"
    for catalogs in ([new, near.catalog], [near.catalog, new]):
        with pytest.raises(StorageUnavailable, match="cannot list"):
            Copies(catalogs).listing(TARGET)


def test_targets_of_all_storages(near: Place, far: Place) -> None:
    far.catalog.prepare(replace(OWNER, service="only-far"))
    assert Copies([near.catalog, far.catalog]).targets() == [TARGET, TargetName.parse("shop/only-far")]


@pytest.mark.parametrize("wanted", ["", "2026", "2025", "x"])
def test_an_id_that_fits_none_or_several_is_not_found(near: Place, far: Place, wanted: str) -> None:
    save(near, number=1)
    save(far, number=2)
    with pytest.raises(NotFound):
        Copies([near.catalog, far.catalog]).find(wanted)


def test_one_storage_alone_is_like_any(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    made = stored.put(SQL, "shop")
    assert Copies([stored.catalog]).listing(TARGET).stored == [listed(made)]
