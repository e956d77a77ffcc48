"""Something happens to the database's container while it is backed up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.faults.rig import Box, Result, Vault, wait_until_stopped

pytestmark = [pytest.mark.faults, pytest.mark.docker]


@pytest.fixture(scope="module")
def fragile(filled: Callable[..., Box]) -> Box:
    """A container that no other module's tests use."""
    return filled("mariadb")


@pytest.fixture
def box(fragile: Box) -> Iterator[Box]:
    """In working order before each test."""
    yield fragile
    bring_back(fragile)


def bring_back(box: Box) -> None:
    box.engine.docker("start", box.id)
    box.put_back()
    box.wait_until_ready()


def backup_while(vault: Vault, box: Box, harm: Callable[[], object], **environment: str) -> Result:
    """A backup, and in the middle of its dump this happens to the container."""
    with box.slow_dump():
        process = vault.start("backup", "now", "--project", box.project, **environment)
        box.wait_until_half()
        harm()
        return vault.end(process)


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "harm", [("kill",), ("stop", "--time", "5"), ("restart", "--time", "0")], ids=lambda harm: harm[0]
)
def test_container_ends(vault: Vault, box: Box, harm: tuple[str, ...]) -> None:
    result = backup_while(vault, box, lambda: box.engine.docker(*harm, box.id))
    result.failed(box.target)
    assert vault.listed() == []
    if harm == ("kill",):
        bring_back(box)
        vault.backup(box).succeeded()


@pytest.mark.fault(18)
def test_renamed_container_is_the_same_container(vault: Vault, box: Box) -> None:
    def rename() -> None:
        box.engine.docker("rename", box.id, f"{box.project}-renamed")
        box.go_on()

    backup_while(vault, box, rename).succeeded()
    manifest = json.loads((vault.of(box, vault.listed()[0]) / "manifest.json").read_text())
    assert manifest["source"]["container_id"] == box.id


@pytest.mark.fault(19)
def test_recreated_container_is_another_one(vault: Vault, box: Box) -> None:
    """What `docker compose up` does when something in the file has changed."""
    old = box.id

    def recreate() -> None:
        box.remove()
        box.create()

    backup_while(vault, box, recreate).failed(box.target)
    assert vault.listed() == []
    box.fill()
    vault.backup(box).succeeded()
    manifest = json.loads((vault.of(box, vault.listed()[0]) / "manifest.json").read_text())
    assert manifest["source"]["container_id"] == box.id != old


@pytest.mark.fault(19)
def test_container_recreated_between_find_and_dump(vault: Vault, box: Box) -> None:
    process = vault.start("backup", "now", "--project", box.project, stage="before-dump:STOP")
    wait_until_stopped(process)
    box.remove()
    box.create()
    os.kill(process.pid, signal.SIGCONT)
    vault.end(process).failed(box.target)
    assert vault.listed() == []
    box.fill()


@pytest.mark.fault(17)
def test_container_restarted_after_its_dump_came_to_an_end(vault: Vault, box: Box) -> None:
    """Whatever was asked before and after the dump is then not about the same run of the server."""
    process = vault.start("backup", "now", "--project", box.project, stage="after-dump:STOP")
    wait_until_stopped(process)
    box.engine.docker("restart", "--time", "0", box.id)
    os.kill(process.pid, signal.SIGCONT)
    vault.end(process).failed(box.target, "restarted during the dump")
    assert vault.listed() == []


@pytest.mark.fault(23)
def test_paused_container_stalls(vault: Vault, box: Box) -> None:
    try:
        result = backup_while(vault, box, lambda: box.engine.docker("pause", box.id), DBGUARD_STALL="2s")
    finally:
        box.engine.docker("unpause", box.id)
    result.failed(box.target, "stalled")
    assert vault.listed() == []
    box.wait_until_idle()


def test_server_ends_the_session_of_the_dump(vault: Vault, box: Box) -> None:
    def end_sessions() -> None:
        others = "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> CONNECTION_ID()"
        for (session,) in box.sql(others):
            box.sql(f"KILL {session}")
        box.go_on()

    backup_while(vault, box, end_sessions).failed(box.target, "exit code")
    assert vault.listed() == []
    box.wait_until_idle()


@pytest.mark.fault(47, 48)
def test_table_dropped_before_the_dump_came_to_it(vault: Vault, box: Box) -> None:
    def drop() -> None:
        box.sql("DROP TABLE shop.b")
        box.go_on()

    try:
        backup_while(vault, box, drop, DBGUARD_BLOCK_DDL="never").failed(box.target, "shop.b")
    finally:
        box.sql("CREATE TABLE shop.b (i INT PRIMARY KEY)")
    assert vault.listed() == []
