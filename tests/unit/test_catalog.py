"""The catalogue over a real folder: an archive is its manifest, and what cannot be relied on says why."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbguard.archive import Archive, Blob, Database, Entry, Owner, Table
from dbguard.catalog import Catalog, Listing, Unfinished
from dbguard.errors import (
    AlreadyExists,
    ArchiveDamaged,
    DbguardError,
    NewerFormat,
    NotFound,
    Refused,
    StorageError,
    StorageUnavailable,
)
from dbguard.model import TargetName
from dbguard.storages.local import LocalStorage
from tests.unit.nouns import OWNER, TARGET, any_archives, archive, listed
from tests.unit.stored import DATA

CONTENT = b"what mysqldump said, compressed"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def catalog(root: Path, state: Path) -> Catalog:
    fresh = Catalog(LocalStorage(root), state)
    fresh.prepare(OWNER)
    return fresh


def blob(content: bytes = CONTENT) -> Blob:
    digest = hashlib.sha256(content).hexdigest()
    return Blob(key=DATA, size=len(content), sha256=digest, plain_size=100, plain_sha256="0" * 64)


def publish(catalog: Catalog, archive: Archive, content: bytes = CONTENT) -> Archive:
    """As a backup does it: data first."""
    finished = replace(archive, blobs={"data": blob(content)})
    with catalog.create(archive.name, archive.id, DATA) as out:
        out.write(content)
    catalog.publish(finished)
    return finished


def manifest(root: Path, archive: Archive) -> Path:
    return root / archive.target / archive.id / "manifest.json"


def edit(root: Path, archive: Archive, **changes: Any) -> None:
    path = manifest(root, archive)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reasons(catalog: Catalog) -> list[str]:
    return [damaged.reason for damaged in catalog.listing(TARGET).damaged]


def nothing_but_unfinished(catalog: Catalog) -> Unfinished:
    """One without a manifest, which counts neither as good nor as damaged."""
    listing = catalog.listing(TARGET)
    assert (listing.archives, listing.damaged) == ((), ())
    [unfinished] = listing.unfinished
    return unfinished


# --- what is listed ---


def test_archives_are_listed_newest_first(catalog: Catalog) -> None:
    made = [publish(catalog, archive(number)) for number in (2, 1, 3)]
    assert catalog.listing(TARGET) == Listing(archives=(listed(made[2]), listed(made[0]), listed(made[1])))


def test_an_archive_appears_with_its_manifest(catalog: Catalog) -> None:
    with catalog.create(TARGET, archive().id, DATA) as out:
        out.write(CONTENT)
        assert catalog.listing(TARGET) == Listing(archives=(), damaged=())
    assert nothing_but_unfinished(catalog).id == archive().id
    catalog.publish(replace(archive(), blobs={"data": blob()}))
    assert len(catalog.listing(TARGET).archives) == 1


@pytest.mark.parametrize("there", [None, CONTENT[:-1]])
def test_an_archive_whose_data_was_swept_away_is_not_published(catalog: Catalog, there: bytes | None) -> None:
    """By a host whose clock is a week ahead."""
    if there is not None:
        with catalog.create(TARGET, archive().id, DATA) as out:
            out.write(there)
    with pytest.raises(StorageError, match=f"{DATA} is not there"):
        catalog.publish(replace(archive(), blobs={"data": blob()}))
    assert catalog.listing(TARGET).archives == ()


def test_an_archive_is_published_once(catalog: Catalog) -> None:
    made = publish(catalog, archive())
    with pytest.raises(AlreadyExists):
        catalog.publish(made)


def test_targets_do_not_mix(catalog: Catalog) -> None:
    other = Owner(engine_id="ENGINE", project="shop", service="db2")
    catalog.prepare(other)
    publish(catalog, archive(1))
    theirs = publish(catalog, archive(1, target="shop/db2", owner=other))
    assert catalog.targets() == [TARGET, theirs.name]
    assert [one.summary.target for one in catalog.listing(TARGET).archives] == ["shop/db"]
    assert catalog.listing(theirs.name).archives == (listed(theirs),)


def test_a_target_without_archives_is_a_target(catalog: Catalog) -> None:
    assert catalog.targets() == [TARGET]
    assert catalog.listing(TargetName(project="never", service="seen")) == Listing(archives=(), damaged=())


@pytest.mark.parametrize(
    "name", ["lost+found/x/y", ".Trash-1000/files/a", "@eaDir/shop/x", "shop/db/notes.txt", "shop/db/x/y/z", "a b/c/d"]
)
def test_what_others_left_there_does_not_matter(catalog: Catalog, root: Path, name: str) -> None:
    made = publish(catalog, archive())
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("not ours")
    assert catalog.targets() == [TARGET]
    assert catalog.listing(TARGET) == Listing(archives=(listed(made),), damaged=())


# --- what went wrong ---


def test_data_that_is_missing(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    (manifest(root, made).parent / DATA).unlink()
    assert catalog.listing(TARGET).archives == ()
    assert reasons(catalog) == [f"{DATA} is missing"]


def test_data_of_another_size(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    (manifest(root, made).parent / DATA).write_bytes(CONTENT[:-1])
    assert reasons(catalog) == [f"{DATA} has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"]


def test_a_manifest_that_names_no_data(catalog: Catalog, root: Path) -> None:
    """It would be a good archive of nothing at all."""
    made = publish(catalog, archive())
    edit(root, made, blobs={})
    assert catalog.listing(TARGET).archives == ()
    assert len(reasons(catalog)) == 1


@pytest.mark.parametrize("key", ["../../../../etc/passwd", "/etc/passwd", "..", "", "a/b", "manifest.json/.."])
def test_a_manifest_that_points_elsewhere(catalog: Catalog, root: Path, key: str) -> None:
    made = publish(catalog, archive())
    edit(root, made, blobs={"data": {**json.loads(manifest(root, made).read_text())["blobs"]["data"], "key": key}})
    assert catalog.listing(TARGET).archives == ()
    assert reasons(catalog) == [f"{key} is missing"]


NONSENSE = {
    "0 bytes": b"",
    "not JSON": b"not json",
    "cut": b'{"format": 1, "id": "2026',
    "a list": b"[]",
    "a word": b"null",
    "nothing in it": b"{}",
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 200_000,
    "deep and closed": b'{"format": 1, "seal": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number without end": b'{"format": 1' + b"0" * 5000 + b"}",
    "no number": b'{"format": NaN}',
}


@pytest.mark.parametrize("text", NONSENSE.values(), ids=NONSENSE)
def test_a_manifest_that_is_none_is_damage_and_hides_nothing(catalog: Catalog, root: Path, text: bytes) -> None:
    good, bad = publish(catalog, archive(1)), publish(catalog, archive(2))
    manifest(root, bad).write_bytes(text)
    listing = catalog.listing(TARGET)
    assert listing.archives == (listed(good),)
    assert [(one.target, one.id) for one in listing.damaged] == [("shop/db", bad.id)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_text_as_a_manifest_hides_nothing(catalog: Catalog, root: Path, text: bytes | str) -> None:
    with suppress(AlreadyExists):
        publish(catalog, archive(1))
        publish(catalog, archive(2))
    manifest(root, archive(2)).write_bytes(text.encode() if isinstance(text, str) else text)
    listing = catalog.listing(TARGET)
    assert [one.id for one in listing.archives] == [archive(1).id]
    assert [one.id for one in listing.damaged] == [archive(2).id]


@pytest.mark.parametrize("key", sorted(json.loads(json.dumps({"id": 0, "databases": 0, "blobs": 0, "snapshot": 0}))))
@pytest.mark.parametrize("value", [None, "x", -1, [], {}, [[]], {"data": 1}])
def test_a_value_of_the_wrong_kind_is_damage(catalog: Catalog, root: Path, key: str, value: object) -> None:
    made = publish(catalog, archive())
    edit(root, made, **{key: value})
    if (key, value) != ("databases", []):
        assert catalog.listing(TARGET).archives == ()
        assert len(reasons(catalog)) == 1


def test_a_time_without_a_zone_is_damage(catalog: Catalog, root: Path) -> None:
    """Its age could not be told."""
    made = publish(catalog, archive())
    edit(root, made, snapshot="2026-11-23T01:30:00")
    assert catalog.listing(TARGET).archives == ()


def test_unknown_keys_are_ignored(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    edit(root, made, later={"more": [1]}, source={**json.loads(manifest(root, made).read_text())["source"], "new": 1})
    assert catalog.listing(TARGET).archives == (listed(made),)


@pytest.mark.parametrize("number", [2, 3, 999])
def test_a_newer_format_is_refused(catalog: Catalog, root: Path, number: int) -> None:
    made = publish(catalog, archive())
    edit(root, made, format=number, databases="in another form")
    assert reasons(catalog) == ["made by a newer dbguard"]


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "1", "2"])
def test_a_format_that_never_was_is_refused(catalog: Catalog, root: Path, number: object) -> None:
    made = publish(catalog, archive())
    edit(root, made, format=number)
    assert catalog.listing(TARGET).archives == ()


def test_the_manifest_of_another_archive_is_damage(catalog: Catalog, root: Path) -> None:
    """Copied by hand, or swapped by somebody."""
    first, second = publish(catalog, archive(1)), publish(catalog, archive(2))
    manifest(root, second).write_bytes(manifest(root, first).read_bytes())
    assert reasons(catalog) == [f"its manifest is that of shop/db {first.id}"]


def test_a_manifest_too_large_is_not_read(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    with manifest(root, made).open("wb") as file:
        file.truncate(1 << 30)
    assert reasons(catalog) == ["its manifest is too large to be one"]


class Vanishing(LocalStorage):
    """Somebody else removes an archive between our look at the folder and our look into the manifest."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for entry in [*super().list(prefix)]:
            if entry.key.endswith("manifest.json"):
                (self.root / entry.key).unlink()
            yield entry


