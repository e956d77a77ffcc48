"""The ways to take a backup, and how they are measured in turn."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.measure import Cost, Failed, cost, engine_cpu
from tests.bench.server import DUMP, Server

LIMIT = "mysqldump > /dev/null, in the container"
GZIP = "docker exec mysqldump | gzip"
ZSTD = "docker exec mysqldump | zstd -3"
OURS = "dbguard backup now"


@dataclass(frozen=True, kw_only=True)
class Way:
    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of this process's own."""
    folder: Path
    """Where it stores; made empty before every run."""
    before: Sequence[str] = ()
    """What makes a repository there. Not measured."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A way that cannot be measured here."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    name: str
    runs: Sequence[Cost]
    """Empty when there is a reason."""
    reason: str = ""


def run(way: Way, server: Server) -> Cost:
    """One backup into an empty folder. Raises Failed."""
    shutil.rmtree(way.folder, ignore_errors=True)
    way.folder.mkdir(parents=True)
    environment = os.environ | way.environment
    if way.before:
        cost(way.before, environment)
    bare = measured(way.argv, environment, server)
    return replace(bare, stored=sum(path.stat().st_size for path in way.folder.rglob("*") if path.is_file()))


def measured(argv: Sequence[str], environment: Mapping[str, str], server: Server) -> Cost:
    """One command, with what it cost the database and the engine. Raises Failed."""
    os.sync()  # what earlier runs left to write is not this one's
    database, engine = server.cpu(), engine_cpu(server.container)
    bare = cost(argv, environment)
    return replace(bare, database=server.cpu() - database, engine=engine_cpu(server.container) - engine)


def interleave(ways: Sequence[Way | Missing], server: Server, rounds: int) -> Sequence[Outcome]:
    """All ways, round by round. One that fails is out, with its reason; the others go on."""
    runs: dict[str, list[Cost]] = {way.name: [] for way in ways}
    reasons = {way.name: way.reason for way in ways if isinstance(way, Missing)}
    for _ in range(rounds):
        for way in ways:
            if isinstance(way, Missing) or way.name in reasons:
                continue
            try:
                runs[way.name].append(run(way, server))
                print(f"{way.name:<50} {runs[way.name][-1].seconds:6.1f} s", flush=True)
            except Failed as failed:
                reasons[way.name] = f"failed: {failed}"
                print(f"{way.name}: {failed}", file=sys.stderr)
    return [
        Outcome(name=name, runs=[] if name in reasons else runs[name], reason=reasons.get(name, "")) for name in runs
    ]


def limit(server: Server, home: Path) -> Way:
    return Way(name=LIMIT, argv=server.command("sh", "-c", f"{shlex.join(DUMP)} > /dev/null"), folder=home / "limit")


def gzip_pipe(server: Server, home: Path) -> Way:
    return _pipe(GZIP, server, home / "gzip", "gzip")


def zstd_pipe(server: Server, home: Path) -> Way:
    return _pipe(ZSTD, server, home / "zstd", "zstd -q -3")


def _pipe(name: str, server: Server, folder: Path, compressor: str) -> Way:
    line = f"{shlex.join(server.command(*DUMP))} | {compressor} > {folder}/dump"
    return Way(name=name, argv=["bash", "-o", "pipefail", "-c", line], folder=folder)


class Dbguard:
    """The real command line. Its state is where its storage is: it would miss the backups of an emptied folder."""

    def __init__(self, server: Server, home: Path) -> None:
        self._server = server
        self._folder = home / "dbguard"
        self._environment = {
            "DBGUARD_STORAGE": (self._folder / "storage").as_uri(),
            "COMPOSE_PROJECT_NAME": server.project,
            "DBGUARD_STATE": str(self._folder / "state"),
            "DBGUARD_VERIFY__WHEN": "off",
        }

    def backup(self, name: str = OURS, **settings: str) -> Way:
        return Way(
            name=name,
            # Of the whole project, which is this one server: a named target would be looked for in the whole engine.
            argv=[sys.executable, "-m", "dbguard", "backup", "now"],
            environment=self._environment | {f"DBGUARD_{key.upper()}": value for key, value in settings.items()},
            folder=self._folder,
        )

    def restore(self) -> Cost:
        """Of the newest backup, after the loss of the database."""
        self._server.sql("DROP DATABASE bench")
        way = self.loading("restore")
        return cost(way.argv, os.environ | way.environment)

    def loading(self, verb: str, name: str = "", **settings: str) -> Way:
        """`restore` or `verify` of the newest backup."""
        yes = ["--yes"] if verb == "restore" else []
        return Way(
            name=name or verb,
            argv=[sys.executable, "-m", "dbguard", verb, self._server.target, "--latest", *yes],
            environment=self._environment | {f"DBGUARD_{key.upper()}": value for key, value in settings.items()},
            folder=self._folder,
        )

    @staticmethod
    def version() -> str:
        argv = [sys.executable, "-m", "dbguard", "--version"]
        return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.replace(", version", "").strip()
