"""Which databases run here, looked at again and again, each server asked only when there is news of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.discover import called, is_candidate, settled, sighting
from dbguard.errors import DbguardError
from dbguard.model import Container, Sighting
from dbguard.scope import Scope, own_container
from dbguard.sidecar import ROLE

_ASK_AGAIN = timedelta(minutes=1)
"""A server that could not be used is asked again after that."""
_ASK_SOON = timedelta(seconds=5)
"""One that is starting."""
_STARTED = timedelta(minutes=10)
"""After so long a server should have started, on a slow disk too; and a sidecar should be back."""
_FORGOTTEN = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one container said, and from when on it may be asked again."""

    again: datetime
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
        self._first: dict[str, tuple[datetime, datetime]] = {}  # by id: seen since, seen last
        self._sidecars: dict[str | None, datetime] = {}  # by project: when its own one was last seen

    @property
    def elsewhere(self) -> Collection[str | None]:
        """Projects with a sidecar of their own, when we are there for all."""
        return self._sidecars.keys()

    def look(self, now: datetime) -> list[Sighting]:
        """Every running container that is a database, or looks like one. Raises EngineUnavailable."""
        running = self._containers.list(label=self._scope.label)
        self._look_for_sidecars(running, now)
        here = [one for one in running if is_candidate(one) and one.project not in self._sidecars]
        self._first |= {one.id: (self._first.get(one.id, (now, now))[0], now) for one in here}
        self._first = {key: seen for key, seen in self._first.items() if now - seen[1] < _FORGOTTEN}
        self._asked = {incarnation(one): self._seen(one, now) for one in here}
        return [seen for seen in settled([one.sighting for one in self._asked.values()]) if seen.database]

    def _look_for_sidecars(self, running: list[Container], now: datetime) -> None:
        """One that is gone for a moment, to be re-created, still serves its project."""
        if self._scope.project is None:
            found = {one.project for one in running if one.labels.get(ROLE) == "sidecar" and not one.one_off}
            self._sidecars |= dict.fromkeys(found - {self._own_project, None}, now)
            self._sidecars = {name: seen for name, seen in self._sidecars.items() if now - seen < _STARTED}

    def _seen(self, container: Container, now: datetime) -> _Asked:
        known = self._asked.get(incarnation(container))
        if known is not None and (known.sighting.target or known.at <= now < known.again):
            return known
        began = time.monotonic()
        found = self._ask(container)
        took = timedelta(seconds=time.monotonic() - began)
        pause = max(_ASK_SOON if found.starting else _ASK_AGAIN, 10 * took)  # a server that hangs holds us up
        slow = found.starting and now - self._first[container.id][0] > _STARTED
        return _Asked(again=now + pause, at=now, sighting=replace(found, starting=False) if slow else found)

    def _ask(self, container: Container) -> Sighting:
        try:
            return sighting(self._containers, self._settings, container)
        except (ValueError, LookupError) as error:  # a server that answers in another way than any we know
            why = f"what it answers is not understood: {error!r}"
            return Sighting(container=container, name=called(container), database=True, target=None, why_not=why)


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
