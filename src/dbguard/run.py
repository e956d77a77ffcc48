"""The sidecar: keeps every database of its project backed up, on schedule, for as long as it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from dbguard.backup import Wish, back_up
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.copies import Copies
from dbguard.discover import Scope, discover, looks_like_database, name_of
from dbguard.errors import DbguardError, NothingToDump, StorageUnavailable
from dbguard.model import Container, Sighting, Target, TargetName
from dbguard.schedule import Schedule
from dbguard.upkeep import keep_up

_UNTIL_A_DATABASE = timedelta(minutes=1)
_AFTER_A_FAILURE = timedelta(minutes=10)
_TICK = 10.0
"""Seconds between two looks at the clock and at the containers; a look is one call to the engine."""

log = logging.getLogger("dbguard")


class Keeper:
    """Backs up what is due. A target is due when its schedule has passed since its newest archive: what must
    survive a restart is in the storage, and a slot missed while nothing ran is caught up once."""

    def __init__(self, containers: Containers, copies: Copies, settings: Settings, scope: Scope) -> None:
        self._containers = containers
        self._copies = copies
        self._settings = settings
        self._scope = scope
        self._schedule = Schedule(settings.schedule)
        self._done: dict[TargetName, datetime] = {}
        self._wait: dict[TargetName, datetime] = {}  # after a failure
        self._said: dict[str, str] = {}

    def run(self) -> None:
        """For ever; ends by a signal."""
        log.info("keeping %s, schedule %s", self._scope.project or "all projects", self._settings.schedule)
        while True:
            try:
                self.tick(datetime.now(UTC))
            except DbguardError as error:
                self._say("dbguard", str(error))
            time.sleep(_TICK)

    def tick(self, now: datetime) -> None:
        """One look: every target that is due is asked and backed up."""
        due = [container for container in self._candidates() if self._is_due(container, now)]
        for seen in discover(self._containers, self._settings, due):
            self._serve(seen, now)

    def _candidates(self) -> Iterable[Container]:
        running = [one for one in self._containers.list() if self._scope.holds(one)]
        return [
            one for one in running if looks_like_database(one) and not (one.one_off or one.labels.get("dbguard.role"))
        ]

    def _is_due(self, container: Container, now: datetime) -> bool:
        try:
            name = name_of(container)
        except DbguardError:
            return True  # discover says what is wrong with it
        last = self._done.get(name) or self._newest(name)
        return now >= self._wait.get(name, now) and (last is None or self._schedule.after(last) <= now)

    def _newest(self, name: TargetName) -> datetime | None:
        try:
            archives = self._copies.listing(name).stored
        except StorageUnavailable:
            return None  # the first backup sets the storage up, or says what is wrong
        return archives[0].summary.snapshot if archives else None

    def _serve(self, seen: Sighting, now: datetime) -> None:
        if seen.target is None or seen.why_not is not None:
            self._say(seen.container.name, f"not backed up: {seen.why_not}")
            return
        self._say(seen.container.name, "is a target")
        self._wait[seen.target.name] = now + _AFTER_A_FAILURE
        try:
            self._back_up(seen.target)
            self._done[seen.target.name] = now
        except NothingToDump as error:
            self._wait[seen.target.name] = now + _UNTIL_A_DATABASE
            self._say(seen.container.name, f"{error}; looking again every minute")
        except DbguardError as error:
            log.error("%s", error)
            if error.hint:
                log.error("hint: %s", error.hint)

    def _back_up(self, target: Target) -> None:
        log.info("%s: backing up", target.name)
        outcome = back_up(
            target,
            containers=self._containers,
            catalogs=self._copies.catalogs,
            settings=self._settings,
            wish=Wish(),
        )
        archive = outcome.archive
        for remark in (*archive.warnings, *(f"partial: {reason}" for reason in archive.partial_reasons)):
            log.warning("%s: %s", target.name, remark)
        for reason in archive.suspicious:
            log.warning("%s: %s is suspicious: %s; `dbguard confirm` if it is right", target.name, archive.id, reason)
        log.info("%s: saved %s, %d bytes", target.name, archive.id, archive.size)
        done = keep_up(outcome, copies=self._copies, settings=self._settings, now=datetime.now(UTC), say=log.info)
        for trouble in (*done.uncopied, *done.unpruned):
            log.error("%s: %s", target.name, trouble)

    def _say(self, about: str, what: str) -> None:
        """Once per change: a look every few seconds must not fill the log."""
        if self._said.get(about) != what:
            self._said[about] = what
            log.info("%s: %s", about, what)


def configure_log() -> None:
    """Lines that `docker logs` reads well: UTC time, level, text."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ", level=logging.INFO
    )