def test_an_archive_that_is_pruned_meanwhile_is_just_gone(catalog: Catalog, root: Path, state: Path) -> None:
    publish(catalog, archive())
    assert Catalog(Vanishing(root), state).listing(TARGET) == Listing(archives=(), damaged=())


# --- to and fro ---


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_archives())
def test_any_archive_comes_back_as_it_was(catalog: Catalog, any_archive: Archive) -> None:
    with suppress(AlreadyExists):  # hypothesis may repeat itself
        made = publish(catalog, any_archive)
        [found] = [one for one in catalog.listing(TARGET).archives if one.id == made.id]
        assert found == listed(made)
        assert catalog.archive(found.summary) == made


@pytest.mark.parametrize("raw", [b"\xed\xa0\x80", b"\xff"])
def test_a_name_that_is_not_utf_8_is_refused_or_comes_back(catalog: Catalog, raw: bytes) -> None:
    """MySQL takes half a surrogate pair in a name (bytes ED A0 80); JSON in UTF-8 cannot hold it."""
    name = raw.decode("utf-8", "surrogateescape")
    database = Database(name="shop", create="", tables=(Table(name=name, kind="BASE TABLE", engine=None),))
    try:
        made = publish(catalog, archive(databases=(database,)))
    except DbguardError:
        assert catalog.listing(TARGET).archives == ()
    else:
        assert catalog.listing(TARGET).archives == (listed(made),)


