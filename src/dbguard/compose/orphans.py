"""Anonymous volumes of databases that a command leaves behind: held by nothing, so the next prune deletes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dbguard.argv import RECREATING
from dbguard.compose import v1, v2
from dbguard.compose.program import Program, call
from dbguard.errors import DbguardError
from dbguard.signs import is_data_folder, is_server_image

_ANONYMOUS = re.compile("[0-9a-f]{64}")
_CONFIG = "/config"
"""Where linuxserver.io mounts all, the data in a folder below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A volume that nothing would hold any more."""

    volume: str
    container: str
    path: str

    def __str__(self) -> str:
        return (
            f"note: the anonymous volume {self.volume} of {self.container} ({self.path}) is left behind: nothing will"
            " show it, a new container gets an empty one, and the next prune deletes it\n"
            f"      to use it again, mount it by name: {self.volume}:{self.path}, and declare it as `external: true`"
        )


def left_by(program: Program) -> list[Orphan]:
    """What this command of Compose would leave behind. It is a note only: what cannot be found out is left out."""
    having = holders(program.invocation.engine)
    if not having:
        return []
    try:
        names = _going_v1(program, having) if program.invocation.v1 else _going(program)
    except DbguardError:
        return []  # Compose itself will say what is wrong
    return list(of_containers(names, program.invocation.engine))


def holders(engine: Iterable[str]) -> list[list[str]]:
    """(id, mounts, project) of each container of a project that has anonymous volumes: usually there is none."""
    listing = call(
        [
            *("docker", *engine, "ps", "--all", "--no-trunc", "--filter", "label=com.docker.compose.project"),
            *("--format", '{{.ID}}\t{{.Mounts}}\t{{.Label "com.docker.compose.project"}}'),
        ]
    )
    rows = [line.split("\t") for line in listing.stdout.splitlines()]
    return [row for row in rows if len(row) == 3 and _ANONYMOUS.search(row[1])]


def _going(program: Program) -> set[str]:
    v2.refuse_providers(v2.read_model(program) or v2.read_model(program, "--no-interpolate"))
    events = v2.dry_run(program)
    going = v2.removed_in(events)
    if "--renew-anon-volumes" in program.invocation.options:
        going |= {name for kind, name, status in events if kind == "Container" and status.startswith("Recreat")}
    elif program.invocation.subcommand in RECREATING:  # what is only re-created keeps its volumes
        going -= {name for kind, name, status in events if kind == "Container" and status.startswith("Recreat")}
    return going


def _going_v1(program: Program, having: list[list[str]]) -> set[str]:
    project = v1.read_project(program)
    return {identity for identity, _, labelled in having if labelled == project}


def of_containers(names: Iterable[str], engine: Iterable[str] = ()) -> Iterator[Orphan]:
    """The anonymous volumes of these containers that a database may have its data on."""
    wanted = sorted(names)
    if not wanted:
        return
    answer = call(["docker", *engine, "container", "inspect", *wanted])
    for container in json.loads(answer.stdout or "[]"):
        database = is_server_image(container["Config"]["Image"])
        for mount in container.get("Mounts") or ():
            if _is_anonymous(mount) and (database or _may_hold_data(mount["Destination"])):
                yield Orphan(volume=mount["Name"], container=container["Name"].lstrip("/"), path=mount["Destination"])


def _may_hold_data(path: str) -> bool:
    return is_data_folder(path) or path.startswith(_CONFIG)


def _is_anonymous(mount: dict[str, Any]) -> bool:
    return mount["Type"] == "volume" and _ANONYMOUS.fullmatch(mount.get("Name", "")) is not None


def forgotten_by(program: Program) -> str | None:
    """A note for `run --rm` of a database server whose data would be on no volume that lasts."""
    model = v2.read_model(program) if not program.invocation.v1 else None
    service = (model or {}).get("services", {}).get(program.invocation.services[0], {})
    lasting = any(_may_hold_data(mount["target"]) for mount in service.get("volumes", ()))
    if lasting or not is_server_image(service.get("image", "")):
        return None
    name = program.invocation.services[0]
    return f"note: {name} keeps its data on no volume of its own: with --rm, what is written to it ends with it"
