"""What a folder promises beyond the contract: modes, symbolic links, and safety when the disk fails."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbguard.errors import AlreadyExists, NotFound, StorageError, StorageUnavailable
from dbguard.storages.local import LocalStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def put(storage: LocalStorage, key: str, data: bytes = b"content") -> None:
    with storage.create(key) as out:
        out.write(data)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir()]


# --- who may read ---


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_may_read_whatever_the_umask(storage: LocalStorage, root: Path) -> None:
    put(storage, "shop/db/id/data")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert modes == {"root": 0o700, "shop": 0o700, "db": 0o700, "id": 0o700, "data": 0o600}


@pytest.mark.usefixtures("open_umask")
def test_nobody_may_read_while_it_is_written(storage: LocalStorage, root: Path) -> None:
    with storage.create("a/data") as out:
        out.write(b"secret")
        assert [stat.S_IMODE(path.stat().st_mode) for path in files(root)] == [0o600]


# --- symbolic links ---


@pytest.fixture
def outside(tmp_path: Path, storage: LocalStorage, root: Path) -> Path:
    """A folder beside the root that holds `secret`; `root/link` leads there, `root/alias` to the file itself."""
    put(storage, "shop/data")
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    (root / "link").symlink_to(folder)
    (root / "alias").symlink_to(folder / "secret")
    (root / "dangling").symlink_to(folder / "not there")
    return folder


@pytest.mark.fault(45)
@pytest.mark.parametrize("key", ["link/secret", "link/new", "alias", "dangling", "link"])
def test_no_key_follows_a_link_out_of_the_root(storage: LocalStorage, outside: Path, key: str) -> None:
    with pytest.raises(StorageError):
        put(storage, key)
    with pytest.raises(StorageError), storage.open(key):
        pass
    with pytest.raises(StorageError):
        storage.delete(key)
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.fault(45)
@pytest.mark.parametrize("prefix", ["", "link", "link/", "link/s", "alias"])
def test_no_list_follows_a_link(storage: LocalStorage, outside: Path, prefix: str) -> None:
    assert outside.exists()
    try:
        listed = [entry.key for entry in storage.list(prefix)]
    except StorageError:
        listed = []
    assert listed == (["shop/data"] if not prefix else [])


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    storage = LocalStorage(tmp_path / "backups")
    put(storage, "a/b")
    assert [entry.key for entry in storage.list("a/")] == ["a/b"]
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"content"


# --- power cuts ---


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was asked of the disk, in order. Patched, since no test can pull the plug."""
    asked: list[str] = []
    fsync, link = os.fsync, os.link

    def recorded_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        asked.append(f"sync {path.relative_to(tmp_path)}" if path.is_dir() else "sync data")
        fsync(descriptor)

    def recorded_link(source: str, target: Path) -> None:
        asked.append(f"link {target.relative_to(tmp_path)}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "link", recorded_link)
    return asked


@pytest.mark.fault(9)
def test_data_is_durable_before_its_name_and_the_name_before_we_return(storage: LocalStorage, calls: list[str]) -> None:
    put(storage, "shop/data")
    assert calls[-3:] == ["sync data", "link root/shop/data", "sync root/shop"]
    del calls[:]
    put(storage, "shop/manifest")
    assert calls == ["sync data", "link root/shop/manifest", "sync root/shop"]


@pytest.mark.fault(9)
def test_a_new_folder_is_durable_before_something_is_in_it(storage: LocalStorage, calls: list[str]) -> None:
    put(storage, "shop/db/data")
    assert calls[: calls.index("sync data")] == ["sync .", "sync root", "sync root/shop"]


# --- a disk that fails ---


def failing_write(monkeypatch: pytest.MonkeyPatch, error: OSError) -> list[int]:
    """After 100,000 bytes."""
    written: list[int] = []

    class Full(io.FileIO):
        def write(self, data: object, /) -> int:
            written.append(len(memoryview(data)))  # type: ignore[arg-type]
            if sum(written) > 100_000:
                raise error
            return super().write(data)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fdopen", lambda descriptor, *args, **options: Full(descriptor, "wb"))
    return written


def failing(name: str) -> Callable[[pytest.MonkeyPatch, OSError], list[int]]:
    """Makes one function of `os` fail; the list grows with each call."""

    def patch(monkeypatch: pytest.MonkeyPatch, error: OSError) -> list[int]:
        tries: list[int] = []

        def fail(*args: object, **options: object) -> None:
            tries.append(1)
            raise error

        monkeypatch.setattr(os, name, fail)
        return tries

    return patch


def failing_folder_sync(monkeypatch: pytest.MonkeyPatch, error: OSError) -> list[int]:
    tries: list[int] = []
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            tries.append(1)
            raise error
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    return tries


FAULTS = {"write": failing_write, "fsync": failing("fsync"), "link": failing("link"), "folder": failing_folder_sync}


@pytest.mark.fault(10, 11)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_full_disk_leaves_nothing_and_says_so(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    put(storage, "shop/older", b"stays")
    with monkeypatch.context() as patch:
        FAULTS[fault](patch, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(StorageError, match="No space left") as caught:
            put(storage, "shop/data", b"x" * 200_000)
    assert caught.value.hint is not None
    assert "disk is full" in caught.value.hint
    assert [entry.key for entry in storage.list()] == ["shop/older"]
    assert files(root) == [root / "shop" / "older"]


@pytest.mark.parametrize("fault", ["write", "fsync", "link"])
def test_no_empty_folder_stays_behind(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Each failed backup would leave one."""
    put(storage, "shop/db/owner")
    (root / "shop" / "db" / "id").mkdir()
    with monkeypatch.context() as patch:
        FAULTS[fault](patch, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(StorageError):
            put(storage, "shop/db/id/data", b"x" * 200_000)
    assert not (root / "shop" / "db" / "id").exists()


@pytest.mark.fault(14)
@pytest.mark.parametrize("fault", ["fsync", "folder"])
def test_a_failed_sync_is_not_tried_again(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """After EIO the kernel has dropped the pages: a second fsync would succeed and prove nothing."""
    put(storage, "shop/older", b"stays")
    with monkeypatch.context() as patch:
        tries = FAULTS[fault](patch, OSError(errno.EIO, "Input/output error"))
        with pytest.raises(StorageError, match="Input/output"):
            put(storage, "shop/data")
    assert len(tries) == 1
    assert files(root) == [root / "shop" / "older"]


@pytest.mark.fault(24)
def test_a_short_write_is_continued(storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(io.FileIO):
        def write(self, data: object, /) -> int:
            return super().write(memoryview(data)[:1000])  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fdopen", lambda descriptor, *args, **options: Short(descriptor, "wb"))
    put(storage, "data", bytes(range(256)) * 100)
    assert (root / "data").read_bytes() == bytes(range(256)) * 100


def test_a_disk_that_cannot_be_read_is_a_storage_error(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    put(storage, "data")
    monkeypatch.setattr(Path, "open", lambda *args, **options: Broken())
    with storage.open("data") as reader, pytest.raises(StorageError, match="Input/output"):
        reader.read(10)


# --- a disk without hard links: exFAT, SMB ---


@pytest.fixture(params=[errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    failing("link")(monkeypatch, OSError(request.param, os.strerror(request.param)))


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_it_is_published_all_the_same(storage: LocalStorage, root: Path) -> None:
    put(storage, "shop/data")
    assert files(root) == [root / "shop" / "data"]
    assert (root / "shop" / "data").read_bytes() == b"content"


@pytest.mark.usefixtures("without_links")
def test_without_hard_links_nothing_is_overwritten_either(storage: LocalStorage, root: Path) -> None:
    put(storage, "shop/data", b"first")
    with pytest.raises(AlreadyExists):
        put(storage, "shop/data", b"second")
    assert files(root) == [root / "shop" / "data"]
    assert (root / "shop" / "data").read_bytes() == b"first"


# --- places that are none ---


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    storage = LocalStorage(tmp_path / "file")
    with pytest.raises(StorageError) as caught:
        put(storage, "key")
    assert not isinstance(caught.value, AlreadyExists | NotFound)
    with pytest.raises(StorageUnavailable):
        [*storage.list()]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_root_whose_name_is_impossible(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / ("x" * 300))
    with pytest.raises(StorageError):
        put(storage, "key")
    with pytest.raises(StorageError), storage.open("key"):
        pass
    with pytest.raises(StorageUnavailable):
        [*storage.list()]


def test_what_others_left_in_the_folder_is_not_touched(storage: LocalStorage, root: Path) -> None:
    put(storage, "shop/data")
    for name in (".tmp-killed", ".hidden", "with space", "naïve"):
        (root / "shop" / name).write_text("foreign")
    storage.delete("shop/data")
    assert {path.name for path in files(root)} == {".tmp-killed", ".hidden", "with space", "naïve"}


@pytest.mark.fault(2)
def test_a_write_that_was_killed_is_never_listed(storage: LocalStorage, root: Path) -> None:
    put(storage, "shop/data")
    (root / "shop" / ".tmp-x7ab").write_bytes(b"half a dump")
    assert [entry.key for entry in storage.list("shop/")] == ["shop/data"]
    assert [entry.key for entry in storage.list("shop/.tmp-")] == []


def test_a_disk_without_hard_links(storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_names: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    put(storage, "a/b", b"first")
    with pytest.raises(AlreadyExists):
        put(storage, "a/b", b"second")
    with storage.open("a/b") as reader:
        assert reader.read(99) == b"first"
    assert files(root) == [root / "a/b"]
