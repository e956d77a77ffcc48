"""`docker compose` itself: becoming it, and asking it which volumes a command would delete."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dbguard import argv
from dbguard.argv import Invocation, Unparsable
from dbguard.errors import EngineUnavailable, NotFound, Refused
from dbguard.model import Container

if TYPE_CHECKING:  # docker takes 80 ms to import, which a command that deletes nothing need not wait for
    from dbguard.containers import Containers

_EVENT = re.compile(r'(?:^|DRY-RUN MODE -) *(Container|Network|Volume|Image) +"?([^\s"]+)"? +(\w+)', re.MULTILINE)
"""A line of `--progress plain`: ` DRY-RUN MODE -  Volume shop_data  Removing`, in 5.0 ` Volume shop_data Removing`."""

Event = tuple[str, str, str]
"""Kind, name and status of something the command would touch."""

_NOTHING = "No resource found to remove", "No stopped containers", "not running in project"
_ALSO = {"rm": ("--force",), "up": ("--no-start",)}
"""What a dry run needs so that it asks no question and waits for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the Compose file mounts a volume."""

    project: str
    service: str
    image: str  # empty when it is built
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """A volume that the command would delete, if it exists and nothing else holds it."""

    name: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a command would delete, on which engine. Plain data: the sidecar may be the one who judges it."""

    engine_id: str
    containers: tuple[str, ...]  # ids of those that go with it
    volumes: tuple[Doomed, ...]


