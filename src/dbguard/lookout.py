"""Which databases run here, looked at again and again, each server asked only when there is news of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.discover import Scope, is_candidate, own_container, settled, sighting
from dbguard.errors import DbguardError
from dbguard.model import Container, Sighting
from dbguard.sidecar import ROLE

_ASK_AGAIN = timedelta(minutes=1)
"""A server that could not be used is asked again after that."""
_STARTED = timedelta(minutes=10)
"""After so long a server should have started, on a slow disk too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one container said, when it was asked, and since when it has been here."""

    first: datetime
    at: datetime
    sighting: Sighting


class Lookout:
    """Of one scope. To ask a server costs a program in its container; to list the containers costs next to nothing."""

    def __init__(self, containers: Containers, settings: Settings, scope: Scope) -> None:
        self._containers = containers
        self._settings = settings
        self._scope = scope
        own = own_container(containers)
        self._own_project = own.project if own is not None else None
        self._asked: dict[str, _Asked] = {}

    def look(self, now: datetime) -> list[Sighting]:
        """Every running container that is a database, or looks like one. Raises EngineUnavailable."""
        running = self._containers.list(label=self._scope.label)
        others = self._served_by_others(running)
        here = [one for one in running if self._scope.holds(one) and is_candidate(one) and one.project not in others]
        current = {incarnation(one): self._seen(one, now) for one in here}
        self._asked = current
        return [seen for seen in settled([one.sighting for one in current.values()]) if seen.database]

    def _served_by_others(self, running: list[Container]) -> set[str | None]:
        """Projects with a sidecar of their own, when we are there for all."""
        if self._scope.project is not None:
            return set()
        sidecars = [one for one in running if one.labels.get(ROLE) == "sidecar" and not one.one_off]
        return {one.project for one in sidecars} - {self._own_project, None}

    def _seen(self, container: Container, now: datetime) -> _Asked:
        known = self._asked.get(incarnation(container))
        if known is not None and (known.sighting.target or timedelta(0) <= now - known.at < _ASK_AGAIN):
            return known
        first = known.first if known is not None else now
        found = sighting(self._containers, self._settings, container)
        slow = found.starting and now - first > _STARTED
        return _Asked(first=first, at=now, sighting=replace(found, starting=False) if slow else found)


def incarnation(container: Container) -> str:
    """Another one after each start, pause and new name: what has failed with one may go well with the next."""
    return f"{container.id} {container.started} {container.name} {'paused' if container.paused else ''}".strip()


def watch(
    containers: Containers, scope: Scope, changed: Callable[[], None], ended: Callable[[DbguardError], None]
) -> None:
    """Calls `changed` whenever something happens to a container, until the engine goes away."""
    try:
        for _ in containers.changes(scope.label):
            changed()
    except DbguardError as error:
        ended(error)
