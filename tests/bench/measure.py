"""What a command costs: time, CPU seconds of its process tree, peak memory of the tree."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
_TICK = os.sysconf("SC_CLK_TCK")
_EVERY = 0.1  # seconds between two looks at the memory


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float
    cpu: float
    """CPU seconds of the process tree on the host."""
    peak: int
    """Bytes, resident, of the tree on the host: of all its processes together, what they share counted in each."""
    database: float = 0.0
    """CPU seconds of the database's container: the server, and whatever ran beside it in there."""
    engine: float = 0.0
    """CPU seconds of Docker's own processes."""
    stored: int = 0
    """Bytes on disk afterwards."""

    @property
    def all_cpu(self) -> float:
        return self.cpu + self.database + self.engine


class Failed(Exception):
    """A measured command failed."""


def cost(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run it to its end. Raises Failed."""
    started = time.monotonic()
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        with _Memory(process.pid) as memory, process.stderr:
            said = process.stderr.read().decode(errors="replace")
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        process.kill()  # of no effect once it has ended
    if process.returncode != 0:
        raise Failed(f"{' '.join(argv)[:80]}: {' '.join(said.split())[-300:]}")
    # What wait4 says of memory is no use: it counts in what this process held when it forked.
    return Cost(seconds=time.monotonic() - started, cpu=usage.ru_utime + usage.ru_stime, peak=memory.peak)


def engine_cpu(container: str) -> float:
    """CPU seconds so far of dockerd, containerd and this container's shim; those of an engine in a container not."""
    return sum(_cpu(folder) for folder in Path("/proc").glob("[0-9]*") if _of_engine(folder, container))


def _of_engine(folder: Path, container: str) -> bool:
    try:
        name = (folder / "comm").read_text().strip()
        if name not in {"dockerd", "containerd", "containerd-shim"}:
            return False
        if name == "containerd-shim":
            return container in (folder / "cmdline").read_text()
        return (folder / "ns/pid").readlink() == Path("/proc/self/ns/pid").readlink()
    except OSError:
        return False


def _cpu(folder: Path) -> float:
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK  # utime and stime, see proc(5)


class _Memory:
    """Looks at a process tree from time to time."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        known = {self._pid}
        while True:
            tree = set(_tree(self._pid))
            # A child that is about to exec still shows the memory of its parent: one is counted at the second sight.
            self.peak = max(self.peak, sum(map(_high_water, tree & known)))
            known = tree | {self._pid}
            if self._over.wait(_EVERY):
                return


def _tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for one in found:  # grows as it goes
        with suppress(OSError):  # one that has ended meanwhile
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _high_water(pid: int) -> int:
    """Bytes: the most that the process ever had resident, since its last exec."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.partition(":")[::2] for line in status.splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 if "VmHWM" in lines else 0  # a zombie has no such line
