"""The script that a throw-away server runs in, with a server and a disk of our own: what it takes, when it ends."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from dbguard import throwaway

MIB = 1024
"""In KiB, as the script counts."""
MOST = 1 << 40
"""KiB of memory that no machine has."""


class Rig:
    """`df` tells what the file `free` says; the server is the shell, and writes down its options."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free = folder / "free"
        self.disk(100 * MIB)
        self._program("df", f'echo head; echo "disk {1000 * MIB} 1 $(cat {self.free}) 1% /"')
        self._program("mysqld", f'case "$*" in *insecure*) ;; *) echo "$*" >{folder}/options; exec sleep 20;; esac')

    def _program(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def disk(self, free: int) -> None:
        (self.folder / "new").write_text(str(free))
        (self.folder / "new").rename(self.free)

    def start(self, *limits: int) -> subprocess.Popen[str]:
        argv = ["sh", "-c", throwaway._SCRIPT, "dbguard", str(self.folder), *map(str, limits), "--user=root"]
        path = {"PATH": f"{self.folder}:/usr/bin:/bin"}
        return subprocess.Popen(argv, env=path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def options(self) -> list[str]:
        end = time.monotonic() + 20
        while not (self.folder / "options").exists():
            assert time.monotonic() < end, "the server never began"
            time.sleep(0.05)
        time.sleep(0.1)
        return (self.folder / "options").read_text().split()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def ended(process: subprocess.Popen[str]) -> str:
    """What it said, having ended by itself; its programs hold no pipe of ours open."""
    process.wait(timeout=20)
    assert process.stderr is not None
    said = process.stderr.readline()
    process.communicate()
    return said


def pool(options: list[str]) -> int:
    [size] = [one.partition("=")[2] for one in options if one.startswith("--innodb-buffer-pool-size=")]
    return int(size.removesuffix("K"))


def test_a_quarter_of_its_memory_is_for_buffers(rig: Rig) -> None:
    process = rig.start(64 * MIB, 1, 0, 0)
    options = rig.options()
    assert (pool(options), "--user=root" in options) == (16 * MIB, True)
    process.communicate()  # the end of its stdin


def test_the_buffers_are_smaller_where_the_host_has_less(rig: Rig) -> None:
    process = rig.start(MOST, 1, 0, 0)
    assert MIB < pool(rig.options()) < MOST // 4
    process.communicate()


def test_without_memory_it_does_not_begin(rig: Rig) -> None:
    said = ended(rig.start(MOST, MOST, 0, 0))
    assert said.startswith("memory: ")
    assert said.endswith(f" MiB left on this host, {MOST // MIB} needed\n")
    assert not (rig.folder / "options").exists()


def test_without_room_it_does_not_begin(rig: Rig) -> None:
    said = ended(rig.start(64 * MIB, 1, 90 * MIB, 20 * MIB))
    assert said == "disk: 100 MiB left on this host, 110 needed\n"
    assert not (rig.folder / "options").exists()


def test_of_a_small_disk_a_twentieth_is_enough_to_leave(rig: Rig) -> None:
    process = rig.start(64 * MIB, 1, 40 * MIB, 1000 * MIB)
    assert rig.options()
    process.communicate()


def test_it_ends_before_the_disk_is_full(rig: Rig) -> None:
    process = rig.start(64 * MIB, 1, 0, 20 * MIB)
    rig.options()
    assert process.poll() is None
    rig.disk(19 * MIB)
    assert ended(process) == "disk: 19 MiB left on this host, 20 needed\n"


def test_it_ends_with_whoever_holds_its_stdin(rig: Rig) -> None:
    process = rig.start(64 * MIB, 1, 0, 0)
    rig.options()
    process.communicate(timeout=10)
    assert process.returncode != 0
