"""What the guard says would die, beside what really dies: argument forms, tiny projects, each real Compose.

A form is a line of matrix.txt: who runs it, in which project, and the words as a shell would take them. The oracle is
`docker volume ls` before and after the real run. Nothing is ever started in these projects, so one costs a second.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from dbguard import compose, removal
from dbguard.compose import Deleting
from dbguard.compose.program import Program
from dbguard.containers import Containers
from dbguard.errors import DbguardError

TESTBED = Path(__file__).parent / "testbed"
IMAGE = "dbguard-test/mysql-empty:1"
"""No file in it, an anonymous volume of every container, and a name that the guard takes for a database's."""

WHO = {"226": "2.26", "240": "2.40", "s240": "2.40", "v1": "v1", "docker": "2.40"}
"""`docker compose` of two versions, `docker-compose` of versions 2 and 1, and `docker` itself."""

SERVICE = f'{{image: "{IMAGE}", network_mode: none, labels: {{dbguard-test: "1"}}'
COMPOSE = f"""
services:
  db: {SERVICE}, volumes: ["dbdata:/data"]}}
  anon: {SERVICE}}}
  web: {SERVICE}, volumes: ["webdata:/data"], depends_on: [db]}}
  adm: {SERVICE}, volumes: ["admdata:/data"], profiles: [tools]}}
  two: {SERVICE}, volumes: ["dbdata:/data", "./:/here"]}}
volumes:
  dbdata: {{labels: {{dbguard-test: "1"}}}}
  webdata: {{labels: {{dbguard-test: "1"}}}}
  admdata: {{labels: {{dbguard-test: "1"}}}}
  named: {{name: PROJECT_by_hand}}
  ext: {{external: true, name: PROJECT_ext}}
  unused: {{labels: {{dbguard-test: "1"}}}}
"""