def execute(args: Sequence[str]) -> NoReturn:
    """Becomes `docker compose`: same process, terminal, stdin, signals and exit code."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored stays so across exec
    with _docker_found():
        os.execvp("docker", ["docker", "compose", *args])  # noqa: S606 — no shell is the point


def execute_unless_deleting(args: Sequence[str]) -> Invocation:
    """Becomes `docker compose` at once unless the command could delete volumes.

    Raises Refused for one that could but cannot be understood.
    """
    match argv.parse(args):
        case Unparsable(reason=reason, may_delete=True):
            raise Refused(
                f"{shlex.join(['docker', 'compose', *args])}: {reason}, so nobody can say what it deletes",
                hint="spell it `docker compose down --volumes`; a newer Compose may need a newer dbguard",
            )
        case Invocation(deletes=danger) as invocation if danger:
            return invocation
        case _:
            execute(args)


def resolve(invocation: Invocation, containers: Containers) -> Deletion:
    """What the command would delete, as Compose itself says in a dry run. Changes nothing.

    Raises Refused when Compose cannot say, or when asking would do harm.
    """
    _refuse_streams(invocation)
    _refuse_other_engine(containers)
    if invocation.subcommand in {"up", "create"}:
        return _recreation(invocation, containers)
    return _removal(invocation, containers)


def _removal(invocation: Invocation, containers: Containers) -> Deletion:
    """`down` and `rm` take the anonymous volumes along; a dry run shows the named ones and the containers."""
    model = None
    if not invocation.by_name:
        model = _model(invocation)
        _refuse_providers(model or _model(invocation, "--no-interpolate"))  # an unset variable does not stop `down`
    events = _dry_run(invocation)
    removed = _removed(containers, events)
    anonymous = {mount.name for container in removed for mount in container.mounts if mount.anonymous and mount.name}
    return _deletion(containers, model, removed, anonymous | _volumes(events))


def _recreation(invocation: Invocation, containers: Containers) -> Deletion:
    """`up` and `create`: a volume that exists and would be created is deleted first, its data gone."""
    model = _model(invocation)
    if model is not None and not _any_exists(model, containers):
        return _deletion(containers, model, [], set())
    _refuse_providers(model or _model(invocation, "--no-interpolate"))
    events = _dry_run(invocation)
    return _deletion(containers, model, _removed(containers, events), _volumes(events))


def _deletion(
    containers: Containers, model: dict[str, Any] | None, removed: list[Container], volumes: set[str]
) -> Deletion:
    return Deletion(
        engine_id=containers.engine_id,
        containers=tuple(sorted(container.id for container in removed)),
        volumes=tuple(Doomed(name=name, places=_places(model, name)) for name in sorted(volumes)),
    )


# --- what must not be asked ---


def _refuse_streams(invocation: Invocation) -> None:
    """A file that can be read only once would be empty when Compose reads it in earnest."""
    separator = os.environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep)
    for file in (*invocation.files, *os.environ.get("COMPOSE_FILE", "").split(separator)):
        if file == "-" or (Path(file).exists() and not Path(file).is_file() and not Path(file).is_dir()):
            raise Refused(
                f"the Compose file comes from {'stdin' if file == '-' else file}, which can be read only once",
                hint="write it to a file, and name that with -f",
            )


def _refuse_other_engine(containers: Containers) -> None:
    """The docker command follows contexts, its library only DOCKER_HOST."""
    theirs = _docker("info", "--format", "{{.ID}}")
    if theirs.returncode != 0:
        raise EngineUnavailable(f"docker info: {_last_line(theirs.stderr)}")
    if theirs.stdout.strip() != containers.engine_id:
        raise Refused(
            "docker compose works on another engine than dbguard looks at",
            hint="set DOCKER_HOST to the address that `docker context inspect` shows",
        )


def _refuse_providers(model: dict[str, Any] | None) -> None:
    for name, service in (model or {}).get("services", {}).items():
        if service.get("provider"):
            raise Refused(
                f"service {name} has a provider, a program that Compose runs for real even in a dry run",
                hint="name the other services on the command line, or take the provider out of the file",
            )


# --- asking ---


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    with _docker_found():
        command = ["docker", *arguments]
        return subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )


@contextlib.contextmanager
def _docker_found() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineUnavailable(f"docker: {error.strerror}", hint="is the docker command installed?") from error


def _model(invocation: Invocation, *how: str) -> dict[str, Any] | None:
    """The project as Compose understands it, all profiles in; None when it cannot be read. It holds secrets."""
    answer = _docker("compose", *invocation.project, "--profile=*", "config", "--format=json", *how)
    model: dict[str, Any] | None = json.loads(answer.stdout) if answer.returncode == 0 else None
    return model


def _dry_run(invocation: Invocation) -> list[Event]:
    """Everything the command would touch. Raises Refused when it cannot be known."""
    answer = _docker(
        "compose", *invocation.project, "--ansi=never", "--progress=plain", invocation.subcommand, "--dry-run",
        *invocation.options, *_ALSO.get(invocation.subcommand, ()), "--", *invocation.services,
    )  # fmt: skip
    said = f"{answer.stdout}\n{answer.stderr}"
    events: list[Event] = _EVENT.findall(said)
    if answer.returncode != 0 or not (events or any(text in said for text in _NOTHING)):
        raise Refused(
            f"docker compose cannot say what {invocation.subcommand} would delete: {_last_line(said)}",
            hint="nothing was stopped or deleted. dbguard asks with --dry-run, which Compose has from 2.16 on",
        )
    return events


def _removed(containers: Containers, events: list[Event]) -> list[Container]:
    found = []
    for name in sorted({name for kind, name, status in events if kind == "Container" and status.startswith("Remov")}):
        with contextlib.suppress(NotFound):
            found.append(containers.inspect(name))
    return found


def _volumes(events: list[Event]) -> set[str]:
    return {name for kind, name, _ in events if kind == "Volume"}


def _any_exists(model: dict[str, Any], containers: Containers) -> bool:
    return any(containers.volume_labels(volume["name"]) is not None for volume in model.get("volumes", {}).values())


def _places(model: dict[str, Any] | None, name: str) -> tuple[Place, ...]:
    volumes = (model or {}).get("volumes", {})
    return tuple(
        Place(project=(model or {}).get("name", ""), service=service, image=what.get("image", ""), path=mount["target"])
        for service, what in (model or {}).get("services", {}).items()
        for mount in what.get("volumes", ())
        if mount.get("type") == "volume" and volumes.get(mount.get("source"), {}).get("name") == name
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1].strip()