def test_a_manifest_is_json_that_people_can_read(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    text = manifest(root, made).read_text()
    assert json.loads(text)["snapshot"] == "2026-11-23T01:30:00Z"
    assert len(text.splitlines()) > 20


# --- find ---


def test_an_archive_is_found_by_the_beginning_of_its_id(catalog: Catalog) -> None:
    made = publish(catalog, archive())
    publish(catalog, archive(24))
    assert catalog.find(made.id) == catalog.find(made.id[:9]) == listed(made)


@pytest.mark.parametrize("wanted", ["2026", "2025", "", "x"])
def test_an_id_that_fits_none_or_several_is_not_found(catalog: Catalog, wanted: str) -> None:
    publish(catalog, archive(1))
    publish(catalog, archive(2))
    with pytest.raises(NotFound):
        catalog.find(wanted)


def test_an_empty_id_fits_nothing(catalog: Catalog) -> None:
    """A script's variable that was never set must not restore whatever there is."""
    publish(catalog, archive())
    with pytest.raises(NotFound):
        catalog.find("")


def test_a_damaged_archive_says_why_it_is_not_found(catalog: Catalog, root: Path) -> None:
    made = publish(catalog, archive())
    (manifest(root, made).parent / DATA).unlink()
    with pytest.raises(ArchiveDamaged, match="is missing"):
        catalog.find(made.id)


# --- the data ---


def test_the_data_comes_back(catalog: Catalog) -> None:
    content = bytes(range(256)) * 20_000
    made = publish(catalog, archive(), content)
    assert b"".join(catalog.chunks(made, made.blobs["data"])) == content


@pytest.mark.parametrize("damage", [lambda c: c[:-1] + b"!", lambda c: c[:-1], lambda c: c + b"x", lambda c: b""])
def test_data_that_has_changed_is_damage(catalog: Catalog, root: Path, damage: Callable[[bytes], bytes]) -> None:
    made = publish(catalog, archive())
    (manifest(root, made).parent / DATA).write_bytes(damage(CONTENT))
    with pytest.raises(ArchiveDamaged, match="not what was stored"):
        [*catalog.chunks(made, made.blobs["data"])]


# --- discard and forget ---


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_what_is_discarded_is_gone_and_nothing_else(catalog: Catalog, root: Path) -> None:
    publish(catalog, archive(1))
    before = everything(root)
    with catalog.create(TARGET, archive(2).id, DATA) as out:
        out.write(CONTENT)
    catalog.discard(TARGET, archive(2).id)
    catalog.discard(TARGET, archive(3).id)
    assert everything(root) == before


def test_what_is_forgotten_is_gone_and_nothing_else(catalog: Catalog, root: Path) -> None:
    publish(catalog, archive(1))
    before = everything(root)
    made = publish(catalog, archive(2))
    for _ in range(2):
        catalog.forget(made.summary)
        assert everything(root) == before


@contextmanager
def failing_delete(monkeypatch: pytest.MonkeyPatch, of: str) -> Iterator[None]:
    delete = LocalStorage.delete

    def fail(self: LocalStorage, key: str) -> None:
        if key.endswith(of):
            raise StorageError(f"{key}: no permission")
        delete(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "delete", fail)
        yield


@pytest.mark.parametrize("remove", ["forget", "discard"])
def test_the_manifest_goes_first(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, remove: str) -> None:
    """Killed in between, data without a manifest is left, never a manifest without data."""
    made = publish(catalog, archive())
    with failing_delete(monkeypatch, of=DATA), suppress(StorageError):
        catalog.forget(made.summary) if remove == "forget" else catalog.discard(TARGET, made.id)
    assert nothing_but_unfinished(catalog).id == made.id


def test_an_archive_whose_manifest_stays_keeps_its_data(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    made = publish(catalog, archive())
    with failing_delete(monkeypatch, of="manifest.json"), pytest.raises(StorageError):
        catalog.forget(made.summary)
    assert catalog.listing(TARGET).archives == (listed(made),)


# --- whose archives ---

STRANGER = replace(OWNER, engine_id="ANOTHER ENGINE")
THIRD = replace(OWNER, engine_id="A THIRD ENGINE")


def test_the_same_owner_comes_back(catalog: Catalog, root: Path) -> None:
    before = everything(root)
    catalog.prepare(OWNER)
    assert everything(root) == before


def test_another_owner_of_the_same_name_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="ENGINE") as caught:
        catalog.prepare(STRANGER)
    assert caught.value.hint is not None
    assert "--adopt" in caught.value.hint


def test_who_adopts_owns_from_then_on(catalog: Catalog) -> None:
    publish(catalog, archive())
    catalog.prepare(STRANGER, adopt=True)
    catalog.prepare(STRANGER)
    with pytest.raises(Refused):
        catalog.prepare(OWNER)
    assert len(catalog.listing(TARGET).archives) == 1


def test_adopting_may_go_round(catalog: Catalog) -> None:
    """At once, one after the other, and back."""
    for owner in (STRANGER, THIRD, OWNER, STRANGER):
        catalog.prepare(owner, adopt=True)
        catalog.prepare(owner)


def test_adopting_what_is_ours_already_changes_nothing(catalog: Catalog, root: Path) -> None:
    before = everything(root)
    catalog.prepare(OWNER, adopt=True)
    assert everything(root) == before


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"engine_id": 1}'])
def test_an_owner_that_cannot_be_read_is_nobody_we_know(catalog: Catalog, root: Path, text: bytes) -> None:
    (root / "shop/db/owner.json").write_bytes(text)
    with pytest.raises(DbguardError):
        catalog.prepare(OWNER)


