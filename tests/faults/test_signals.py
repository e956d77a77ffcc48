"""dbguard is killed or told to stop, at each stage of its work."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.rig import Box, Result, Vault

pytestmark = [pytest.mark.faults, pytest.mark.docker]

SIGNALS = {"KILL": -signal.SIGKILL, "TERM": 128 + signal.SIGTERM, "INT": 128 + signal.SIGINT}
"""How the process ends: 130 and 143 are documented."""


def ended_by(result: Result, name: str) -> None:
    assert result.code == SIGNALS[name], result.err
    assert "Traceback" not in result.err
    if name != "KILL":
        assert len([line for line in result.err.splitlines() if line.startswith("dbguard: ")]) == 1


def nothing_changed(vault: Vault, before: dict[str, str], name: str) -> None:
    """Only what SIGKILL left behind may be new, and it must not look like an archive."""
    new = {path: content for path, content in vault.files().items() if before.get(path) != content}
    if name != "KILL":
        assert new == {}
    assert not [path for path in new if path.endswith("manifest.json")]


@pytest.mark.fault(1, 4, 5, 8)
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("stage", ["discovery", "before-dump", "before-manifest", "during-manifest"])
def test_backup(old_vault: Vault, mysql: Box, stage: str, name: str) -> None:
    files, both = old_vault.files(), old_vault.both()
    ended_by(old_vault.backup(mysql, stage=f"{stage}:{name}"), name)
    nothing_changed(old_vault, files, name)
    assert old_vault.both() == both
    mysql.wait_until_idle()


@pytest.mark.fault(2, 8)
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_backup_in_the_middle_of_the_dump(
    request: pytest.FixtureRequest, old_vault: Vault, kind: str, name: str
) -> None:
    """Also after SIGKILL, when nobody is left to clean up, the dump in the container ends."""
    box: Box = request.getfixturevalue(kind)
    files = old_vault.files()
    with box.slow_dump():
        process = old_vault.start("backup", "now", "--project", box.project)
        box.wait_until_half()
        assert box.dump_program in str(box.running())
        os.kill(process.pid, getattr(signal, f"SIG{name}"))
        ended_by(old_vault.end(process), name)
        box.wait_until_idle()
    nothing_changed(old_vault, files, name)


@pytest.mark.fault(1, 4, 5)
def test_next_backup_after_sigkill_succeeds(vault: Vault, mariadb: Box) -> None:
    """The lock is free, and what lies there unfinished is not counted as an archive."""
    for stage in ("before-dump", "before-manifest", "during-manifest"):
        ended_by(vault.backup(mariadb, stage=f"{stage}:KILL"), "KILL")
    vault.backup(mariadb).succeeded()
    good, damaged = vault.both()
    assert (len(good), damaged) == (1, [])


@pytest.mark.fault(5)
def test_sigkill_just_after_publishing_leaves_a_whole_archive(vault: Vault, mariadb: Box) -> None:
    ended_by(vault.backup(mariadb, stage="after-publishing:KILL"), "KILL")
    (archive,) = vault.listed()
    assert b"-- Dump completed" in vault.run("cat", archive).succeeded().out


@pytest.mark.fault(8)
def test_sigterm_just_after_publishing_takes_it_back(vault: Vault, mariadb: Box) -> None:
    """It says that nothing was published, so nothing may be there."""
    ended_by(vault.backup(mariadb, stage="after-publishing:TERM"), "TERM")
    assert vault.both() == ([], [])


@pytest.mark.fault(6)
def test_sigkill_while_taking_it_back(vault: Vault, mariadb: Box) -> None:
    """Never an archive that is listed without its data."""
    ended_by(vault.backup(mariadb, stage="after-publishing:TERM,after-deleting:KILL"), "KILL")
    assert vault.both() == ([], [])


@pytest.mark.fault(7, 8)
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("stage", ["discovery", "before-load", "during-load"])
def test_restore(old_vault: Vault, mariadb: Box, stage: str, name: str) -> None:
    """Into a new name: it does not exist afterwards; after SIGKILL in mid-load it may, and the next run replaces it."""
    choice = ("--latest", "--database", "bulk:copy")
    tables = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('bulk', 'shop')"
    present = mariadb.sql(tables)
    ended_by(old_vault.restore(mariadb, *choice, stage=f"{stage}:{name}"), name)
    mariadb.wait_until_idle()
    if (stage, name) != ("during-load", "KILL"):
        assert mariadb.sql("SHOW DATABASES LIKE 'copy'") == []
    assert mariadb.sql(tables) == present
    if stage == "during-load":
        old_vault.restore(mariadb, *choice, "--replace").succeeded()
        assert mariadb.sql("SELECT COUNT(*) FROM copy.noise") == [["1200"]]
        mariadb.sql("DROP DATABASE copy")


def test_debug_shows_where_and_keeps_the_exit_code(vault: Vault, mariadb: Box) -> None:
    result = vault.run("--debug", "backup", "now", "--project", mariadb.project, stage="before-manifest:TERM")
    assert result.code == 128 + signal.SIGTERM
    assert "Traceback" in result.err