@functools.cache
def home(version: str) -> Path:
    """The folder of one Compose, see tests/testbed/compose."""
    done = subprocess.run([TESTBED / "compose", version], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@functools.cache
def image() -> str:
    changes = ["--change=VOLUME /anon", '--change=CMD ["/nothing"]', "--change=LABEL dbguard-test=1"]
    empty = bytes(10240)  # an empty tar
    subprocess.run(["docker", "import", *changes, "-", IMAGE], input=empty, capture_output=True, check=True)
    return IMAGE


@functools.cache
def engine() -> Containers:
    return Containers.connect()


@dataclass(frozen=True)
class Form:
    """One line of the table, for one program."""

    who: str
    project: str
    line: str
    sampled: bool

    def __str__(self) -> str:
        return f"{self.who} {self.project}: {self.line}"


def forms() -> Iterator[Form]:
    """Every form of the table with everybody who runs it. A star marks those that are in the sample."""
    for line in (Path(__file__).parent / "matrix.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            who, project, words = re.split(" +", line, maxsplit=2)
            for one in who.strip("*").split(","):
                yield Form(who=one, project=project, line=words, sampled=who.startswith("*"))


class Passed(BaseException):
    """The guard would have become the program."""


@dataclass
class Outcome:
    """What was said and what happened."""

    form: Form
    announced: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # announced, and held by somebody who stays
    left: set[str] = field(default_factory=set)  # said to be left behind
    refused: str = ""
    died: set[str] = field(default_factory=set)
    abandoned: set[str] = field(default_factory=set)  # alive, held before and not any more
    code: int = 0
    said: str = ""

    def wrong(self) -> str:
        """What is wrong with it; empty when it is as it should be."""
        if self.refused:
            return f"refused: {self.refused}" if self.code == 0 else ""
        if self.code != 0 and self.died <= self.announced:
            return ""  # it gave up: v1 does at the first volume that is held, all do at what they do not understand
        if self.died != self.announced - self.held:
            return f"announced {sorted(self.announced - self.held)}, died {sorted(self.died)}"
        if self.died - self.announced:
            return f"died unannounced: {sorted(self.died - self.announced)}"
        if self.code == 0 and not self.announced and self.left != self.abandoned:
            return f"said to be left behind: {sorted(self.left)}, really: {sorted(self.abandoned)}"
        return ""


_ANONYMOUS = re.compile("[0-9a-f]{64}")


class Project:
    """A folder with a Compose file and whatever its kind makes of it."""

    def __init__(self, folder: Path, who: str) -> None:
        self.name = folder.name
        self.folder = folder
        self.who = who
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
        config = home("2.40" if WHO[who] == "v1" else WHO[who])
        self.environment["DOCKER_CONFIG"] = str(config)
        if who in {"v1", "s240"}:
            path = home("v1") if who == "v1" else home("2.40") / "cli-plugins"
            self.environment["PATH"] = f"{path}:{os.environ['PATH']}"
        self._mounted: set[str] = set()  # by its containers, also by those that are gone
        self.write(COMPOSE)

    def write(self, text: str, name: str = "compose.yaml") -> None:
        (self.folder / name).write_text(text.replace("PROJECT", self.name))

    def edit(self, old: str, new: str) -> None:
        text = (self.folder / "compose.yaml").read_text()
        assert old in text
        self.write(text.replace(old, new, 1))

    def run(self, *command: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
        environment = self.environment | more
        return subprocess.run(
            command, cwd=self.folder, env=environment, input=stdin, capture_output=True, timeout=120, check=False
        )

    def made(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout.decode()

    def create(self, *flags: str) -> None:
        self.made("docker", "compose", "--profile=*", *flags, "create")
        self.containers()

    def volume(self, name: str, *labels: str) -> None:
        self.made("docker", "volume", "create", "--label=dbguard-test=1", *(f"--label={one}" for one in labels), name)

    def containers(self) -> list[dict[str, Any]]:
        found = self.made("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.name}").split()
        found += self.made("docker", "ps", "-aq", "--filter", f"name={self.name}").split()
        if not found:
            return []
        containers = list(json.loads(self.run("docker", "inspect", *sorted(set(found))).stdout))
        self._mounted |= {mount.get("Name", "") for one in containers for mount in one["Mounts"]}
        return containers

    def volumes(self) -> dict[str, str]:
        """Of this project, named and anonymous: name to labels, which change when it is made anew."""
        anonymous = {mount.get("Name", "") for one in self.containers() for mount in one["Mounts"]}
        all_volumes = self.all_volumes()
        plain = re.sub("[-_]", "", self.name)
        return {
            name: labels
            for name, labels in all_volumes.items()
            if name in anonymous or name.startswith((self.name, plain)) or f"project={self.name}" in labels
        }

    def all_volumes(self) -> dict[str, str]:
        rows = self.made("docker", "volume", "ls", "--format", "{{.Name}}\t{{.Labels}}").splitlines()
        return {name: ",".join(sorted(labels.split(","))) for name, labels in (row.split("\t") for row in rows)}

    def volumes_named(self, names: Iterable[str]) -> dict[str, str]:
        """Those that are still there."""
        found = self.all_volumes()
        return {name: found[name] for name in names if name in found}

    def held(self) -> set[str]:
        return {mount.get("Name", "") for one in self.containers() for mount in one["Mounts"]}

    def remove(self) -> None:
        volumes = self.volumes().keys() | {name for name in self._mounted if _ANONYMOUS.fullmatch(name)}
        if ids := [one["Id"] for one in self.containers()]:
            self.run("docker", "rm", "-fv", *ids)
        if volumes:
            self.run("docker", "volume", "rm", "-f", *volumes)


# --- kinds of project ---


def _plain(project: Project) -> None:
    project.volume(f"{project.name}_by_hand")
    project.volume(f"{project.name}_ext")
    project.create()
    project.volume(
        f"{project.name}_stray", f"com.docker.compose.project={project.name}", "com.docker.compose.volume=stray"
    )


def _changed(project: Project) -> None:
    """The definition of a volume differs from the one it was made by."""
    _plain(project)
    project.edit("webdata: {labels: {", "webdata: {labels: {changed: yes, ")


def _dropped(project: Project) -> None:
    """A service and its volume are no longer in the file."""
    _plain(project)
    text = (project.folder / "compose.yaml").read_text()
    kept = [line for line in text.splitlines() if not line.strip().startswith(("web:", "webdata:"))]
    project.write("\n".join(kept))


def _broken(project: Project) -> None:
    _plain(project)
    project.write("services: [")


def _broken_named(project: Project) -> None:
    _broken(project)
    project.write(f"COMPOSE_PROJECT_NAME={project.name}\n", ".env")


def _removed(project: Project) -> None:
    """The containers are gone, the volumes are there."""
    _plain(project)
    project.made("docker", "compose", "--profile=*", "down")


def _half(project: Project) -> None:
    """The container of db is gone."""
    _plain(project)
    project.made("docker", "compose", "rm", "-fs", "db", "two")


def _held(project: Project) -> None:
    """A container outside holds a volume."""
    _plain(project)
    name = f"{project.name}-outside"
    project.made("docker", "create", "--name", name, "-v", f"{project.name}_webdata:/x", IMAGE)


def _scaled(project: Project) -> None:
    project.volume(f"{project.name}_by_hand")
    project.volume(f"{project.name}_ext")
    project.made("docker", "compose", "--profile=*", "create", "--scale", "anon=3")


def _legacy(project: Project) -> None:
    """A volume named as Compose before 1.21 did."""
    _plain(project)
    project.volume(f"{re.sub('[-_]', '', project.name)}_dbdata")


def _own(project: Project) -> None:
    """Everything is made by Compose 1 itself, a one-off container too."""
    project.volume(f"{project.name}_by_hand")
    project.volume(f"{project.name}_ext")
    compose_v1 = str(home("v1") / "docker-compose")
    project.made(compose_v1, "--profile", "tools", "up", "--no-start")
    project.run(compose_v1, "run", "-T", "anon", "/x")


def _one_off(project: Project) -> None:
    """A container of `run` that has ended."""
    _plain(project)
    project.run("docker", "compose", "run", "-T", "anon", "/x")


def _files(project: Project) -> None:
    """The file has another name, and a second one changes it."""
    _plain(project)
    (project.folder / "compose.yaml").rename(project.folder / "a.yaml")
    project.write("services: {extra: " + SERVICE + ', volumes: ["extra:/x"]}}\nvolumes: {extra: {}}\n', "b.yaml")
    project.volume(f"{project.name}_extra")


def _interpolated(project: Project) -> None:
    """A variable that must be set is not set where the deletion runs."""
    _plain(project)
    project.edit("services:", 'x-needed: "${NEEDED:?it must be set}"\nservices:')


KINDS: dict[str, Callable[[Project], None]] = {
    "plain": _plain,
    "changed": _changed,
    "dropped": _dropped,
    "broken": _broken,
    "named": _broken_named,
    "removed": _removed,
    "half": _half,
    "held": _held,
    "scaled": _scaled,
    "legacy": _legacy,
    "own": _own,
    "oneoff": _one_off,
    "files": _files,
    "unset": _interpolated,
}


# --- one form ---


@dataclass(frozen=True)
class Line:
    """The words of a form: environment, stdin, arguments."""

    environment: dict[str, str]
    stdin: bytes
    args: list[str]

    @classmethod
    def of(cls, form: Form, project: Project) -> Line:
        words = shlex.split(form.line.replace("{p}", project.name).replace("{a}", _anonymous(project, form)))
        stdin = b""
        if words[:2] == ["yes", "|"]:
            words, stdin = words[2:], b"y\n" * 100
        if words[-2:-1] == ["<"]:
            words, stdin = words[:-2], (project.folder / words[-1]).read_bytes()
        environment: dict[str, str] = {}
        while words and re.match("[A-Z_]+=", words[0]):
            key, _, value = words.pop(0).partition("=")
            environment[key] = value
        return cls(environment=environment, stdin=stdin, args=words)


def _anonymous(project: Project, form: Form) -> str:
    """The anonymous volume of the container anon, where the form names it."""
    if "{a}" not in form.line:
        return ""
    mounts = [one["Mounts"] for one in project.containers() if one["Name"].endswith("anon-1")]
    return next(str(mount["Name"]) for mount in mounts[0] if mount["Destination"] == "/anon")


def outcome(form: Form, folder: Path | None = None) -> Outcome:
    """Makes the project, asks the guard, runs the command in earnest and looks."""
    image()
    result = Outcome(form=form)
    name = f"mx-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(dir=folder) as parent:
        place = Path(parent) / name
        place.mkdir()
        project = Project(place, form.who)
        try:
            KINDS[form.project](project)
            measure(project, Line.of(form, project), result)
        finally:
            project.remove()
    return result


def measure(project: Project, line: Line, result: Outcome) -> None:
    before, held = project.volumes(), project.held()
    _announce(project, line, result, set(before))
    program = {"v1": ["docker-compose"], "s240": ["docker-compose"], "docker": ["docker"]}
    command = [*program.get(project.who, ["docker", "compose"]), *line.args]
    done = project.run(*command, stdin=line.stdin, **line.environment)
    after = project.volumes_named(before)
    result.code, result.said = done.returncode, done.stderr.decode()
    result.died = {name for name, labels in before.items() if after.get(name) != labels}
    result.abandoned = {name for name in (held - project.held()) & set(after) if _ANONYMOUS.fullmatch(name)}


def _announce(project: Project, line: Line, result: Outcome, known: set[str]) -> None:
    said: list[str] = []
    gate = {
        "v1": compose.standalone_unless_harmless,
        "s240": compose.standalone_unless_harmless,
        "docker": removal.unless_harmless,
    }.get(project.who, compose.plugin_or_standalone)
    try:
        with in_place(project, line):
            command: Deleting = gate(line.args, said.append)
            deletion = command.resolve(engine())
            names = {volume.name for volume in deletion.volumes} & known
            for name in names:
                users = {user.id for user in engine().list(stopped=True, volume=name)}
                if users - set(deletion.containers):
                    result.held.add(name)
            result.announced = names
    except Passed:
        result.left = {match[1] for text in said if (match := re.search("anonymous volume ([0-9a-f]{64})", text))}
    except DbguardError as error:
        result.refused = str(error)


def _pass(*words: object, **more: object) -> NoReturn:
    raise Passed


@contextlib.contextmanager
def in_place(project: Project, line: Line) -> Iterator[None]:
    """This process as the guard would be: folder, environment and stdin of the command."""
    own_stdin, here = os.dup(0), Path.cwd()
    with tempfile.TemporaryFile() as stdin:
        stdin.write(line.stdin)
        stdin.seek(0)
        os.dup2(stdin.fileno(), 0)
        os.chdir(project.folder)
        try:
            with (
                mock.patch.dict(os.environ, project.environment | line.environment, clear=True),
                mock.patch.object(compose, "become", _pass),
                mock.patch.object(removal, "become", _pass),
                mock.patch.object(Program, "become", _pass),
            ):
                yield
        finally:
            os.chdir(here)
            os.dup2(own_stdin, 0)
            os.close(own_stdin)
