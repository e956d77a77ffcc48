"""A storage that cannot be changed, whoever tries: what makes a dry run dry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from dbguard.archive import Entry
from dbguard.errors import StorageError

if TYPE_CHECKING:
    from dbguard.storages import Reader, Storage


class ReadOnly:
    """Reads like the one within; every change is a StorageError."""

    def __init__(self, storage: Storage) -> None:
        self.url = storage.url
        self._storage = storage

    def create(self, key: str) -> contextlib.AbstractContextManager[NoReturn]:
        return self._refuse(key)

    def open(self, key: str) -> contextlib.AbstractContextManager[Reader]:
        return self._storage.open(key)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return self._storage.list(prefix)

    def folders(self, prefix: str = "") -> Iterator[str]:
        return self._storage.folders(prefix)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def free(self) -> int | None:
        return self._storage.free()

    def leftovers(self) -> Iterator[Entry]:
        return self._storage.leftovers()

    def clear(self, leftover: Entry) -> None:
        self._refuse(leftover.key)

    def doubts(self) -> Iterator[str]:
        return self._storage.doubts()

    def _refuse(self, key: str) -> NoReturn:
        raise StorageError(f"{self.url}/{key}: a dry run changes nothing")
