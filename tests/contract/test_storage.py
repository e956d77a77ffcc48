"""The promise in storages.Storage, kept by every storage in STORAGES."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dbguard.errors import AlreadyExists, NotFound, StorageError, StorageUnavailable
from dbguard.storages import Storage

if TYPE_CHECKING:
    from tests.contract.conftest import Place

MIB = 1 << 20
PLAIN_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
on_one_storage = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(storage: Storage, key: str, data: bytes = b"content") -> None:
    with storage.create(key) as out:
        out.write(data)


def get(storage: Storage, key: str, size: int = 1 << 16) -> bytes:
    with storage.open(key) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [entry.key for entry in storage.list(prefix)]


def no_key_is_there(storage: Storage) -> bool:
    try:
        return keys(storage) == []
    except StorageUnavailable:
        return True  # a folder that nothing was ever written to


# --- what was written is there ---


@pytest.mark.fault(24)
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, MIB, 5 * MIB, 20 * MIB + 7])
def test_a_blob_comes_back_byte_for_byte(storage: Storage, size: int) -> None:
    data = random.Random(size).randbytes(size)
    put(storage, "shop/db/data", data)
    assert hashlib.sha256(get(storage, "shop/db/data")).digest() == hashlib.sha256(data).digest()
    [entry] = storage.list()
    assert (entry.key, entry.size) == ("shop/db/data", size)
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=1)


@pytest.mark.fault(24)
def test_many_small_writes_are_one_blob(storage: Storage) -> None:
    dice = random.Random(1)
    pieces = [dice.randbytes(dice.randrange(50)) for _ in range(10_000)]
    with storage.create("small") as out:
        for piece in pieces:
            out.write(piece)
    assert get(storage, "small", size=777) == b"".join(pieces)


def test_a_reader_gives_at_most_what_was_asked_for(storage: Storage) -> None:
    put(storage, "blob", b"x" * 100)
    with storage.open("blob") as reader:
        read = [reader.read(30) for _ in range(6)]
    assert all(len(piece) <= 30 for piece in read)
    assert b"".join(read) == b"x" * 100
    assert read[-1] == b"", "the end stays the end"


# --- leaving badly ---


@pytest.mark.fault(8)
@pytest.mark.parametrize("reason", [ValueError("broken"), KeyboardInterrupt(), StorageError("full"), GeneratorExit()])
def test_leaving_badly_leaves_nothing(place: Place, reason: BaseException) -> None:
    def write_and_fail() -> None:
        with place.storage.create("shop/db/data") as out:
            out.write(b"x" * 3 * MIB)
            raise reason

    with pytest.raises(type(reason)) as caught:
        write_and_fail()
    assert caught.value is reason, "the cause must arrive unchanged"
    assert no_key_is_there(place.storage)
    assert place.used() == 0
    put(place.storage, "shop/db/data", b"second try")
    assert get(place.storage, "shop/db/data") == b"second try"


def test_a_writer_that_is_never_entered_leaves_nothing(place: Place) -> None:
    place.storage.create("key")
    assert no_key_is_there(place.storage)
    assert place.used() == 0


def test_nothing_is_seen_while_it_is_written(storage: Storage) -> None:
    with storage.create("shop/db/data") as out:
        out.write(b"x" * MIB)
        assert keys(storage) == keys(storage, "shop/db/") == []
        with pytest.raises(NotFound), storage.open("shop/db/data"):
            pass
    assert keys(storage) == ["shop/db/data"]


# --- nothing is ever overwritten ---


def test_nothing_is_overwritten(place: Place) -> None:
    put(place.storage, "key", b"first")
    with pytest.raises(AlreadyExists):
        put(place.storage, "key", b"the second one")
    assert get(place.storage, "key") == b"first"
    assert place.used() == len(b"first")


def test_of_two_that_write_the_same_key_the_first_to_leave_wins(place: Place) -> None:
    slow = place.storage.create("key")
    out = slow.__enter__()
    out.write(b"slow")
    put(place.storage, "key", b"quick")
    if not place.exclusive:
        slow.__exit__(None, None, None)
        assert get(place.storage, "key") in {b"slow", b"quick"}, "one of them, whole"
        return
    with pytest.raises(AlreadyExists):
        slow.__exit__(None, None, None)
    assert get(place.storage, "key") == b"quick"
    assert place.used() == len(b"quick")


def all_at_once(tasks: list[Callable[[], object]]) -> list[BaseException | None]:
    """Runs each in a thread of its own, started together; what each raised."""
    barrier = threading.Barrier(len(tasks))
    raised: list[BaseException | None] = [None] * len(tasks)

    def run(at: int) -> None:
        barrier.wait()
        try:
            tasks[at]()
        except Exception as error:  # noqa: BLE001 — looked at by the caller
            raised[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_at_once_exactly_one_wins(place: Place, attempt: int) -> None:
    contents = [f"writer {number}".encode() * 1000 for number in range(8)]
    raised = all_at_once([lambda data=data: put(place.storage, "a/b/key", data) for data in contents])  # type: ignore[misc]
    winners = [data for data, error in zip(contents, raised, strict=True) if error is None]
    assert {type(error) for error in raised if error} <= {AlreadyExists}
    assert len(winners) == 1 if place.exclusive else winners
    assert get(place.storage, "a/b/key") in winners
    assert not place.exclusive or place.used() == len(winners[0])


def test_writers_of_different_keys_do_not_meet(storage: Storage) -> None:
    """The first of them all create the same folders."""
    names = [f"shop/db/id/{number}" for number in range(8)]
    assert all_at_once([lambda name=name: put(storage, name, name.encode()) for name in names]) == [None] * 8  # type: ignore[misc]
    assert keys(storage) == sorted(names)
    assert all(get(storage, name) == name.encode() for name in names)


# --- keys ---

LEADING_OUT = ["..", ".", "/", "", "a//b", "a/", "/a", "../a", "a/../b", "a/./b", "a/../../etc/passwd", "/etc/passwd"]
NOT_PLAIN = [
    ".hidden", "a/.tmp-x", "-rf", "a b", "a\n", "a\nb", "a\0b", "tab\t", "naïve", "☃", "٣", "a\\b", "%2e%2e", "~",
    "a:b", "a*b", "$(id)", "a\udcff", "C:\\x",
]  # fmt: skip


def refuses(storage: Storage, key: str) -> None:
    with pytest.raises(StorageError):
        put(storage, key)
    with pytest.raises(StorageError), storage.open(key):
        pass
    with pytest.raises(StorageError):
        storage.delete(key)


@pytest.mark.fault(44, 45)
@pytest.mark.parametrize("key", [*LEADING_OUT, *NOT_PLAIN])
def test_keys_that_are_not_plain_names_are_refused(place: Place, key: str) -> None:
    refuses(place.storage, key)
    assert place.used() == 0


@pytest.mark.fault(44)
@on_one_storage
@given(st.text() | st.lists(st.sampled_from(["a", "..", ".", "", "x.y", "-"])).map("/".join))
def test_any_text_is_a_plain_key_or_refused(place: Place, key: str) -> None:
    if PLAIN_KEY.fullmatch(key):
        with suppress(StorageError):  # `a` may be taken by an earlier `a/x`
            put(place.storage, key)
            place.storage.delete(key)
    else:
        refuses(place.storage, key)
    assert place.used() == 0


@pytest.mark.parametrize("key", ["x" * 300, "/".join(["folder"] * 900)])
def test_keys_too_long_for_the_place_fail_cleanly(place: Place, key: str) -> None:
    with suppress(StorageError):
        put(place.storage, key)
        assert get(place.storage, key) == b"content"
        return
    assert place.used() == 0


@pytest.mark.parametrize("prefix", ["../", "/", "/etc/", "..", "a/../", "./"])
def test_a_prefix_leads_nowhere_else(storage: Storage, prefix: str) -> None:
    put(storage, "a/b")
    with suppress(StorageError):
        assert keys(storage, prefix) == []


# --- list ---

PARTS = st.text(alphabet="ab0A_-.", min_size=1, max_size=3).filter(PLAIN_KEY.fullmatch)
KEYS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


def no_key_is_a_folder(chosen: set[str]) -> bool:
    return not any(other.startswith(f"{key}/") for key in chosen for other in chosen)


runs = count()


@settings(on_one_storage, max_examples=60)
@example({"a/x", "a-b", "a.b"}, "a")
@given(st.sets(KEYS, max_size=12).filter(no_key_is_a_folder), st.text(alphabet="ab0/-.", max_size=4))
def test_list_is_sorted_and_goes_by_the_beginning_of_the_key(storage: Storage, chosen: set[str], prefix: str) -> None:
    here = f"run{next(runs)}/"
    put(storage, f"{here}first")
    for key in chosen - {"first"}:
        put(storage, here + key)
    there = sorted({here + key for key in chosen | {"first"}})
    assert keys(storage, here) == there
    with suppress(StorageError):  # `a/../`
        assert keys(storage, here + prefix) == [key for key in there if key.startswith(here + prefix)]


def test_a_prefix_may_end_within_a_name(storage: Storage) -> None:
    for key in ("shop/db/1/data", "shop/db2/1/data", "shop2/db/1/data", "shop/dbguard"):
        put(storage, key)
    assert keys(storage, "shop/db") == ["shop/db/1/data", "shop/db2/1/data", "shop/dbguard"]
    assert keys(storage, "shop/db/") == ["shop/db/1/data"]
    assert keys(storage, "s") == keys(storage)
    assert keys(storage, "shop/db/1/data") == ["shop/db/1/data"]
    assert keys(storage, "shop/db/1/data/") == keys(storage, "nothing") == []


def test_a_list_bears_that_blobs_come_and_go(storage: Storage) -> None:
    for number in range(9):
        put(storage, f"a/{number}/data")
    seen = []
    for entry in storage.list():
        seen.append(entry.key)
        with suppress(NotFound):
            storage.delete("a/5/data")
        with suppress(AlreadyExists):
            put(storage, "b/new")
    assert [key for key in seen if key.startswith("a/") and key != "a/5/data"] == [
        f"a/{n}/data" for n in range(9) if n != 5
    ]


@pytest.mark.fault(13)
def test_a_place_that_cannot_be_reached_is_not_an_empty_one(place: Place) -> None:
    def listed() -> Iterator[object]:
        yield from place.lost.list()

    with pytest.raises(StorageUnavailable):
        [*listed()]
    with pytest.raises(StorageUnavailable):
        [*place.lost.list("shop/db/")]


# --- open, delete, free ---


@pytest.mark.parametrize("key", ["missing", "a/missing", "c/d/missing", "a/b-"])
def test_what_is_not_there_is_not_found(storage: Storage, key: str) -> None:
    put(storage, "a/b")
    with pytest.raises(NotFound), storage.open(key):
        pass


@pytest.mark.fault(39)
def test_delete_may_be_repeated(place: Place) -> None:
    put(place.storage, "a/b/1")
    put(place.storage, "a/b/2", b"stays")
    for _ in range(3):
        place.storage.delete("a/b/1")
    assert keys(place.storage) == ["a/b/2"]
    assert place.used() == len(b"stays")
    place.storage.delete("never/was/there")
    put(place.storage, "a/b/1", b"again")
    assert get(place.storage, "a/b/1") == b"again"


@pytest.mark.fault(39)
def test_many_may_delete_the_same(storage: Storage) -> None:
    put(storage, "a/b/1")
    put(storage, "c")
    assert all_at_once([lambda: storage.delete("a/b/1")] * 8) == [None] * 8
    assert keys(storage) == ["c"]


def test_free_room_is_a_number_or_unknown(place: Place) -> None:
    before = place.storage.free()
    put(place.storage, "key")
    after = place.storage.free()
    assert (before is None) == (after is None)
    assert after is None or after > 0


# --- folders ---


def test_folders_are_the_names_below_a_prefix(storage: Storage) -> None:
    for key in ("shop/db/1/data", "shop/db/2/data", "shop/db-2/1/data", "crm/db/1/data", "top"):
        put(storage, key)
    assert [*storage.folders()] == ["crm", "shop"]
    assert [*storage.folders("shop/")] == ["db-2", "db"], "as the keys are sorted: `-` comes before `/`"
    assert [*storage.folders("shop/db/")] == ["1", "2"]
    assert [*storage.folders("shop/db/1/")] == [*storage.folders("nothing/")] == []


def test_folders_of_a_place_that_cannot_be_reached(place: Place) -> None:
    with pytest.raises(StorageUnavailable):
        [*place.lost.folders()]


# --- versions and leftovers ---


def test_what_is_written_anew_has_another_version(storage: Storage) -> None:
    put(storage, "key", b"first")
    [first] = storage.list()
    assert [*storage.list()] == [first], "the same blob, the same version"
    storage.delete("key")
    put(storage, "key", b"other")
    [second] = storage.list()
    assert second.version != first.version
    assert second.version


def test_what_is_being_written_is_a_leftover_until_it_is_there(place: Place) -> None:
    put(place.storage, "key")
    assert [*place.storage.leftovers()] == []
    with place.storage.create("shop/db/1/data") as out:
        out.write(bytes(20 * MIB))
        [one] = place.storage.leftovers()
        assert one.key.startswith("shop/db/1/")
        assert place.old_uploads or abs(datetime.now(UTC) - one.modified) < timedelta(minutes=1)
    assert [*place.storage.leftovers()] == []


@pytest.mark.fault(2, 3)
def test_a_leftover_can_be_cleared(place: Place) -> None:
    abandoned = place.storage.create("shop/db/1/data")
    abandoned.__enter__().write(bytes(20 * MIB))
    [one] = place.storage.leftovers()
    for _ in range(2):
        place.storage.clear(one)
    assert [*place.storage.leftovers()] == []
    assert place.used() == 0
    with pytest.raises((StorageError, NotFound)):
        abandoned.__exit__(None, None, None)
    assert keys(place.storage) == []


def test_a_healthy_place_raises_no_doubts(storage: Storage) -> None:
    put(storage, "key")
    assert [*storage.doubts()] == []
