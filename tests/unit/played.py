"""An engine, a catalogue and a docker command that are played, for what the guard asks of them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dbguard import argv, compose
from dbguard.archive import Archive, Blob, Marks, Owner, Software, Source, Stored, Summary
from dbguard.argv import Invocation
from dbguard.compose import Deleting
from dbguard.compose.program import Program
from dbguard.errors import DbguardError, EngineUnavailable, NotFound
from dbguard.model import Container, Mount, TargetName

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ME, OTHER = "150dbefa-e738-11f1-8c2a-0242ac110003", "ffffffff-e738-11f1-8c2a-0242ac110003"


def archive(
    *, age: timedelta, identity: str = ME, volumes: tuple[str, ...] = ("shop_data",), complete: bool = True
) -> Archive:
    snapshot = NOW - age
    return Archive(
        format=1,
        id=f"{snapshot:%Y%m%dT%H%M%SZ}-7f3a9c",
        target="shop/db",
        owner=Owner(engine_id="E", project="shop", service="db"),
        tool="dbguard 0",
        software=Software(engine="mysql", server_version="9.7", client_version="", image="mysql", image_id=""),
        source=Source(
            container_id="c", container_name="db", volumes=volumes, identity=identity, started=None, settings={}
        ),
        snapshot=snapshot,
        started=snapshot,
        finished=NOW,
        databases=(),
        complete=complete,
        partial_reasons=() if complete else ("only shop was asked for",),
        options=(),
        blobs={"data": Blob(key="data.sql.zst", size=6, sha256="", plain_size=9, plain_sha256="")},
        largest_statement=0,
    )


FRESH = archive(age=3 * MINUTE)


class Engine:
    """As much of `containers.Containers` as the guard looks at."""

    engine_id = "E"

    def __init__(self, *containers: Container, files: Mapping[str, bytes] | None = None) -> None:
        self.containers = list(containers)
        self.files = dict(files or {})
        self.empty: set[str] = set()
        self.refuses = False  # to make a container
        self.origins: dict[str, str] = {}
        self.done: list[str] = []
        self.volumes = {mount.name for container in containers for mount in container.mounts}

    def list(self, *, stopped: bool = False, volume: str | None = None, label: str | None = None) -> list[Container]:
        assert stopped
        if label is not None:
            return []
        return [one for one in self.containers if any(mount.name == volume for mount in one.mounts)]

    def inspect(self, name: str) -> Container:
        for one in self.containers:
            if name in {one.name, one.id}:
                return one
        raise NotFound(name)

    def inspect_all(self, names: Iterable[str]) -> Sequence[Container]:
        return [one for name in names for one in self.containers if name in {one.name, one.id}]

    def read_file(self, container: str, path: str) -> bytes | None:
        del container
        return self.files.get(path)

    def exists(self, container: str, path: str) -> bool:
        return self.read_file(container, path) is not None

    def is_empty(self, container: str, path: str) -> bool:
        del container
        return path in self.empty

    @contextlib.contextmanager
    def looking_into(self, volume: str) -> Iterator[Container]:
        if self.refuses:
            raise EngineUnavailable("a proxy refused it")
        yield (container("onlooker", (volume, "/volume"), image="dbguard/nothing", running=False))

    def volume_origin(self, name: str) -> str:
        return self.origins.get(name, "")

    def stop(self, container: str) -> None:
        self.done.append(f"stop {container}")

    def go_on(self, container: str) -> None:
        self.done.append(f"start {container}")

    def volume_labels(self, name: str) -> dict[str, str] | None:
        return {} if name in self.volumes else None

    def volume_folder(self, name: str) -> str | None:
        return f"/var/lib/docker/volumes/{name}/_data" if name in self.volumes else None


class Shelf:
    """As much of `catalog.Catalog`."""

    url = "file:///backups"

    def __init__(
        self, *archives: Archive, failure: DbguardError | None = None, harm: DbguardError | None = None
    ) -> None:
        self.archives = archives
        self.failure = failure
        self.harm = harm  # of the bytes, which a listing does not show
        self.marks = Marks(verified=True)
        self.marked: list[tuple[str, str, datetime]] = []

    def mark(self, summary: Summary, kind: str, now: datetime) -> None:
        self.marked.append((summary.id, kind, now))

    def chunks(self, archive: Archive, blob: Blob) -> Iterator[bytes]:
        if archive not in self.archives:
            raise NotFound(blob.key)
        yield b"stored"
        if self.harm:
            raise self.harm

    def archive(self, summary: Summary) -> Archive:
        if self.failure:
            raise self.failure
        for one in self.archives:
            if one.summary == summary:
                return one
        raise NotFound(summary.id)

    def targets(self) -> list[TargetName]:
        return sorted({one.name for one in self.archives})

    def listing(self, target: TargetName) -> SimpleNamespace:
        if self.failure:
            raise self.failure
        archives = [Stored(summary=one.summary, marks=self.marks) for one in self.archives if one.target == str(target)]
        return SimpleNamespace(archives=archives, damaged=())


def container(
    name: str, *mounts: tuple[str, str], image: str = "mysql:9.7", anonymous: bool = False, **more: Any
) -> Container:
    project, _, service = name.partition("-")
    return Container(
        id=f"id-{name}",
        name=name,
        image=image,
        image_id="",
        running=more.get("running", True),
        paused=False,
        started="",
        labels={"com.docker.compose.project": project, "com.docker.compose.service": service},
        variables=frozenset(),
        command=more.get("command", ()),
        auto_remove=more.get("auto_remove", False),
        mounts=tuple(
            Mount(kind="volume", name=volume, source="", destination=path, anonymous=anonymous)
            for volume, path in mounts
        ),
    )


MYSQL = container("shop-db", ("shop_data", "/var/lib/mysql"))


# --- the docker command ---

V2 = """ DRY-RUN MODE -  Container shop-db  Stopping
 DRY-RUN MODE -  Container shop-db  Removed
 DRY-RUN MODE -  Volume shop_data  Removing
 DRY-RUN MODE -  Volume shop_data  Removed
 DRY-RUN MODE -  Network shop_default  Resource is still in use
