"""A compose project with a sidecar, run as a user would run it: in its folder, with dbguard on the host."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "only-for-this-test"
_OFF = {"DBGUARD_VERIFY__WHEN": "off"}
_SET = '      DBGUARD_KEEP_LAST: "7"\n'
_NOT_VERIFIED = '      DBGUARD_VERIFY__WHEN: "off"\n'
TABLE = """
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE shop.t (a INT PRIMARY KEY);
INSERT INTO shop.t VALUES (1), (2), (3);
"""


class Stack:
    """The demo's compose file, or another one with a service `db` and a service `backup`."""

    def __init__(self, folder: Path, image: str, compose: str | None = None, *, verify: bool = False) -> None:
        """Unless `verify` is given, the default, which verifies every backup and takes seconds for it, is off."""
        self.folder = folder
        self.project = f"dbguard-test-{secrets.token_hex(4)}"
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "DEMO_DATABASE_IMAGE": os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7"),
            "DEMO_DBGUARD_IMAGE": image,
            "HOME": str(folder / "home"),
        }
        self.environment |= {} if verify else _OFF
        text = compose or (ROOT / "examples/demo/compose.yaml").read_text()
        (folder / "compose.yaml").write_text(text if verify else text.replace(_SET, _SET + _NOT_VERIFIED))
        (folder / "root_password.txt").write_text(PASSWORD)
        (folder / "backups").mkdir()

    def here(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)

    def compose(self, *argv: str) -> str:
        done = self.here("docker", "compose", *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dbguard(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.here(sys.executable, "-m", "dbguard", *argv)

    def archives(self) -> list[str]:
        done = self.dbguard("list", "--json")
        assert done.returncode == 0, done.stderr
        return [str(archive["id"]) for archive in json.loads(done.stdout)["archives"]]

    def stored(self) -> list[str]:
        """Archive ids in the bind-mounted folder, read without dbguard."""
        return sorted((path.parent.name for path in self.folder.glob("backups/*/db/*/manifest.json")), reverse=True)

    def sql(self, text: str) -> str:
        argv = ["docker", "compose", "exec", "-T", "-e", f"MYSQL_PWD={PASSWORD}", "db", "mysql", "-uroot", "-N"]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, input=text, capture_output=True, text=True, check=True
        )
        return done.stdout

    def up_with_data(self) -> None:
        """The database first, then the sidecar, so that its first backup finds something."""
        self.compose("up", "-d", "--wait", "db")
        self.sql(TABLE)
        self.compose("up", "-d")
        wait_until(lambda: bool(self.stored()), "the sidecar's first backup")


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.2)


def sidecar_image() -> str:
    """Builds it, or finds it built."""
    built = subprocess.run([ROOT / "tests/testbed/sidecar-image"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return built.stdout.split()[-1]


QUICK = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")
QUICK_TABLE = "CREATE DATABASE IF NOT EXISTS shop; CREATE OR REPLACE TABLE shop.t (a INT PRIMARY KEY);"


class QuickStack(Stack):
    """For what does not depend on the engine: a server that starts quickly. Change `services`, and `write` them."""

    def __init__(self, folder: Path, image: str, *, socket: str = "/var/run/docker.sock") -> None:
        self.services: dict[str, Any] = {"db": quick_service(), "backup": _sidecar(socket)}
        super().__init__(folder, image, self._text)

    @property
    def _text(self) -> str:
        """JSON is YAML."""
        return json.dumps({"services": self.services, "volumes": {"data": {}}}, indent=1)

    def write(self) -> None:
        (self.folder / "compose.yaml").write_text(self._text)

    def container(self, service: str = "backup") -> str:
        return self.compose("ps", "--all", "--quiet", service).strip()

    def fill(self, service: str = "db") -> None:
        self.compose("exec", "-T", "-e", f"MYSQL_PWD={PASSWORD}", service, "mariadb", "-uroot", "-e", QUICK_TABLE)

    def up_with_data(self) -> None:
        self.compose("up", "-d", "--wait", "db")
        self.fill()
        self.compose("up", "-d")
        wait_until(lambda: bool(self.archives_of("db")), "the sidecar's first backup")

    def archives_of(self, service: str) -> list[Path]:
        """The folders of its finished archives, oldest first, seen without dbguard."""
        found = self.folder.glob(f"backups/*/{service}/*/manifest.json")
        return sorted((path.parent for path in found), key=lambda path: path.name)


def quick_service(**labels: str) -> dict[str, Any]:
    """A database of its own; its labels are given as `keep_last="2"` for `dbguard.keep-last`."""
    return {
        "image": QUICK,
        "environment": {"MARIADB_ROOT_PASSWORD": PASSWORD},
        "labels": {f"dbguard.{name.replace('_', '-')}": value for name, value in labels.items()},
        "stop_grace_period": "5s",
        "healthcheck": {
            "test": ["CMD-SHELL", f'MYSQL_PWD={PASSWORD} mariadb -h 127.0.0.1 -u root -e "SELECT 1"'],
            "interval": "1s",
            "retries": 120,
        },
    }


def _sidecar(socket: str) -> dict[str, Any]:
    return {
        "image": "${DEMO_DBGUARD_IMAGE}",
        "environment": {"DBGUARD_SCHEDULE": "30 3 1 1 *"} | _OFF,
        "stop_grace_period": "5s",
        "volumes": [f"{socket}:/var/run/docker.sock", "./backups:/backups"],
    }
