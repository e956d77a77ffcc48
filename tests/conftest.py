"""Fixtures for tests that need real servers and the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import KINDS, Server, Servers, docker, remove_container

Fresh = Callable[..., Server]


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def succeeded(self) -> Result:
        assert self.code == 0, f"exit code {self.code}\n{self.err}\n{self.out}"
        return self


class Dbguard:
    """The real command, with a home and a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = folder / "backups"
        kept = ("PATH", "DOCKER_CONFIG", "DOCKER_HOST", "LANG")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {"HOME": str(folder / "home"), "DBGUARD_STORAGE": f"file://{self.storage}"}
        self.environment["DBGUARD_VERIFY__WHEN"] = "off"  # each takes seconds: those who mean it say so
        for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
            self.environment[f"XDG_{kind}_HOME"] = str(folder / "home" / kind.lower())

    def __call__(
        self, *words: str, environment: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 300
    ) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "dbguard", *words],
            cwd=self.folder,
            env=self.environment | dict(environment or {}),
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
        )
        return Result(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode())

    def archives(self) -> list[Path]:
        """The folders of all finished archives, oldest first."""
        return sorted((path.parent for path in self.storage.rglob("manifest.json")), key=lambda path: path.name)

    def manifest(self) -> Any:
        """That of the newest archive."""
        return json.loads((self.archives()[-1] / "manifest.json").read_text())


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this test run; none runs before a test asks for it, and none after the last test."""
    docker("version")
    servers = Servers()
    try:
        yield servers
    finally:
        servers.remove()


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """Each kind of server in turn, shared by the tests of a run, without any database."""
    return servers.get(request.param)


@pytest.fixture
def fresh(servers: Servers) -> Iterator[Fresh]:
    """Starts new servers that live as long as the test: `fresh(kind, '--server-argument', environment={…})`."""
    started: list[Server] = []

    def start(*words: str, **options: Any) -> Server:
        started.append(servers.fresh(*words, **options))
        return started[-1]

    yield start
    for server in started:
        remove_container(server.container)


@pytest.fixture
def dbguard(tmp_path: Path) -> Dbguard:
    return Dbguard(tmp_path)