"""
V5 = """ Container shop-db Stopping
 Container shop-db Removed
 Volume shop_data Removing
 Volume shop_data Removed
 Network shop_default Resource is still in use
"""
MODEL = {
    "name": "shop",
    "services": {
        "db": {
            "image": "mysql:9.7",
            "volumes": [{"type": "volume", "source": "data", "target": "/var/lib/mysql", "volume": {}}],
        }
    },
    "volumes": {"data": {"name": "shop_data"}},
}
FAKE_DOCKER = """#!{python}
import json, os, sys
script = json.load(open({script!r}))
with open({log!r}, "a") as log:
    print(json.dumps({{"args": sys.argv[1:], "stdin": sys.stdin.read()}}), file=log)
for word in script:
    if word in sys.argv:
        code, out, err = script[word]
        break
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""

Answers = Mapping[str, tuple[int, str, str]]


class Docker:
    """A `docker` for the PATH. It answers with (code, stdout, stderr) by the first word found in its arguments."""

    def __init__(self, folder: Path) -> None:
        self._script, self.log = folder / "script", folder / "log"
        self.folder = folder / "bin"
        self.folder.mkdir()
        text = FAKE_DOCKER.format(python=sys.executable, script=str(self._script), log=str(self.log))
        (self.folder / "docker").write_text(text)
        (self.folder / "docker").chmod(0o755)
        self.answers({})

    @classmethod
    def on_path(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
        played = cls(folder)
        monkeypatch.setenv("PATH", f"{played.folder}:{os.environ['PATH']}")
        monkeypatch.delenv("COMPOSE_FILE", raising=False)
        return played

    def answers(self, answers: Answers) -> None:
        """These first, then those of a stack with one database."""
        standard = {"info": (0, "E\n", ""), "config": (0, json.dumps(MODEL), ""), "--dry-run": (0, "", V2)}
        others = {word: said for word, said in standard.items() if word not in answers}
        self._script.write_text(json.dumps({**answers, **others}))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line)["args"] for line in self.log.read_text().splitlines()] if self.log.exists() else []


def program(line: str) -> Program:
    words = shlex.split(line)
    invocation = argv.parse(words)
    assert isinstance(invocation, Invocation)
    return Program(invocation=invocation, words=("docker", "compose", *words))


def command(line: str) -> Deleting:
    """What the gate makes of a line that may delete."""
    return compose.unless_harmless(argv.parse(shlex.split(line)), ("docker", "compose", *shlex.split(line)), print)
