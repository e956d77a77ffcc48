"""A place for archives: what it promises, and the table of the places dbguard knows.

Adding one is a file here and a line in STORAGES; tests/contract/test_storage.py then runs over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from dbguard.archive import Entry
from dbguard.errors import ConfigError
from dbguard.storages.local import LocalStorage
from dbguard.storages.options import BucketOptions
from dbguard.stream import CHUNK


class Writer(Protocol):
    def write(self, data: bytes, /) -> None: ...


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Storage(Protocol):
    """Keeps named blobs.

    A blob is seen whole or not at all, whatever happens while it is written; once `create` has been left
    well it survives a power cut; and it is never changed afterwards. Keys are plain names joined by `/`;
    no key leads out of the storage. Failures are StorageError; a place that cannot be reached at all is
    StorageUnavailable, never an empty list. Several threads may use one storage.
    """

    url: str

    def create(self, key: str) -> AbstractContextManager[Writer]:
        """Leave it well and the blob is there; leave it badly and nothing is. Raises AlreadyExists.

        Of two that create one key at once, one raises; where a store has no conditional writes, both may succeed
        and the blob is that of one of them, whole.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Raises NotFound."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every blob whose key begins with `prefix`, sorted by key; none that is still being written."""
        ...

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names between `prefix` (empty or ending with `/`) and the next `/`, each once, as the keys are sorted."""
        ...

    def delete(self, key: str) -> None:
        """Gone when this returns, also when it was gone before."""
        ...

    def free(self) -> int | None:
        """Bytes that still fit, or None where nobody can know."""
        ...

    def leftovers(self) -> Iterator[Entry]:
        """What began to be written and never became a blob. It may be being written right now: look at its age."""
        ...

    def clear(self, leftover: Entry) -> None:
        """Removes one of them; it may be gone already."""
        ...

    def doubts(self) -> Iterator[str]:
        """What about this place, as it is set up, could one day cost an archive. For `dbguard doctor`."""
        ...


def read_whole(storage: Storage, key: str) -> bytes:
    """A small blob at once. Raises NotFound."""
    with storage.open(key) as reader:
        return b"".join(iter(lambda: reader.read(CHUNK), b""))


def _bucket(url: str, options: BucketOptions) -> Storage:
    from dbguard.storages.s3 import S3Storage  # boto3 takes long to import

    return S3Storage.from_url(url, options)


STORAGES: dict[str, Callable[[str, BucketOptions], Storage]] = {
    "file": lambda url, _: LocalStorage.from_url(url),
    "s3": _bucket,
}


def open_storage(url: str, options: BucketOptions | None = None) -> Storage:
    """By the URL's scheme; a plain path is a folder."""
    scheme, colon, _ = url.partition(":")
    if not colon or "/" in scheme:
        return LocalStorage(Path(url).absolute())
    if scheme not in STORAGES:
        known = ", ".join(sorted(STORAGES))
        raise ConfigError(f"storage {url}: {scheme}:// is not known", hint=f"known: {known}")
    return STORAGES[scheme](url, options or BucketOptions())
