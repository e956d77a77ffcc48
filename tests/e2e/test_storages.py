"""A folder and a bucket: one pass writes both, each may fail alone, and the next run makes the missing copies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import compare
from tests.buckets import BucketServer, free_port, moto, rclone
from tests.conftest import Dbguard
from tests.servers import PASSWORD, Server

pytestmark = [
    pytest.mark.docker,
    pytest.mark.parametrize("server", ["mariadb118"], indirect=True),
]

SHOP = """
CREATE DATABASE shop; USE shop;
CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(90));
INSERT INTO item VALUES (1, 'tea'), (2, 'coffee');
CREATE VIEW names AS SELECT name FROM item;
"""
IMPATIENT = """
import time
time.sleep = lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01))
"""
"""Asking a store that does not answer again and again takes most of a minute; here it takes no pauses."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BucketServer]]:
    with ExitStack() as stack:
        yield {
            "rclone": stack.enter_context(rclone(tmp_path_factory.mktemp("rclone"))),
            "moto": stack.enter_context(moto()),
        }


class Places:
    """A dbguard with a folder and a bucket, what is in each, and ways to lose them."""

    def __init__(self, dbguard: Dbguard, store: BucketServer) -> None:
        self.dbguard = dbguard
        self.store = store
        self.folder = dbguard.storage
        self.bucket = store.new_bucket()
        self.urls = [dbguard.storage.as_uri(), f"s3://{self.bucket}/some/prefix"]
        dbguard.environment |= store.environment | {"DBGUARD_STORAGE": ",".join(self.urls)}

    def in_folder(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    def in_bucket(self) -> dict[str, bytes]:
        return objects(self.store, self.bucket)

    def ids(self) -> tuple[list[str], list[str]]:
        """Of the finished archives in the folder and in the bucket, oldest first."""
        return finished(self.in_folder()), finished(self.in_bucket())

    def without_bucket(self) -> dict[str, str]:
        """The environment in which nothing answers for it."""
        place = self.dbguard.folder / "impatient"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(IMPATIENT)
        return {"DBGUARD_S3__ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "PYTHONPATH": str(place)}

    def unmount(self) -> None:
        """What is left is an empty mount point."""
        self.folder.rename(self.folder.with_name("unmounted"))
        self.folder.mkdir()

    def mount(self) -> None:
        self.folder.rmdir()
        self.folder.with_name("unmounted").rename(self.folder)

    def rules(self, folder: int, bucket: int) -> None:
        """How many archives each keeps."""
        (self.dbguard.folder / "dbguard.toml").write_text(
            f'[storages."{self.urls[0]}"]\nkeep_last = {folder}\n[storages."{self.urls[1]}"]\nkeep_last = {bucket}\n'
        )

    def listed(self, *, code: int = 0) -> Any:
        done = self.dbguard("list", "--json")
        assert done.code == code, done.err
        return done.json["archives"]


@pytest.fixture
def places(dbguard: Dbguard, stores: dict[str, BucketServer]) -> Places:
    return Places(dbguard, stores["rclone"])


def objects(store: BucketServer, bucket: str) -> dict[str, bytes]:
    pages = store.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return {
        key.removeprefix("some/prefix/"): store.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in sorted(keys)
    }


def finished(files: dict[str, bytes]) -> list[str]:
    return sorted(key.split("/")[2] for key in files if key.endswith("/manifest.json"))


def backups(dbguard: Dbguard, server: Server, count: int) -> list[str]:
    return [
        dbguard("backup", "now", server.target, "--json").succeeded().json["archives"][0]["id"] for _ in range(count)
    ]


def test_one_pass_writes_both(server: Server, places: Places) -> None:
    server.sql(SHOP)
    made = places.dbguard("backup", "now", server.target, "--json").succeeded().json["archives"]
    assert [one["copies"] for one in made] == [places.urls]
    assert places.in_folder() == places.in_bucket()
    assert [(one["id"], one["copies"]) for one in places.listed()] == [(made[0]["id"], places.urls)]
    table = places.dbguard("list").succeeded().out
    assert (table.count(made[0]["id"]), "only in" in table) == (1, False), table


def test_encrypted_once_for_both(server: Server, places: Places) -> None:
    """Each encryption draws its own key: equal bytes come from one stream."""
    import pyrage

    server.sql(SHOP)
    public = str(pyrage.x25519.Identity.generate().to_public())
    places.dbguard("backup", "now", server.target, environment={"DBGUARD_RECIPIENTS": public}).succeeded()
    assert [key for key in places.in_folder() if key.endswith(".age")]
    assert places.in_folder() == places.in_bucket()


def test_bucket_that_is_down_and_comes_back(server: Server, places: Places) -> None:
    server.sql(SHOP)
    down = places.without_bucket()
    done = places.dbguard("backup", "now", server.target, environment=down)
    assert (done.code, f"not in {places.urls[1]}" in done.err) == (3, True), done.err
    assert [len(ids) for ids in places.ids()] == [1, 0]
    assert places.in_bucket() == {}

    backups(places.dbguard, server, 1)
    done = places.dbguard("backup", "now", server.target, environment=down)
    assert done.code == 3, done.err
    missed = places.ids()[0][-1]
    listed = places.dbguard("list", environment=down)
    assert (listed.code, listed.out.count(server.target), places.urls[1] in listed.err) == (3, 3, True), listed.err
    assert f"only in {places.urls[0]}" in places.dbguard("list").succeeded().out

    repaired = places.dbguard("backup", "now", server.target).succeeded()
    assert f"{missed} to {places.urls[1]}" in repaired.err
    in_folder, in_bucket = places.ids()
    assert in_bucket == in_folder[1:], "an archive from before the bucket's first one was copied, or one is missing"
    stored = places.in_folder()
    assert places.in_bucket() == {key: data for key, data in stored.items() if in_folder[0] not in key}
    assert all(places.dbguard("cat", id_, "--database", "shop").succeeded().out for id_ in in_bucket)


def test_folder_that_is_not_mounted(server: Server, places: Places) -> None:
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    [first] = backups(places.dbguard, server, 1)
    places.unmount()
    done = places.dbguard("backup", "now", server.target)
    assert (done.code, f"not in {places.urls[0]}" in done.err, "mounted" in done.err) == (3, True, False), done.err
    assert [*places.folder.iterdir()] == [], "something was written where the disk should have been"
    assert [len(ids) for ids in places.ids()] == [0, 2]

    listed = places.dbguard("list")
    assert (listed.code, listed.out.count(server.target), places.urls[0] in listed.err) == (3, 2, True), listed.err
    server.empty()
    restored = places.dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert places.urls[0] in restored.err
    assert "newer one" in restored.err
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []

    places.mount()
    assert places.ids()[0] == [first]
    backups(places.dbguard, server, 1)
    assert places.in_folder() == places.in_bucket()
    assert len(places.listed()) == 3


def test_nothing_can_be_reached(server: Server, places: Places) -> None:
    """That is never "no backup"."""
    server.sql(SHOP)
    backups(places.dbguard, server, 1)
    before = compare.snapshot(server.container, PASSWORD)
    places.unmount()
    down = places.without_bucket()
    for words in (
        ("backup", "now", server.target),
        ("list",),
        ("restore", server.target, "--latest", "--yes", "--replace"),
        ("prune", "--yes"),
    ):
        done = places.dbguard(*words, environment=down)
        assert (done.code, "no archives" in done.err) == (69, False), (words, done.err)
        assert all(url in done.err for url in places.urls), (words, done.err)
    assert [*places.folder.iterdir()] == []
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


def test_each_storage_has_its_own_rules(server: Server, places: Places) -> None:
    server.sql(SHOP)
    places.rules(folder=3, bucket=1)
    ids = backups(places.dbguard, server, 4)
    assert places.ids() == (sorted(ids[1:]), ids[-1:])
    assert [len(one["copies"]) for one in places.listed()] == [2, 1, 1]


def test_prune_shows_its_plan_and_asks(server: Server, places: Places) -> None:
    server.sql(SHOP)
    old, _, new = backups(places.dbguard, server, 3)
    places.dbguard("hold", old).succeeded()
    places.rules(folder=1, bucket=3)
    before = places.in_folder(), places.in_bucket()

    plan = places.dbguard("prune", "--dry-run").succeeded()
    for reason in ("no rule keeps it", "held", "newest complete", "last 3"):
        assert reason in plan.out, plan.out
    plans = places.dbguard("prune", server.target, "--dry-run", "--json").succeeded().json["plans"]
    assert [(len(one["keep"]), len(one["remove"])) for one in plans] == [(2, 1), (3, 0)]
    assert places.dbguard("prune").code == 2, "without a terminal nobody can agree"
    assert (places.in_folder(), places.in_bucket()) == before

    done = places.dbguard("prune", "--yes").succeeded()
    assert done.err.count("removed") == 1, done.err
    assert places.ids()[0] == [old, new]
    assert places.in_bucket() == before[1]


def test_hold_release_and_confirm_reach_every_copy(server: Server, places: Places) -> None:
    server.sql(SHOP)
    old, _ = backups(places.dbguard, server, 2)
    for word, flag, expected in (("hold", "held", True), ("release", "held", False), ("confirm", "confirmed", True)):
        assert old in places.dbguard(word, old[:-1]).succeeded().err
        marks = {one["id"]: one[flag] for one in places.listed()}
        assert marks[old] is expected, word
        for stored in (places.in_folder(), places.in_bucket()):
            names = [key for key in stored if f"{old}/{'confirm' if word == 'confirm' else 'hold'}-" in key]
            assert len(names) == int(expected), (word, names)
    assert places.dbguard("hold", "20001231T000000Z-000000").code == 1


def test_hold_that_cannot_reach_a_copy_says_so(server: Server, places: Places) -> None:
    """That storage's rules would go on as before."""
    server.sql(SHOP)
    [archive] = backups(places.dbguard, server, 1)
    done = places.dbguard("hold", archive, environment=places.without_bucket())
    assert (done.code, places.urls[1] in done.err) == (3, True), done.err
    places.dbguard("hold", archive).succeeded()
    assert [key for key in places.in_bucket() if f"{archive}/hold-" in key]


@pytest.mark.parametrize("kind", ["moto", "rclone"])
def test_two_hosts_at_once(server: Server, tmp_path: Path, stores: dict[str, BucketServer], kind: str) -> None:
    """Neither sees the other's locks."""
    server.sql(SHOP + "INSERT INTO item SELECT seq + 10, SHA2(seq, 256) FROM seq_1_to_20000")
    store = stores[kind]
    bucket = store.new_bucket()
    hosts = [Dbguard(tmp_path / name) for name in ("one", "two")]
    for host in hosts:
        host.folder.mkdir()
        host.environment |= store.environment | {"DBGUARD_STORAGE": f"s3://{bucket}/some/prefix"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "dbguard", "backup", "now", server.target],
            cwd=host.folder,
            env=host.environment,
            stderr=subprocess.PIPE,
        )
        for host in hosts
    ]
    said = [run.communicate(timeout=120)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said

    stored = objects(store, bucket)
    ids = finished(stored)
    assert len(ids) == 2
    names = ("manifest.json", "data.sql.zst", "accounts.sql.zst")
    expected = {f"{server.target}/{id_}/{name}" for id_ in ids for name in names}
    assert set(stored) == expected | {"dbguard.json", f"{server.target}/owner.json"}
    for host in hosts:
        listed = host("list", "--json").succeeded().json
        assert (sorted(one["id"] for one in listed["archives"]), listed["damaged"]) == (ids, [])
        for id_ in ids:
            assert host("cat", id_).succeeded().out.count("INSERT INTO `item`"), id_
