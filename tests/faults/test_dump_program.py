"""The dump program, or zstd beside it, does not do its work. Whatever it does, nothing is published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest

from tests.faults.rig import Box, Engine, Vault, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.docker]


@dataclass(frozen=True)
class Fault:
    """What the program does instead of its work, and what the error must say of it."""

    script: str
    says: tuple[str, ...]
    obedient: bool = True  # ends when it is told to


FIRST_LINE = "-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)"
LAST_LINE = "-- Dump completed on 2026-11-23 12:00:00"
FAULTS = {
    "exit-2": Fault(
        '"$real" "$@" | head -n 40; echo "mysqldump: Got error: 1045: Access denied" >&2; exit 2',
        ("exit code 2", "Got error: 1045: Access denied"),
    ),
    "exit-3": Fault('"$real" "$@" | head -n 60; exit 3', ("exit code 3",)),
    "exit-5": Fault('"$real" "$@" | head -n 80; exit 5', ("exit code 5",)),
    "killed": Fault('"$real" "$@" | head -n 40; kill -s KILL $$', ("exit code 137",)),
    "exit-2-after-all": Fault('"$real" "$@"; exit 2', ("exit code 2",)),
    "no-last-line": Fault('"$real" "$@" | grep -v "^-- Dump completed"', ("no last line",)),
    "cut-in-a-row": Fault('"$real" "$@" 2>/dev/null | head -c 100000', ("no last line",)),
    "no-tables": Fault(f"echo '{FIRST_LINE}'; echo '{LAST_LINE}'", ("the dump lacks", "table")),
    "half-of-the-tables": Fault('"$real" "$@" | sed "/^CREATE TABLE .b. /,/^) /d"', ("the dump lacks table shop.b",)),
    "no-view": Fault('"$real" "$@" | sed "/VIEW .v. AS/d"', ("the dump lacks view shop.v",)),
    "no-routine": Fault('"$real" "$@" | sed "/PROCEDURE .p.()/,/;;/d"', ("the dump lacks procedure shop.p",)),
    "no-trigger": Fault('"$real" "$@" | sed "/TRIGGER .r. /d"', ("the dump lacks trigger shop.r",)),
    "error-on-stdout": Fault(
        'echo "mysqldump: Error: \'Access denied\'"; "$real" "$@"', ("what came is not a dump", "Access denied")
    ),
    "error-on-stderr": Fault(
        '"$real" "$@"; echo "mysqldump: Couldn\'t execute \'SHOW TRIGGERS\'" >&2', ("Couldn't execute",)
    ),
    "error-among-noise": Fault(
        'echo "mysqldump: the error" >&2; "$real" "$@"; i=0\n'
        'while [ $i -lt 3000 ]; do echo "-- harmless" >&2; i=$((i + 1)); done',
        ("the error",),
    ),
    "nothing": Fault("exit 0", ("what came is not a dump",)),
    "silence": Fault("exec sleep 1000", ("stalled",)),
    "silence-in-the-middle": Fault('"$real" "$@" | head -n 40; exec sleep 1000', ("stalled",)),
    "deaf-silence": Fault("trap '' TERM; while :; do sleep 1; done", ("stalled",), obedient=False),
    "gone": Fault("exec /nonexistent", ("exit code 127",)),
}
ZSTD_FAULTS = {
    "exit-1-after-all": Fault('"$real" "$@"; exit 1', ("zstd with 1",)),
    "cut": Fault('"$real" "$@" | head -c 300', ("nothing was published",)),
    "cut-at-the-end": Fault('"$real" "$@" | head -c -1; exit 0', ("the compressed stream ends too early",)),
    "gone-at-once": Fault("exit 0", ("mysqldump ended with exit code",)),
    "not-zstd": Fault("exec cat", ("the compressed stream is damaged",)),
    "something-after": Fault('"$real" "$@"; echo more', ("bytes after the end",)),
}
SHORT = {"DBGUARD_STALL": "2s"}


def fails(old_vault: Vault, box: Box, fault: Fault, *, compression: Literal["auto", "client"] = "auto") -> None:
    """One backup with this fault in place: it fails, says why, and leaves everything as it was."""
    files = old_vault.files()
    result = old_vault.backup(box, DBGUARD_COMPRESSION=compression, **SHORT)
    result.failed(box.target, *fault.says)
    assert old_vault.files() == files
    box.wait_until_idle(forced=not fault.obedient)


@pytest.fixture(autouse=True, scope="module")
def still_restores(old_vault: Vault, mysql: Box, mariadb: Box) -> Iterator[None]:
    """After all that has happened here, the archives from before are listed as they were, and restore."""
    both = old_vault.both()
    yield
    assert old_vault.both() == both
    for box in (mysql, mariadb):
        box.sql("DROP DATABASE shop; DROP DATABASE bulk")
        old_vault.restore(box).succeeded()
        assert box.sql("SELECT COUNT(*), SUM(LENGTH(t)) FROM bulk.noise") == [["1200", str(1200 * 176)]]
        assert box.sql("SELECT t FROM shop.a ORDER BY i") == [["one"], ["two"]]


@pytest.mark.fault(12, 15, 16, 23)
@pytest.mark.parametrize("name", [name for name in FAULTS if name != "silence"])
def test_dump_program_of_mysql(old_vault: Vault, mysql: Box, name: str) -> None:
    with mysql.dump(FAULTS[name].script):
        fails(old_vault, mysql, FAULTS[name])


@pytest.mark.fault(15, 16, 23)
@pytest.mark.parametrize("name", ["exit-2", "cut-in-a-row", "nothing", "silence"])
def test_dump_program_of_mariadb_compressed_here(old_vault: Vault, mariadb: Box, name: str) -> None:
    with mariadb.dump(FAULTS[name].script):
        fails(old_vault, mariadb, FAULTS[name], compression="client")


@pytest.mark.fault(15)
@pytest.mark.parametrize("name", ZSTD_FAULTS)
def test_zstd_in_the_container(old_vault: Vault, mysql: Box, name: str) -> None:
    with mysql.instead_of("zstd", ZSTD_FAULTS[name].script):
        fails(old_vault, mysql, ZSTD_FAULTS[name])


@pytest.mark.fault(15)
def test_no_dump_program_at_all(old_vault: Vault, engine: Engine, mariadb: Box) -> None:
    files = old_vault.files()
    mariadb.sh("mv /usr/bin/mariadb-dump /usr/bin/hidden")
    try:
        old_vault.run("backup", "now", mariadb.target).failed(mariadb.target, "no mysqldump or mariadb-dump")
        old_vault.backup(mariadb).failed(mariadb.target, "no mysqldump or mariadb-dump")
    finally:
        mariadb.sh("mv /usr/bin/hidden /usr/bin/mariadb-dump")
    assert old_vault.files() == files


def test_failed_first_backup_leaves_no_archive(vault: Vault, mariadb: Box) -> None:
    with mariadb.dump("exit 2"):
        vault.backup(mariadb).failed(mariadb.target, "exit code 2")
    assert [path for path, content in vault.files().items() if content != "folder"] == [
        "dbguard.json",
        f"{mariadb.target}/owner.json",
    ]
    assert vault.listed() == []
    vault.restore(mariadb).failed("no good archive")


def test_runs_leave_no_zombies(vault: Vault, mysql: Box, mariadb: Box) -> None:
    """A server is process 1 in its container and reaps nobody: what a run leaves there stays for ever."""
    for box in (mysql, mariadb):
        before = {one.pid for one in box.running()}
        vault.run("discover", "--project", box.project).succeeded()
        vault.backup(box, DBGUARD_COMPRESSION="client").succeeded()
        vault.backup(box).succeeded()
        wait_until(partial(nothing_new, box, before), "nothing is left behind")


def nothing_new(box: Box, before: set[int]) -> bool:
    return {one.pid for one in box.running()} <= before
