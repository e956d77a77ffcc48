"""The disk under the storage is full, read-only, or gone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rig import HALF, Box, Engine, Vault

pytestmark = [pytest.mark.faults, pytest.mark.docker]

PAGE = 4096
SIZE = 24 * PAGE
"""Of the small disk, in bytes; the databases need some 200 KiB, `shop` alone less than a page."""
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
UNAVAILABLE = 69


class Disk:
    """A file system of its own, so small that it is soon full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.mount()

    def mount(self) -> None:
        options = f"size={SIZE},uid={os.geteuid()},mode=0700"
        done = subprocess.run(
            [*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "dbguard-test", str(self.folder)],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            pytest.skip(f"only root can mount a small disk: {done.stderr.strip()}")

    def unmount(self) -> None:
        subprocess.run([*AS_ROOT, "umount", str(self.folder)], check=True)

    def make_read_only(self) -> None:
        subprocess.run([*AS_ROOT, "mount", "-o", "remount,ro", str(self.folder)], check=True)

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    def leave(self, free: int) -> Path:
        """Fills it up to so many bytes; the file to delete afterwards."""
        filler = self.folder / "filler"
        filler.write_bytes(bytes(self.free - free))
        assert self.free == free
        return filler


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    if disk.folder.is_mount():
        disk.unmount()


@pytest.fixture
def on_disk(tmp_path: Path, engine: Engine, disk: Disk) -> Vault:
    """A vault whose storage is a folder on the small disk."""
    vault = Vault(tmp_path / "vault", engine)
    vault.storage = disk.folder
    return vault


def no_dump_ran(box: Box) -> bool:
    return not box.exists(HALF)


@pytest.mark.fault(10)
def test_disk_full_while_the_data_is_written(on_disk: Vault, disk: Disk, mysql: Box) -> None:
    on_disk.backup(mysql).failed("No space left", "the disk is full")
    assert [path for path, content in on_disk.files().items() if content != "folder"] == [
        "dbguard.json",
        f"{mysql.target}/owner.json",
    ]
    assert disk.free == SIZE - 2 * PAGE
    mysql.wait_until_idle()
    on_disk.backup(mysql, "--database", "shop").succeeded()


@pytest.mark.fault(11)
def test_disk_full_while_the_manifest_is_written(on_disk: Vault, disk: Disk, mysql: Box) -> None:
    on_disk.backup(mysql, "--database", "shop").succeeded()
    listed, used = on_disk.listed(), on_disk.of(mysql, on_disk.listed()[0]) / "data.sql.zst"
    assert used.stat().st_size < PAGE - 100
    filler = disk.leave(PAGE)  # the data takes all of it
    before = on_disk.files()
    on_disk.backup(mysql, "--database", "shop").failed("manifest.json", "No space left")
    assert on_disk.files() == before
    assert on_disk.listed() == listed
    assert disk.free == PAGE
    filler.unlink()
    on_disk.backup(mysql, "--database", "shop").succeeded()


@pytest.mark.fault(10)
def test_disk_with_no_room_for_another_archive_is_refused_before_the_dump(
    on_disk: Vault, disk: Disk, mysql: Box
) -> None:
    on_disk.backup(mysql, "--database", "shop").succeeded()
    disk.leave(0)
    before = on_disk.files()
    with mysql.slow_dump():
        on_disk.backup(mysql).failed("0 bytes are free, the last archive took")
        assert no_dump_ran(mysql)
    assert on_disk.files() == before


@pytest.mark.fault(13)
def test_read_only_disk_is_refused_before_the_dump(on_disk: Vault, disk: Disk, mysql: Box) -> None:
    on_disk.backup(mysql, "--database", "shop").succeeded()
    disk.make_read_only()
    before = on_disk.files()
    with mysql.slow_dump():
        on_disk.backup(mysql).failed("Read-only file system")
        assert no_dump_ran(mysql)
    assert on_disk.files() == before
    assert on_disk.run("cat", on_disk.listed()[0]).succeeded().out


@pytest.mark.fault(13)
@pytest.mark.parametrize("how", ["unmounted", "folder gone"])
def test_disk_that_is_not_mounted_is_no_empty_storage(on_disk: Vault, disk: Disk, mysql: Box, how: str) -> None:
    """Nothing may be written to the bare mount point: it would hide, or fill another disk."""
    on_disk.backup(mysql, "--database", "shop").succeeded()
    disk.unmount()
    if how == "folder gone":
        disk.folder.rmdir()
    with mysql.slow_dump():
        on_disk.backup(mysql).failed("mounted?", code=UNAVAILABLE)
        assert no_dump_ran(mysql)
    on_disk.run("list").failed("mounted?", code=UNAVAILABLE)
    on_disk.restore(mysql).failed("mounted?", code=UNAVAILABLE)
    assert not disk.folder.exists() or list(disk.folder.iterdir()) == []


@pytest.mark.fault(13)
def test_disk_that_is_unmounted_during_the_dump(on_disk: Vault, disk: Disk, mysql: Box) -> None:
    """It cannot be while a file on it is open, but its connection can break: the lazy kind comes near to that."""
    with mysql.slow_dump():
        process = on_disk.start("backup", "now", "--project", mysql.project)
        mysql.wait_until_half()
        subprocess.run([*AS_ROOT, "umount", "--lazy", str(disk.folder)], check=True)
        mysql.go_on()
        on_disk.end(process).failed(mysql.target)
    assert list(disk.folder.iterdir()) == []
    mysql.wait_until_idle()


@pytest.mark.fault(10, 13)
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_state_that_cannot_be_written_is_said(vault: Vault, disk: Disk, mysql: Box, fault: str) -> None:
    """Locks and the memory of known storages live outside the storage."""
    vault.state = disk.folder
    if fault == "full":
        disk.leave(0)
    else:
        disk.make_read_only()
    vault.backup(mysql).failed(str(disk.folder), code=78)
    mysql.wait_until_idle()
