"""Every target that is to be kept: what runs here and what is stored, brought together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbguard.config import Settings
from dbguard.copies import Copies
from dbguard.errors import ConfigError
from dbguard.habits import Habits, habits, remembered
from dbguard.health import TargetHealth, assess
from dbguard.model import Sighting, TargetName
from dbguard.past import Past
from dbguard.scope import Scope
from dbguard.shelf import Shelf, Shelves
from dbguard.timetable import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A target at one moment. Without `seen` no running container is it."""

    name: TargetName
    habits: Habits
    shelf: Shelf
    seen: Sighting | None
    past: Past

    @property
    def candidate(self) -> Candidate | None:
        """None when there is no server to back up now."""
        if self.seen is None or self.seen.target is None:
            return None
        return Candidate(
            name=self.name,
            habits=self.habits,
            archives=self.shelf.archives,
            past=self.past,
            container=self.seen.container.id,
            started=datetime.fromisoformat(self.seen.container.started),
        )

    def health(
        self, now: datetime, *, running_since: datetime | None = None, max_age: timedelta | None = None
    ) -> TargetHealth:
        candidate = self.candidate
        return assess(
            self.name,
            habits=self.habits,
            archives=self.shelf.archives,
            unreadable=self.shelf.unreadable,
            seen=self.seen,
            past=self.past,
            now=now,
            max_age=max_age,
            next_run=candidate.next_run(now) if candidate is not None else None,
            running_since=running_since,
        )


class Roster:
    """Of one scope and its storages."""

    def __init__(self, settings: Settings, copies: Copies, scope: Scope) -> None:
        self.shelves = Shelves(copies)
        self._settings = settings
        self._scope = scope

    def watched(
        self,
        sightings: Sequence[Sighting],
        pasts: Mapping[str, Past],
        now: datetime,
        *,
        elsewhere: Collection[str | None] = (),
    ) -> list[Watched]:
        """Those that nobody has disabled, by name; without the projects that somebody `elsewhere` serves."""
        seen = {one.name: one for one in sightings if one.name is not None and one.database}
        failed = {TargetName.parse(name) for name, one in pasts.items() if one.error}  # not over when it is stopped
        known = failed | {*self.shelves.names(now)}
        stored = {name for name in known if self._scope.project in {None, name.project}}
        stored -= {name for name in stored if name.project in elsewhere}
        found = [self._one(name, seen.get(name), pasts, now) for name in sorted(stored | seen.keys())]
        return [one for one in found if one.habits.enabled and (one.seen is None or one.seen.enabled)]

    def _one(self, name: TargetName, seen: Sighting | None, pasts: Mapping[str, Past], now: datetime) -> Watched:
        shelf = self.shelves.of(name, now)
        rules = self._labelled(name, seen) or self._remembered(name, shelf)
        return Watched(name=name, habits=rules, shelf=shelf, seen=seen, past=pasts.get(str(name), Past()))

    def _labelled(self, name: TargetName, seen: Sighting | None) -> Habits | None:
        try:
            return habits(self._settings, str(name), seen.container.labels) if seen is not None else None
        except ConfigError:  # the sighting says so
            return None

    def _remembered(self, name: TargetName, shelf: Shelf) -> Habits:
        try:
            return remembered(self._settings, name, shelf.archives)
        except ConfigError:  # labels that a newer dbguard knows; this one only looks, and prune says so
            return habits(self._settings, str(name), {})
