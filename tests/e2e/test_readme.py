"""Every example in the README is run, in the stack that the README itself shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbguard.cli import dbguard as command_line
from dbguard.config import Settings, load
from dbguard.habits import habits
from dbguard.notify import Channels
from dbguard.ping import Ping
from dbguard.retention import Policy
from dbguard.sections import GuardSection, VerifySection
from dbguard.storages import open_storage
from tests.stack import ROOT, TABLE, Stack, sidecar_image, wait_until

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def block(language: str, holding: str) -> str:
    found = [text for kind, text in BLOCKS if kind == language and holding in text]
    assert len(found) == 1, f"the README has {len(found)} blocks of {language} with {holding!r}"
    return str(found[0])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    compose = block("yaml", "services:")
    compose = compose.replace("image: dbguard", f"image: {sidecar_image()}")
    compose = compose.replace("image: mysql:9.7", f"image: {os.environ.get('DBGUARD_TEST_MYSQL97', 'mysql:9.7')}")
    stack = Stack(tmp_path_factory.mktemp("readme"), "", compose, verify=True)
    yield stack
    stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


def lines(text: str) -> list[tuple[list[str], int]]:
    """Commands, and the exit code that their comment promises."""
    found = []
    for line in text.strip().splitlines():
        words, _, comment = line.partition("#")
        promised = re.search(r"exits (\d+)", comment)
        found.append((shlex.split(words), int(promised.group(1)) if promised else 0))
    return found


@pytest.mark.docker
def test_the_examples(stack: Stack) -> None:
    stack.compose("up", "-d", "db")
    wait_until(lambda: answers(stack), "the database")
    stack.sql(TABLE)
    stack.compose("up", "-d")
    wait_until(lambda: bool(stack.stored()), "the first backup, at once as the README says")
    for holding in ("dbguard discover", "dbguard status", "dbguard compose down"):
        text = block("sh", holding)
        for words, code in lines(text):
            if code == 77:  # the guard's example begins where no backup is fresh
                stack.compose("exec", "-T", "backup", "sh", "-c", "rm -rf /backups/*/db")
            done = stack.here(sys.executable, "-m", *words)
            assert done.returncode == code, f"{words}: {done.stderr}"
            if words[:3] == ["dbguard", "compose", "up"]:
                wait_until(lambda: answers(stack), "the database")
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"


@pytest.mark.docker
def test_restoring_without_dbguard(stack: Stack) -> None:
    stack.compose("up", "-d")
    wait_until(lambda: answers(stack), "the database")
    stack.sql("DROP DATABASE IF EXISTS shop;" + TABLE)
    assert stack.dbguard("backup", "now").returncode == 0
    stack.sql("DROP DATABASE shop")
    folder = f"backups/{stack.project}/db/{stack.stored()[0]}"
    text = re.sub(r"backups/shop/db/\S+/", f"{folder}/", block("sh", "zstd -dc"))
    done = subprocess.run(["sh", "-c", text], cwd=stack.folder, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"


def test_every_setting_is_listed_and_exists() -> None:
    listed = set(re.findall(r"`([a-z0-9_.]+)`", " ".join(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE))))
    fields = set(Settings.model_fields) - {"guard", "targets", "verify"}
    fields |= {f"guard.{name}" for name in GuardSection.model_fields}
    fields |= {f"verify.{name}" for name in VerifySection.model_fields}
    assert listed == fields


def test_the_configuration_is_one(tmp_path: Path) -> None:
    text = block("toml", "storage = ")
    for name in ("s3_key", "s3_secret"):
        (tmp_path / name).write_text(f"{name} of the test\n")
    file = tmp_path / "dbguard.toml"
    file.write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    settings = load(file)
    folder, bucket = settings.storage_urls
    assert habits(settings, "shop/db", {}).policy(folder) == Policy(keep_last=3, keep_daily=7, keep_monthly=12)
    assert habits(settings, "shop/db", {}).policy(bucket) == Policy(keep_daily=30, keep_monthly=24)
    assert settings.bucket_options(bucket).secret_access_key == "s3_secret of the test"
    assert open_storage(bucket, settings.bucket_options(bucket)).url == bucket


def test_every_command_named_exists() -> None:
    named = set(re.findall(r"`?dbguard ([a-z]+)\b", " ".join(text for kind, text in BLOCKS if kind == "sh")))
    assert named <= set(command_line.list_commands(None))  # type: ignore[arg-type]


def answers(stack: Stack) -> bool:
    argv = ["docker", "compose", "exec", "-T", "db", "mysql", "-h127.0.0.1", "-uroot", "-pwrong", "-eDO 0"]
    return "Access denied" in stack.here(*argv).stderr


def test_the_layout_named_is_there() -> None:
    for name in ("tests/test_architecture.py", "Makefile", "Dockerfile"):
        assert Path(ROOT / name).exists()


def test_the_messages_of_the_example_can_be_configured(tmp_path: Path) -> None:
    file = tmp_path / "dbguard.toml"
    file.write_text(block("toml", "notify = "))
    settings = load(file)
    assert Channels(settings.notify_urls).names == ["ntfys"], "a topic is as good as a password"
    ping = habits(settings, "shop/db", {}).ping
    assert ping is not None
    Ping(ping.get_secret_value())
