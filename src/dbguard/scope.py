"""Which containers a command is about: those of one compose project, or of the whole engine."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from pathlib import Path

from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import NotFound, UsageError
from dbguard.model import Container

ASKED_FOR = "DBGUARD_ASKED_FOR"
"""Set in a sidecar that answers a command of the host: the project that the command means."""


class Scope:
    """Which containers a command looks at: one compose project, or all."""

    def __init__(self, project: str | None) -> None:
        self.project = project

    @property
    def label(self) -> str | None:
        """What the engine can look for: all that could be in scope has it."""
        return f"com.docker.compose.project={self.project}" if self.project is not None else None

    def holds(self, container: Container) -> bool:
        return self.project is None or container.project == self.project

    @classmethod
    def of(cls, containers: Containers, settings: Settings, project: str | None) -> Scope:
        """The named project; else the one this process serves as a sidecar; else that of the working directory."""
        if named := project or os.environ.get(ASKED_FOR):
            return cls(named)
        if settings.scope == "all":
            return cls(None)
        own = own_container(containers)
        if own is not None:
            return cls(own.project)
        return cls(project_here(containers))


def own_container(containers: Containers) -> Container | None:
    """The container this process runs in, when it runs in one of this engine.

    The engine mounts these files into each container, from a folder named by its id; other mounts of a container
    can be seen on the host too.
    """
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return None
    for root, place in ((fields[3], fields[4]) for fields in mounts):
        match = re.search(r"/containers/([0-9a-f]{64})/", root)
        if match and place in {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}:
            with contextlib.suppress(NotFound):
                return containers.inspect(match.group(1))
    return None


def project_here(containers: Containers) -> str | None:
    """The compose project whose folder the working directory is or lies in; None where there is none."""
    if named := os.environ.get("COMPOSE_PROJECT_NAME"):
        return named
    places: dict[Path, set[str]] = defaultdict(set)
    for container in containers.list(stopped=True):
        if container.project and (place := container.labels.get("com.docker.compose.project.working_dir")):
            places[Path(os.path.realpath(place))].add(container.project)
    here = Path(os.path.realpath(Path.cwd()))
    found = next((places[place] for place in (here, *here.parents) if place in places), set())
    if len(found) > 1:
        raise UsageError(
            f"this folder has several projects: {', '.join(sorted(found))}", hint="name one with --project"
        )
    return next(iter(found), None)
