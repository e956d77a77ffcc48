"""One place of every kind of storage, empty, for the contract.

A new storage joins with a fixture `<its key in STORAGES>_place` here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbguard.storages import STORAGES, Storage
from dbguard.storages.local import LocalStorage


@dataclass(frozen=True, kw_only=True)
class Place:
    storage: Storage
    lost: Storage
    """The same kind of storage where nothing answers: an unmounted disk, an unknown bucket."""
    used: Callable[[], int]
    """Bytes that are really taken there, those of half-written blobs included."""


@pytest.fixture
def file_place(tmp_path: Path) -> Place:
    root = tmp_path / "root"
    return Place(
        storage=LocalStorage(root),
        lost=LocalStorage(tmp_path / "not-mounted"),
        used=lambda: sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()),
    )


@pytest.fixture(params=sorted(STORAGES))
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def storage(place: Place) -> Storage:
    return place.storage
