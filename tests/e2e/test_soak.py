"""Long proofs, run by `make soak`: what a sidecar does for months must not pile up."""

from __future__ import annotations

import os
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbguard import config
from dbguard.backup import Wish, back_up
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.discover import discover, one
from dbguard.model import TargetName
from dbguard.prune import prune
from dbguard.storages import open_storage
from tests.servers import Server

pytestmark = [pytest.mark.docker, pytest.mark.soak]
RUNS = 300


def test_hundreds_of_backups_leave_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2);")
    settings = config.load(storage=((tmp_path / "store").as_uri(),), state=tmp_path / "state", keep_last=3)
    catalog = Catalog(open_storage(settings.storage_urls[0]), settings.state)
    containers = Containers.connect()
    name = TargetName.parse(server.target)
    early: tuple[int, int, int] | None = None
    for run in range(RUNS):
        target = one(discover(containers, settings, [containers.inspect(server.container)]), server.target)
        back_up(target, containers=containers, catalogs=[catalog], settings=settings, wish=Wish())
        prune(name, catalog=catalog, settings=settings, now=datetime.now(UTC))
        if run == RUNS // 10:
            early = footprint(server)
    assert early is not None
    files, memory, processes = footprint(server)
    assert files <= early[0] + 2, "file descriptors pile up"
    assert memory <= early[1] + 8 * 1024, "memory piles up (KiB)"
    assert processes <= early[2], "processes pile up in the database's container"
    assert len(catalog.listing(name).archives) <= 5  # 3 and those of the same second
    stored = sum(1 for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert stored <= 2 + 2 * 5, "files pile up in the storage"


def footprint(server: Server) -> tuple[int, int, int]:
    """Open files of this process, its peak memory in KiB, and the processes in the container, zombies included."""
    inside = server.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l").split()[0]
    return len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, int(inside)
