"""What Compose v1 would delete. It has no dry run: it is asked for its project, and the rest is its own simple rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbguard.compose.nouns import Deletion, Doomed
from dbguard.compose.program import Program, last_line
from dbguard.errors import Refused
from dbguard.model import Container

if TYPE_CHECKING:
    from dbguard.containers import Containers

_PROJECT = re.compile(r"com\.docker\.compose\.project=([-_a-z0-9]+)'")
_NAME = re.compile(r"""(['"]?)([A-Za-z0-9_.-]+)\1""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume at the top level of the file."""

    key: str
    name: str = ""  # where it has one of its own
    external: bool = False


def removal(program: Program, containers: Containers) -> Deletion:
    """`down --volumes` and `rm -v`. Raises Refused when Compose cannot read its file."""
    project = read_project(program)
    going = removed(program, containers, project)
    volumes = {mount.name for container in going for mount in container.mounts if mount.anonymous and mount.name}
    if program.invocation.subcommand == "down":
        volumes |= {_true_name(containers, project, volume) for volume in _read_volumes(program) if not volume.external}
    return Deletion(
        engine_id=containers.engine_id,
        containers=tuple(sorted(container.id for container in going)),
        volumes=tuple(Doomed(name=name) for name in sorted(volumes)),
    )


def removed(program: Program, containers: Containers, project: str) -> list[Container]:
    """Those of the file's services, one-off ones too (compose/project.py, down and remove_stopped)."""
    called = program.invocation
    services = set(called.services) or set(_asked(program, "config", "--services").split())
    stops = called.subcommand == "down" or "--stop" in called.options
    return [
        container
        for container in containers.list(stopped=True, label=f"com.docker.compose.project={project}")
        if container.service in services and (stops or not container.running)
    ]


def read_project(program: Program) -> str:
    """The name it labels its containers with. Nothing prints it but the log of what it asks the engine."""
    found = _PROJECT.search(_asked(program, "--verbose", "ps", "--quiet"))
    if found is None:
        raise Refused("docker-compose does not say which project this is", hint="give it a name with --project-name")
    return found[1]


def _read_volumes(program: Program) -> list[Volume]:
    text = _asked(program, "config", "--no-interpolate")
    try:
        return list(volumes_in(text))
    except ValueError as error:
        raise Refused(
            f"docker-compose config says something that nobody expected: {error}",
            hint="nothing was stopped or deleted. `docker compose` of version 2 can say what it would delete",
        ) from error


def volumes_in(text: str) -> Iterator[Volume]:
    """The volumes of `docker-compose config`, which is always laid out in the same way. Raises ValueError."""
    head, _, rest = f"\n{text}".partition("\nvolumes:")
    del head
    section = re.split(r"\n(?=\S)", rest, maxsplit=1)[0]
    if section.strip() in {"", "{}"}:
        return
    for block in re.split(r"\n(?=  \S)", section)[1:]:
        first, *lines = block.split("\n")
        key, colon, value = first.strip().rpartition(":")
        if not colon:
            key, colon, value = first.strip().partition(": ")
        if first.strip().endswith(": {}"):
            key, value = first.strip().removesuffix(": {}"), ""
        if value.strip():
            raise ValueError(first.strip())
        own = dict(line.strip().split(": ", 1) for line in lines if re.match(r"    \w+: ", line))
        yield Volume(
            key=_unquoted(key),
            name=_unquoted(own["name"]) if "name" in own else "",
            external=own.get("external", "false") == "true",
        )


def _unquoted(word: str) -> str:
    match = _NAME.fullmatch(word)
    if match is None:
        raise ValueError(word)
    return match[2]


def _true_name(containers: Containers, project: str, volume: Volume) -> str:
    """compose/volume.py: a volume named as Compose before 1.21 did is used where there is one."""
    if volume.name:
        return volume.name
    legacy = f"{re.sub('[_-]', '', project)}_{volume.key}"
    return legacy if containers.volume_labels(legacy) is not None else f"{project.lstrip('-_')}_{volume.key}"


def _asked(program: Program, *words: str) -> str:
    answer = program.ask(*words)
    if answer.returncode != 0:
        raise Refused(
            f"docker-compose cannot say what {program.invocation.subcommand} would delete: {last_line(answer.stderr)}",
            hint="nothing was stopped or deleted",
        )
    return answer.stdout + answer.stderr if "--verbose" in words else answer.stdout
