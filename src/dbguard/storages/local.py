"""A folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

from dbguard.archive import Entry
from dbguard.errors import AlreadyExists, ConfigError, NotFound, StorageError, StorageUnavailable
from dbguard.storages import keys

_TEMPORARY = ".tmp-"


class LocalStorage:
    """Blobs as files below one folder, 0600 in folders of 0700. See storages.Storage for the promise."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    @classmethod
    def from_url(cls, url: str) -> Self:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ConfigError(f"storage {url}: {error}") from error
        if parts.netloc not in {"", "localhost"}:
            raise ConfigError(f"storage {url}: a folder has three slashes", hint=f"file:///{parts.netloc}{parts.path}")
        if not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ConfigError(f"storage {url} is no folder's URL", hint="give its path as it is, without file:")
        return cls(Path(unquote(parts.path)).absolute())

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[_Writer]:
        final = self._path(key)
        with _translated(final):
            _make_folders(final.parent)
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=final.parent)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                yield _Writer(file, final)
                with _translated(final):
                    os.fsync(file.fileno())
            with _translated(final):
                _publish(temporary, final)
        finally:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            if final.parent != self.root:
                with contextlib.suppress(OSError):
                    final.parent.rmdir()  # succeeds only when it is empty: nothing was published in it
        with _translated(final):
            _sync_or_undo(final)

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[_Reader]:
        path = self._path(key)
        with _translated(path):
            file = path.open("rb", buffering=0)
        with file:
            yield _Reader(file, path)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for path in self._below(prefix):
            if path.relative_to(self.root).as_posix().startswith(prefix) and not _is_temporary(path):
                with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                    yield self._entry(path)

    def folders(self, prefix: str = "") -> Iterator[str]:
        self._check_there()
        place = self._path(prefix.rstrip("/")) if prefix else self.root
        for entry in _scanned(place):
            if entry.is_dir(follow_symlinks=False) and keys.is_plain(entry.name):
                yield entry.name

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _translated(path):
            path.unlink(missing_ok=True)
        if path.parent != self.root:
            with contextlib.suppress(OSError):  # not empty, or already gone
                path.parent.rmdir()

    def free(self) -> int | None:
        place = self.root
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def leftovers(self) -> Iterator[Entry]:
        for path in self._below(""):
            if _is_temporary(path):
                with contextlib.suppress(FileNotFoundError):
                    yield self._entry(path)

    def clear(self, leftover: Entry) -> None:
        path = self.root / leftover.key
        self._path(str(Path(leftover.key).with_name("x")))  # its folder must be one of ours
        if not _is_temporary(path):
            raise StorageError(f"{leftover.key!r} is no leftover")
        with _translated(path):
            path.unlink(missing_ok=True)
        if path.parent != self.root:
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def doubts(self) -> Iterator[str]:
        with _translated(self.root):
            if self.root.stat().st_mode & stat.S_IWOTH:
                yield f"{self.root} can be written by every user of this machine: chmod o-w"

    def _check_there(self) -> None:
        if not os.path.isdir(self.root):  # noqa: PTH112 — Path.is_dir raises for some reasons, this for none
            raise StorageUnavailable(
                f"{self.root} does not exist",
                hint="is the disk mounted? a first `dbguard backup now` creates the folder",
            )

    def _below(self, prefix: str) -> Iterator[Path]:
        self._check_there()
        folder = prefix.rpartition("/")[0]
        yield from _files(self._path(folder) if folder else self.root)

    def _entry(self, path: Path) -> Entry:
        status = path.stat()
        return Entry(
            key=path.relative_to(self.root).as_posix(),
            size=status.st_size,
            modified=datetime.fromtimestamp(status.st_mtime, UTC),
            version=f"{status.st_ino}-{status.st_mtime_ns}",
        )

    def _path(self, key: str) -> Path:
        """Where a key lives. Refuses whatever is not plain names, and symbolic links that lead out."""
        path = self.root / keys.checked(key)
        with _translated(path):
            leads_out = not path.parent.resolve().is_relative_to(self.root.resolve()) or path.is_symlink()
        if leads_out:
            raise StorageError(f"{key!r} leads out of {self.root}: a symbolic link?")
        return path


def _files(folder: Path) -> Iterator[Path]:
    for entry in _scanned(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


def _scanned(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=_as_key)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageUnavailable(f"{folder}: {error.strerror}") from error


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(_TEMPORARY)


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int) -> bytes:
        with _translated(self._path):
            return self._file.read(size)


class _Writer:
    def __init__(self, file: BinaryIO, final: Path) -> None:
        self._file = file
        self._final = final

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with _translated(self._final):
            while rest:
                rest = rest[self._file.write(rest) :]


def _as_key(entry: os.DirEntry[str]) -> str:
    """So that a walk in this order yields whole keys in order: `a-b` comes before `a/x`."""
    return entry.name + "/" * entry.is_dir(follow_symlinks=False)


def _publish(temporary: str, final: Path) -> None:
    """Gives the file its name: at once, and never that of another. Disks without hard links (exFAT, SMB, some FUSE)
    get a rename, which cannot refuse by itself; there two writers of one key could meet, which ids make impossible."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        if final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        Path(temporary).rename(final)


def _make_folders(folder: Path) -> None:
    """Creates what is missing, durably."""
    for made in reversed([folder, *folder.parents]):
        if not made.is_dir():
            with contextlib.suppress(FileExistsError):  # another run was quicker; if it is a file, what follows says so
                made.mkdir(mode=0o700)
            _sync_folder(made.parent)


def _sync_or_undo(file: Path) -> None:
    """A failure must not leave behind what it reports as not written."""
    try:
        _sync_folder(file.parent)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{path}: not found") from error
    except FileExistsError as error:
        raise AlreadyExists(f"{path} exists already; nothing is ever overwritten") from error
    except OSError as error:
        hints = {
            errno.ENOSPC: "the disk is full: nothing was published, and what was written is removed",
            errno.EROFS: "the file system is read-only",
            errno.EACCES: "this user may not write there",
        }
        raise StorageError(f"{path}: {error.strerror}", hint=hints.get(error.errno or 0)) from error
