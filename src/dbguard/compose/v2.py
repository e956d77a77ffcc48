"""Asking Compose 2 in a dry run what a command would delete."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbguard.argv import RECREATING
from dbguard.compose.nouns import Deletion, Doomed, Place
from dbguard.compose.program import Program, last_line
from dbguard.errors import EngineUnavailable, Refused
from dbguard.model import Container

if TYPE_CHECKING:
    from dbguard.containers import Containers

_EVENT = re.compile(r'(?:^|DRY-RUN MODE -) *(Container|Network|Volume|Image) +"?([^\s"]+)"? +(\w+)', re.MULTILINE)
"""A line of `--progress plain`: ` DRY-RUN MODE -  Volume shop_data  Removing`, in 5.0 ` Volume shop_data Removing`."""
_QUESTION = re.compile(r'Volume "([^"]+)" exists but doesn\'t match configuration')
_HASH = "com.docker.compose.config-hash"
"""Volumes without this label are never made anew (pkg/compose/create.go, ensureVolume)."""

Event = tuple[str, str, str]
"""Kind, name and status of something the command would touch."""

_NOTHING = "No resource found to remove", "No stopped containers", "not running in project"
_WARNING = re.compile(r"^time=.* level=warning .*$", re.MULTILINE)
"""What Compose says of the file it reads, whatever it then does."""
_ALSO = {"rm": ("--force",), "up": ("--no-start",)}
"""What a dry run needs so that it asks no question and waits for nothing."""


def removal(program: Program, containers: Containers) -> Deletion:
    """`down` and `rm` take the anonymous volumes along; a dry run shows the named ones and the containers."""
    model = None
    if not program.invocation.by_name:
        model = read_model(program)
        refuse_providers(model or read_model(program, "--no-interpolate"))  # an unset variable does not stop `down`
    events = dry_run(program)
    removed = containers.inspect_all(sorted(removed_in(events)))
    dying = [container for container in removed if not _is_orphan(container, model)]
    anonymous = {mount.name for container in dying for mount in container.mounts if mount.anonymous and mount.name}
    return _deletion(containers, model, removed, anonymous | _volumes(events))


def _is_orphan(container: Container, model: dict[str, Any] | None) -> bool:
    """Of a service that is not in the file: --remove-orphans leaves its anonymous volumes (pkg/compose/down.go)."""
    if model is None:
        return False
    return container.service not in model["services"]


def recreation(program: Program, containers: Containers) -> Deletion:
    """`up` and its like: a volume that exists and would be created is deleted first, its data gone."""
    volumes, removed = recreated(program)
    model = read_model(program) if volumes else None
    return _deletion(containers, model, containers.inspect_all(sorted(removed)), volumes)


def recreated(program: Program) -> tuple[set[str], set[str]]:
    """Names of the volumes that exist and would be made anew, and of the containers that go with them.

    Asks the commands only, so it is quick. Raises Refused or EngineUnavailable when nobody can say.
    """
    known = program.docker("volume", "ls", "--quiet", "--filter", f"label={_HASH}")
    if known.returncode != 0:
        raise EngineUnavailable(f"docker volume ls: {last_line(known.stderr)}")
    if not known.stdout.strip():
        return set(), set()
    refuse_providers(read_model(program) or read_model(program, "--no-interpolate"))
    events = dry_run(program)
    volumes = set(known.stdout.split()) & _volumes(events)
    return volumes, removed_in(events) if volumes else set()


def _deletion(
    containers: Containers, model: dict[str, Any] | None, removed: Sequence[Container], volumes: set[str]
) -> Deletion:
    return Deletion(
        engine_id=containers.engine_id,
        containers=tuple(sorted(container.id for container in removed)),
        volumes=tuple(Doomed(name=name, places=_places(model, name)) for name in sorted(volumes)),
    )


def refuse_providers(model: dict[str, Any] | None) -> None:
    for name, service in (model or {}).get("services", {}).items():
        if service.get("provider"):
            raise Refused(
                f"service {name} has a provider, a program that Compose runs for real even in a dry run",
                hint="name the other services on the command line, or take the provider out of the file",
            )


def read_model(program: Program, *how: str) -> dict[str, Any] | None:
    """The project as Compose understands it, all profiles in; None when it cannot be read. It holds secrets."""
    answer = program.ask("--profile=*", "config", "--format=json", *how)
    model: dict[str, Any] | None = json.loads(answer.stdout) if answer.returncode == 0 else None
    return model


def dry_run(program: Program) -> list[Event]:
    """Everything the command would touch if each question was answered with yes. Raises Refused when it cannot be
    known."""
    subcommand, options, services = _asked(program)
    words = ["--ansi=never", "--progress=plain", subcommand, "--dry-run", *options, *_ALSO.get(subcommand, ())]
    answer = program.ask(*words, "--", *services)
    said = f"{answer.stdout}\n{answer.stderr}"
    if "unknown flag: --yes" in said:  # Compose before 2.32, or one that asks and cannot be told beforehand
        answer = program.ask(*[word for word in words if word != "--yes"], "--", *services)
        said = f"{answer.stdout}\n{answer.stderr}"
        events: list[Event] = [("Volume", name, "Creating") for name in _QUESTION.findall(said)]
        events += [event for event in _EVENT.findall(said) if event[0] != "Volume"]
    else:
        events = _EVENT.findall(said)
    nothing = not _WARNING.sub("", said).strip() or any(text in said for text in _NOTHING)
    if answer.returncode != 0 or not (events or subcommand in RECREATING or nothing):
        raise _unsaid(program, said)
    return events


def _unsaid(program: Program, said: str) -> Refused:
    name, subcommand = " ".join(program.invocation.program), program.invocation.subcommand
    if "unknown flag: --dry-run" in said:
        version = program.ask("version", "--short").stdout.strip()
        return Refused(
            f"{name} {version} cannot say what {subcommand} would delete",
            hint="nothing was stopped or deleted. dbguard asks with --dry-run, which Compose has from 2.16 on",
        )
    return Refused(
        f"{name} cannot say what {subcommand} would delete: {last_line(said)}", hint="nothing was stopped or deleted"
    )


def _asked(program: Program) -> tuple[str, list[str], list[str]]:
    """(subcommand, options, services) of the dry run. `scale`, `watch` and `run` start what they need as `up` does."""
    called = program.invocation
    services = [word.partition("=")[0] if called.subcommand == "scale" else word for word in called.services]
    if called.subcommand not in RECREATING:
        return called.subcommand, list(called.options), services
    options = [option for option in called.options if not option.startswith("--yes")]
    if called.subcommand in {"up", "create"}:
        return called.subcommand, [*options, "--yes"], services
    scaled = [f"--scale={word}" for word in called.services if called.subcommand == "scale"]
    return "up", [*(option for option in options if option == "--remove-orphans"), *scaled, "--yes"], services


def removed_in(events: list[Event]) -> set[str]:
    """Names of the containers that go."""
    return {name for kind, name, status in events if kind == "Container" and status.startswith("Remov")}


def _volumes(events: list[Event]) -> set[str]:
    return {name for kind, name, _ in events if kind == "Volume"}


def _places(model: dict[str, Any] | None, name: str) -> tuple[Place, ...]:
    volumes = (model or {}).get("volumes", {})
    return tuple(
        Place(project=(model or {}).get("name", ""), service=service, image=what.get("image", ""), path=mount["target"])
        for service, what in (model or {}).get("services", {}).items()
        for mount in what.get("volumes", ())
        if mount.get("type") == "volume" and volumes.get(mount.get("source"), {}).get("name") == name
    )
