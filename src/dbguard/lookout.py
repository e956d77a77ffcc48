"""Which databases run here, looked at again and again, each server asked only when there is news of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.discover import Scope, is_candidate, own_container, settled, sighting
from dbguard.errors import DbguardError
from dbguard.model import Container, Sighting
from dbguard.sidecar import ROLE

_ASK_AGAIN = timedelta(minutes=1)
"""A server that could not be used is asked again after that."""


class Lookout:
    """Of one scope. To ask a server costs a program in its container; to list the containers costs next to nothing."""

    def __init__(self, containers: Containers, settings: Settings, scope: Scope) -> None:
        self._containers = containers
        self._settings = settings
        self._scope = scope
        own = own_container(containers)
        self._own_project = own.project if own is not None else None
        self._asked: dict[str, tuple[datetime, Sighting]] = {}

    def look(self, now: datetime) -> list[Sighting]:
        """Every running container that is a database, or looks like one. Raises EngineUnavailable."""
        running = self._containers.list()
        others = self._served_by_others(running)
        here = [one for one in running if self._scope.holds(one) and is_candidate(one) and one.project not in others]
        current = {incarnation(one): self._seen(one, now) for one in here}
        self._asked = current
        return [seen for seen in settled([seen for _, seen in current.values()]) if seen.database]

    def _served_by_others(self, running: list[Container]) -> set[str | None]:
        """Projects with a sidecar of their own, when we are there for all."""
        if self._scope.project is not None:
            return set()
        sidecars = [one for one in running if one.labels.get(ROLE) == "sidecar" and not one.one_off]
        return {one.project for one in sidecars} - {self._own_project, None}

    def _seen(self, container: Container, now: datetime) -> tuple[datetime, Sighting]:
        at, known = self._asked.get(incarnation(container), (None, None))
        if at is not None and known is not None and (known.target is not None or timedelta(0) <= now - at < _ASK_AGAIN):
            return at, known
        return now, sighting(self._containers, self._settings, container)


def incarnation(container: Container) -> str:
    """Another one after each start, pause and new name: what has failed with one may go well with the next."""
    return f"{container.id} {container.started} {container.name} {'paused' if container.paused else ''}".strip()


def watch(containers: Containers, changed: Callable[[], None], ended: Callable[[DbguardError], None]) -> None:
    """Calls `changed` whenever something happens to a container, until the engine goes away."""
    try:
        for _ in containers.changes():
            changed()
    except DbguardError as error:
        ended(error)