# --- the storage itself ---


def test_a_new_storage_is_set_up_by_the_first_backup_only(root: Path, state: Path) -> None:
    fresh = Catalog(LocalStorage(root), state)
    for look in (fresh.targets, lambda: fresh.listing(TARGET)):
        with pytest.raises(StorageUnavailable):
            look()
    assert not root.exists(), "looking must not create anything"
    fresh.prepare(OWNER)
    assert json.loads((root / "dbguard.json").read_text()) == {"format": 1}
    assert fresh.listing(TARGET) == Listing(archives=(), damaged=())


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_storage_that_was_used_and_is_empty_now_is_not_mounted(
    catalog: Catalog, root: Path, state: Path, left: str
) -> None:
    assert catalog.targets()
    shutil.rmtree(root)
    if left == "an empty folder":
        root.mkdir()
    for use in (Catalog.targets, lambda again: again.listing(TARGET), lambda again: again.prepare(OWNER)):
        with pytest.raises(StorageUnavailable, match="has been used before"):
            use(Catalog(LocalStorage(root), state))
    assert not root.exists() or not any(root.iterdir()), "nothing is written to the bare mount point"


def test_a_storage_of_a_newer_dbguard_is_left_alone(catalog: Catalog, root: Path, state: Path) -> None:
    (root / "dbguard.json").write_text('{"format": 2}')
    before = everything(root)
    with pytest.raises(NewerFormat):
        Catalog(LocalStorage(root), state).prepare(OWNER)
    assert everything(root) == before


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b'{"format": "x"}', b"null"])
def test_a_mark_that_cannot_be_read_is_an_error_with_words(
    catalog: Catalog, root: Path, state: Path, text: bytes
) -> None:
    (root / "dbguard.json").write_bytes(text)
    with pytest.raises(DbguardError):
        Catalog(LocalStorage(root), state).targets()


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b"3", b"\xff"])
def test_a_memory_that_cannot_be_read_is_no_obstacle(catalog: Catalog, root: Path, state: Path, text: bytes) -> None:
    """A power cut can leave it empty. The storage, which is there, says all that matters."""
    made = publish(catalog, archive())
    (state / "storages.json").write_bytes(text)
    assert Catalog(LocalStorage(root), state).listing(TARGET).archives == (listed(made),)
    shutil.rmtree(root)
    with pytest.raises(StorageUnavailable, match="has been used before"):
        Catalog(LocalStorage(root), state).targets()


def test_many_may_begin_at_once(root: Path, state: Path) -> None:
    barrier = threading.Barrier(8)
    failed: list[BaseException] = []

    def begin(number: int) -> None:
        barrier.wait()
        try:
            catalog = Catalog(LocalStorage(root), state)
            catalog.prepare(Owner(engine_id="ENGINE", project="shop", service=f"db{number}"))
        except Exception as error:  # noqa: BLE001 — looked at below
            failed.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(Catalog(LocalStorage(root), state).targets()) == 8


def test_several_storages_are_remembered(tmp_path: Path, state: Path) -> None:
    for name in ("one", "two"):
        Catalog(LocalStorage(tmp_path / name), state).prepare(OWNER)
    for name in ("one", "two"):
        shutil.rmtree(tmp_path / name)
        with pytest.raises(StorageUnavailable, match="has been used before"):
            Catalog(LocalStorage(tmp_path / name), state).targets()
