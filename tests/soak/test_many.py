"""Ten thousand archives in a bucket: how long a list takes, and that its memory does not grow with their number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dbguard.archive import FORMAT, Archive, Blob
from dbguard.layout import MANIFEST, ROOT_MARK
from dbguard.reader import written
from tests import buckets
from tests.buckets import BucketServer
from tests.unit.nouns import TARGET, archive

pytestmark = pytest.mark.soak

FEW, MANY = 100, 10_000
MIB = 1 << 20
DATA = b"data"
LOOK = """
    import hashlib, json, resource, sys, time
    from pathlib import Path
    from dbguard.catalog import Catalog
    from dbguard.config import load
    from dbguard.model import TargetName
    from dbguard.storages import open_storage
    url, state = sys.argv[1:]
    storage = open_storage(url, load().bucket_options(url))
    began, cpu = time.monotonic(), time.process_time()
    listing = Catalog(storage, Path(state)).listing(TargetName.parse("shop/db"))
    seconds = time.monotonic() - began
    print(json.dumps({
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "count": len(listing.archives),
        "others": len(listing.damaged) + len(listing.unfinished),
        "digest": hashlib.sha256(repr(listing).encode()).hexdigest(),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))
"""


@dataclass(frozen=True)
class Shelf:
    """A bucket with so many archives, and a state folder of its own."""

    server: BucketServer
    bucket: str
    state: Path

    def look(self) -> dict[str, Any]:
        """By a new process, so that memory is that of this list alone."""
        url = f"s3://{self.bucket}/prefix"
        env = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(LOOK), url, str(self.state)],
            env=env | self.server.environment | {"DBGUARD_STORAGE": url, "DBGUARD_VERIFY__WHEN": "off"},
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def small(number: int) -> Archive:
    blob = Blob(key="data.sql.zst", size=len(DATA), sha256="0" * 64, plain_size=len(DATA), plain_sha256="0" * 64)
    return replace(archive(number), finished=archive(number).started + timedelta(minutes=1), blobs={"data": blob})


def fill(root: Path, count: int) -> None:
    """Straight into the folder that is served."""
    root.mkdir(parents=True)
    (root / ROOT_MARK).write_text(json.dumps({"format": FORMAT}))
    for number in range(count):
        made = small(number)
        folder = root / str(TARGET) / made.id
        folder.mkdir(parents=True)
        (folder / made.blobs["data"].key).write_bytes(DATA)
        (folder / MANIFEST).write_bytes(written(made))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BucketServer]:
    served = tmp_path / "served"
    for count in (FEW, MANY):
        fill(served / f"bucket-{count}" / "prefix", count)
    with buckets.rclone(served) as server:
        yield server


def words(one: dict[str, Any]) -> str:
    return f"{one['seconds']:.2f} s, {one['cpu']:.2f} s of them busy, {one['memory'] / MIB:.0f} MiB"


def quiet() -> bool:
    return os.getloadavg()[0] < (os.cpu_count() or 1) / 2


def test_ten_thousand_archives_in_a_bucket(server: BucketServer, tmp_path: Path) -> None:
    idle, found = quiet(), {}
    for count in (FEW, MANY):
        shelf = Shelf(server, f"bucket-{count}", tmp_path / f"state-{count}")
        cold, warm = shelf.look(), shelf.look()
        assert (cold["count"], cold["others"]) == (count, 0)
        assert warm["digest"] == cold["digest"]
        print(f"{count} archives:", *map(words, (cold, warm)), sep="\n  ")
        found[count] = (cold, warm)
    for few, many in zip(found[FEW], found[MANY], strict=True):
        assert many["memory"] - few["memory"] < 64 * MIB
    if idle:
        assert found[MANY][1]["seconds"] <= 2
