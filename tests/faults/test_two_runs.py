"""Two runs at once."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.rig import Box, Engine, Vault, wait_until, wait_until_stopped

pytestmark = [pytest.mark.faults, pytest.mark.docker]

BUSY = 75


@pytest.mark.fault(37)
def test_second_run_on_the_same_target_is_told_to_wait(vault: Vault, mysql: Box) -> None:
    with mysql.slow_dump():
        first = vault.start("backup", "now", "--project", mysql.project)
        mysql.wait_until_half()
        vault.backup(mysql).failed(mysql.target, code=BUSY)
        vault.restore(mysql, "--latest", "--database", "bulk:copy").failed("no good archive")  # none yet, and no harm
        mysql.go_on()
        vault.end(first).succeeded()
    (archive,) = vault.listed()
    vault.run("cat", archive).succeeded()


@pytest.mark.fault(37)
def test_two_hosts_with_one_storage(tmp_path: Path, engine: Engine, vault: Vault, mysql: Box) -> None:
    """No lock joins them: both write their own archive, and neither harms the other's."""
    other = replace(vault, folder=tmp_path / "other host")
    other.storage = vault.storage
    with mysql.slow_dump():
        first = vault.start("backup", "now", "--project", mysql.project)
        second = other.start("backup", "now", "--project", mysql.project)
        wait_until(lambda: str(mysql.running()).count("/usr/bin/mysqldump ") == 2, "both dump at once")
        mysql.go_on()
        vault.end(first).succeeded()
        other.end(second).succeeded()
    archives = vault.listed()
    assert len(archives) == 2
    for archive in archives:
        assert b"-- Dump completed" in vault.run("cat", archive).succeeded().out


@pytest.mark.fault(37)
def test_backup_during_a_restore_of_the_same_target(vault: Vault, mariadb: Box) -> None:
    """It would save what is only half there."""
    vault.backup(mariadb).succeeded()
    choice = (mariadb.target, "--latest", "--database", "bulk:copy", "--yes")
    restoring = vault.start("restore", *choice, stage="during-load:STOP")
    wait_until_stopped(restoring)
    try:
        vault.backup(mariadb).failed(mariadb.target, code=BUSY)
        vault.restore(mariadb, "--latest", "--database", "bulk:other").failed(mariadb.target, code=BUSY)
    finally:
        os.kill(restoring.pid, signal.SIGCONT)
        result = vault.end(restoring)
    result.succeeded()
    assert mariadb.sql("SELECT COUNT(*) FROM copy.noise") == [["1200"]]
    mariadb.sql("DROP DATABASE copy")
