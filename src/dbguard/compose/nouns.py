"""What a command would delete: plain data, so that the sidecar may be the one who judges it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # docker takes 80 ms to import, which a command that deletes nothing need not wait for
    from dbguard.containers import Containers


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
    """What a command would delete, on which engine."""

    engine_id: str
    containers: tuple[str, ...]  # ids of those that go with it
    volumes: tuple[Doomed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleting:
    """A command line that may delete volumes."""

    words: tuple[str, ...]  # as typed, the program first
    sparing: str  # what to type instead so that all volumes stay; empty where there is nothing
    resolve: Callable[[Containers], Deletion]  # changes nothing; raises Refused when nobody can say
    execute: Callable[[], NoReturn]  # becomes that program

    def again(self, *ours: str) -> tuple[str, ...]:
        """The same through the guard, with flags of ours: `dbguard compose`, `docker-compose` or `docker`."""
        program, *args = self.words[1:] if self.words[:2] == ("docker", "compose") else self.words
        return ("dbguard", program, *ours, *args)
