"""One place of every kind of storage, empty, for the contract.

A new storage joins with a fixture `<its key in STORAGES>_place` here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dbguard.storages import STORAGES, Storage
from dbguard.storages.local import LocalStorage
from tests import buckets
from tests.buckets import BucketServer


@dataclass(frozen=True, kw_only=True)
class Place:
    storage: Storage
    lost: Storage
    """The same kind of storage where nothing answers: an unmounted disk, an unknown bucket."""
    used: Callable[[], int]
    """Bytes that are really taken there, those of half-written blobs included."""
    exclusive: bool = True
    """Of two that write one key at once, one is told."""
    old_uploads: bool = False
    """It says of every unfinished upload that it began in 2010: moto does."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto answers some questions with 500, and botocore would pause half a minute in all before it believes that."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.001)


@pytest.fixture(scope="session")
def moto() -> Iterator[BucketServer]:
    with buckets.moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with buckets.rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
def file_place(tmp_path: Path) -> Place:
    root = tmp_path / "root"
    return Place(
        storage=LocalStorage(root),
        lost=LocalStorage(tmp_path / "not-mounted"),
        used=lambda: sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()),
    )


@pytest.fixture
def s3_place(moto: BucketServer) -> Place:
    return replace(bucket_place(moto), old_uploads=True)


@pytest.fixture
def rclone_place(rclone: BucketServer) -> Place:
    return bucket_place(rclone)


def bucket_place(server: BucketServer) -> Place:
    bucket = server.new_bucket()
    return Place(
        storage=server.storage(bucket),
        lost=server.storage("no-such-bucket"),
        used=lambda: server.used(bucket),
        exclusive=server.exclusive,
    )


@pytest.fixture(params=[*sorted(STORAGES), "rclone"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def storage(place: Place) -> Storage:
    return place.storage
