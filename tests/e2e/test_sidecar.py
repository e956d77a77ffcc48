"""The sidecar in a compose project of its own: it backs up by itself, and answers for the host."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.stack import ROOT, Stack, sidecar_image, wait_until

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image() -> str:
    return sidecar_image()


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
    assert "dbguard compose --backup-first down --volumes" in refused.stderr
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


def said(stack: Stack, text: str) -> bool:
    return text in stack.compose("logs", "backup")


def processes(stack: Stack, service: str) -> str:
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"
    return stack.compose("exec", "-T", service, "sh", "-c", script)
