"""The sidecar in a compose project of its own: it backs up by itself, and answers for the host."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from dbguard import config
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.discover import Scope
from dbguard.model import TargetName
from dbguard.run import Keeper
from dbguard.storages import open_storage

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "only-for-this-test"
TABLE = "CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2), (3);"


class Stack:
    """The demo's compose file, run as a user would run it: in its folder, with dbguard on the host."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder = folder
        self.project = f"dbguard-test-{secrets.token_hex(4)}"
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "DEMO_DATABASE_IMAGE": os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7"),
            "DEMO_DBGUARD_IMAGE": image,
            "HOME": str(folder / "home"),
        }
        shutil.copy(ROOT / "examples/demo/compose.yaml", folder)
        (folder / "root_password.txt").write_text(PASSWORD)
        (folder / "backups").mkdir()

    def here(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)

    def compose(self, *argv: str) -> str:
        done = self.here("docker", "compose", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dbguard(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.here(sys.executable, "-m", "dbguard", *argv)

    def archives(self) -> list[str]:
        done = self.dbguard("list", "--json")
        assert done.returncode == 0, done.stderr
        return [str(archive["id"]) for archive in json.loads(done.stdout)["archives"]]

    def stored(self) -> list[str]:
        """Archive ids in the bind-mounted folder, read without dbguard."""
        return sorted((path.parent.name for path in self.folder.glob("backups/*/db/*/manifest.json")), reverse=True)

    def sql(self, text: str) -> str:
        argv = ["docker", "compose", "exec", "-T", "-e", f"MYSQL_PWD={PASSWORD}", "db", "mysql", "-uroot", "-N"]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, input=text, capture_output=True, text=True, check=True
        )
        return done.stdout

    def up_with_data(self) -> None:
        """The database first, then the sidecar, so that its first backup finds something."""
        self.compose("up", "-d", "--wait", "db")
        self.sql(TABLE)
        self.compose("up", "-d", "--wait")
        wait_until(lambda: bool(self.stored()), "the sidecar's first backup")


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def image() -> str:
    built = subprocess.run([ROOT / "tests/testbed/sidecar-image"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return built.stdout.split()[-1]


@pytest.fixture
def empty_stack(tmp_path: Path, image: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, image)
    yield stack
    stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


@pytest.fixture
def stack(empty_stack: Stack) -> Stack:
    empty_stack.up_with_data()
    return empty_stack


def test_backs_up_at_once_and_answers_for_the_host(stack: Stack) -> None:
    assert stack.archives() == stack.stored()
    taken = stack.dbguard("backup", "now", "--json")
    assert taken.returncode == 0, taken.stderr
    new = json.loads(taken.stdout)["archives"][0]["id"]
    assert stack.archives()[0] == new == stack.stored()[0]
    assert not (stack.folder / "home/.local/share/dbguard").exists(), "the host wrote to a storage of its own"

    stack.compose("restart", "backup")
    time.sleep(3)
    assert len(stack.stored()) == 2, "a restarted sidecar took a backup that was not due"

    stack.sql("DROP DATABASE shop")
    restored = stack.dbguard("restore", "db", "--latest", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"
    plain = stack.dbguard("cat", new)
    assert "INSERT INTO `t`" in plain.stdout
    assert stack.dbguard("backup", "now", "nothing-like-this").returncode == 1


def test_a_stopped_sidecar_is_an_error_not_an_empty_list(stack: Stack) -> None:
    stack.compose("stop", "--timeout", "3", "backup")
    for command in (["list"], ["backup", "now"], ["restore", "--latest", "--yes"], ["compose", "down", "--volumes"]):
        done = stack.dbguard(*command)
        assert done.returncode == 69, done.stderr
        assert "is not running" in done.stderr


def test_the_guard_asks_the_sidecar(stack: Stack) -> None:
    shutil.rmtree(next(iter((stack.folder / "backups").glob("*/db"))))
    refused = stack.dbguard("compose", "down", "--volumes")
    assert refused.returncode == 77, refused.stderr
    assert "never backed up" in refused.stderr
    assert f"dbguard backup now {stack.project}/db" in refused.stderr
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"

    assert stack.dbguard("backup", "now").returncode == 0
    allowed = stack.dbguard("compose", "down", "--volumes", "--timeout", "1")
    assert allowed.returncode == 0, allowed.stderr
    left = stack.here("docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={stack.project}")
    assert left.stdout == ""


def test_an_interrupted_host_command_stops_the_one_in_the_sidecar(stack: Stack) -> None:
    stack.compose("exec", "-T", "db", "sh", "-c", "printf '#!/bin/sh\\nsleep 600\\n' > /usr/local/bin/mysqldump")
    stack.compose("exec", "-T", "db", "chmod", "+x", "/usr/local/bin/mysqldump")
    host = subprocess.Popen([sys.executable, "-m", "dbguard", "backup", "now"], cwd=stack.folder, env=stack.environment)
    wait_until(lambda: "sleep" in processes(stack, "db"), "the dump")
    host.send_signal(signal.SIGINT)
    assert host.wait(timeout=30) == 130
    wait_until(lambda: "sleep" not in processes(stack, "db"), "the end of the dump")
    wait_until(lambda: "backup now" not in processes(stack, "backup"), "the end of the sidecar's command")


def test_refuses_a_storage_that_dies_with_what_it_protects(empty_stack: Stack) -> None:
    for mount, reason in (("./elsewhere:/elsewhere", "is not a mount"), ("inside:/backups", "is a volume of this")):
        file = empty_stack.folder / "compose.yaml"
        text = (ROOT / "examples/demo/compose.yaml").read_text().replace("./backups:/backups", mount)
        file.write_text(text.replace("volumes:\n  data:\n", "volumes:\n  data:\n  inside:\n"))
        empty_stack.compose("up", "-d", "--wait", "db")
        empty_stack.compose("up", "-d", "--no-deps", "backup")
        wait_until(partial(said, empty_stack, reason), reason)


def test_due_targets_are_backed_up_once_per_slot_and_old_archives_go(stack: Stack, tmp_path: Path) -> None:
    stack.compose("stop", "--timeout", "3", "backup")
    settings = config.load(storage=((tmp_path / "own").as_uri(),), state=tmp_path / "state", keep_last=2)
    catalog = Catalog(open_storage(settings.storage_url), settings.state)
    keeper = Keeper(Containers.connect(), catalog, settings, Scope(stack.project))
    target = TargetName(project=stack.project, service="db")
    now = datetime.now(UTC)
    ids: list[str] = []
    for day in range(4):
        for moment in (now + timedelta(days=day), now + timedelta(days=day, seconds=20)):
            keeper.tick(moment)
        newest = catalog.listing(target).archives[0].id
        assert newest not in ids, "no backup was taken on a day when one was due"
        ids.append(newest)
        time.sleep(1)  # ids sort by the second
    assert [archive.id for archive in catalog.listing(target).archives] == [ids[3], ids[2]]


def said(stack: Stack, text: str) -> bool:
    return text in stack.compose("logs", "backup")


def processes(stack: Stack, service: str) -> str:
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"
    return stack.compose("exec", "-T", service, "sh", "-c", script)
