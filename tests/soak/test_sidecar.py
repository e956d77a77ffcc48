"""Ten rounds of fifty databases with one sidecar: 500 backups, and nothing of it grows or stays."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.soak]

DATABASES = 50
ROUNDS = 10
PARALLEL = 3
SETTLED = 2
"""Rounds after which memory is what it will be."""
MORE_MEMORY = 8 << 20

SERVICE = """
  db{number:02}:
    image: {image}
    command: [mariadbd, --innodb-buffer-pool-size=8M, --performance-schema=OFF, --key-buffer-size=1M]
    environment: {{MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: "1", MARIADB_DATABASE: shop}}
    labels: {{dbguard-test: "1"}}
"""


THINGS = {
    "containers": ("ps", "--all", "--quiet", "--filter", "label=dbguard.role"),
    "networks": ("network", "ls", "--quiet"),
    "volumes": ("volume", "ls", "--quiet", "--filter", "dangling=true"),
}


class Fleet:
    """A compose project of many small databases, and `dbguard run` in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"dbguard-test-{secrets.token_hex(4)}"
        image = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")
        services = "".join(SERVICE.format(number=number, image=image) for number in range(DATABASES))
        (folder / "compose.yaml").write_text(f"name: {self.project}\nservices:{services}")
        self.environment = os.environ | {
            "HOME": str(folder / "home"),
            "DBGUARD_STORAGE": str(folder / "backups"),
            "DBGUARD_STATE": str(folder / "state"),
            "DBGUARD_SCHEDULE": "* * * * *",
            "DBGUARD_PARALLEL": str(PARALLEL),
            "DBGUARD_KEEP_LAST": "3",
            "DBGUARD_LOG": "json",
            "DBGUARD_VERIFY__WHEN": "off",
            "COMPOSE_PARALLEL_LIMIT": "4",
        }
        self.log = folder / "log"

    def docker(self, *argv: str) -> str:
        done = subprocess.run(["docker", *argv], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def run(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "dbguard", "run"]
        with self.log.open("ab") as log:
            return subprocess.Popen(argv, cwd=self.folder, env=self.environment, stderr=log)

    def saved(self) -> Counter[str]:
        """How many backups of each target the log speaks of."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return Counter(line["target"] for line in lines if line["event"].startswith("saved "))

    def things(self) -> dict[str, set[str]]:
        """All that the engine could keep for us, but for what Compose has made."""
        return {kind: set(self.docker(*list_).split()) - set(self._compose(list_)) for kind, list_ in THINGS.items()}

    def _compose(self, list_: tuple[str, ...]) -> list[str]:
        return self.docker(*list_, "--filter", "label=com.docker.compose.project").split()

    def execs(self) -> list[str]:
        """Those that still run in the databases."""
        ids = self.docker("compose", "ps", "--quiet").split()
        return re.findall(r"[0-9a-f]{64}", self.docker("inspect", "--format", "{{json .ExecIDs}}", *ids))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.docker("compose", "down", "--volumes", "--timeout", "1")


def test_five_hundred_backups_of_fifty_databases_leave_nothing_behind(fleet: Fleet) -> None:
    fleet.docker("compose", "up", "--detach")
    before = fleet.things()
    process = fleet.run()
    try:
        started = time.monotonic()
        sizes = live(fleet, process)
        seconds = time.monotonic() - started
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 143
    print(json.dumps({"sizes": sizes[:: max(1, len(sizes) // 20)], "seconds": seconds}))
    saved = fleet.saved()
    assert len(saved) == DATABASES
    assert min(saved.values()) >= ROUNDS - 1
    assert sum(saved.values()) >= DATABASES * ROUNDS
    assert 2 <= max(size["runs"] for size in sizes) <= PARALLEL, "side by side, and never more than so many"
    settled = sizes[len(sizes) * SETTLED // ROUNDS :]
    assert settled[-1]["memory"] - settled[0]["memory"] < MORE_MEMORY
    assert settled[-1]["files"] - settled[0]["files"] <= PARALLEL * 2
    assert settled[-1]["threads"] - settled[0]["threads"] <= PARALLEL * 2
    assert {kind: now - before[kind] for kind, now in fleet.things().items()} == {kind: set() for kind in THINGS}
    assert fleet.execs() == []
    assert not [*fleet.folder.rglob("*.tmp*")]


def live(fleet: Fleet, process: subprocess.Popen[bytes]) -> list[dict[str, int]]:
    """Until the backups are made; what the sidecar took up, looked at again and again."""
    sizes: list[dict[str, int]] = []

    def enough() -> bool:
        assert process.poll() is None, "the sidecar has ended"
        sizes.append(size(process.pid))
        return len(fleet.saved()) == DATABASES and sum(fleet.saved().values()) >= DATABASES * ROUNDS

    wait_until(enough, "500 backups", seconds=40 * 60)
    return sizes


def size(pid: int) -> dict[str, int]:
    proc = Path(f"/proc/{pid}")
    status = dict(re.findall(r"(\w+):\s+(\d+)", (proc / "status").read_text()))
    children = (proc / f"task/{pid}/children").read_text().split()
    return {
        "memory": int(status["VmRSS"]) << 10,
        "threads": int(status["Threads"]),
        "files": len(list((proc / "fd").iterdir())),
        "runs": len(children),
    }
