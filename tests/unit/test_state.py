"""What is kept on this host: one lock per target, and the memory of storages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbguard.errors import Busy, ConfigError
from dbguard.lock import target_lock
from dbguard.model import TargetName
from dbguard.state import KnownStorages

DB = TargetName(project="shop", service="db")


def test_a_target_is_locked_once(tmp_path: Path) -> None:
    with target_lock(tmp_path, DB):
        with pytest.raises(Busy, match="shop/db") as caught, target_lock(tmp_path, DB):
            pass
        assert caught.value.hint
    with target_lock(tmp_path, DB):
        pass


@pytest.mark.parametrize(
    ("one", "other"), [("shop/db", "shop/db2"), ("shop/db", "blog/db"), ("a.b/c", "a/b.c"), ("a-b/c", "a/b-c")]
)
def test_targets_do_not_wait_for_each_other(tmp_path: Path, one: str, other: str) -> None:
    with target_lock(tmp_path, TargetName.parse(one)), target_lock(tmp_path, TargetName.parse(other)):
        pass


def test_a_lock_is_given_back_when_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), target_lock(tmp_path, DB):
        raise KeyboardInterrupt
    with target_lock(tmp_path, DB):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    """kill -9: nobody cleans up, and nobody needs to."""
    script = (
        "import os, pathlib, signal\nfrom dbguard.lock import target_lock\nfrom dbguard.model import TargetName\n"
        f"with target_lock(pathlib.Path({str(tmp_path)!r}), TargetName.parse('shop/db')):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    with target_lock(tmp_path, DB):
        pass


def test_a_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        KnownStorages(tmp_path / "state").add("file:///a")
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "storages.json").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_one_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file") as caught, target_lock(tmp_path / "file", DB):
        pass
    assert "DBGUARD_STATE" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="file"):
        KnownStorages(tmp_path / "file").add("file:///a")


def test_storages_are_remembered(tmp_path: Path) -> None:
    for url in ("file:///a", "file:///b", "file:///a"):
        KnownStorages(tmp_path).add(url)
    known = KnownStorages(tmp_path)
    assert "file:///a" in known
    assert "file:///b" in known
    assert "file:///" not in known
    assert [path.name for path in tmp_path.iterdir()] == ["storages.json"]
