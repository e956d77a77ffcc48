"""The sidecar: keeps every database of its project backed up, on schedule, for as long as it runs."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dbguard import anchors, past
from dbguard.announce import Announcer
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.copies import Copies
from dbguard.errors import DbguardError
from dbguard.habits import Habits
from dbguard.health import Health, newest_good, with_problem
from dbguard.lookout import Lookout, watch
from dbguard.metrics import Metrics
from dbguard.model import Sighting, TargetName
from dbguard.past import Past
from dbguard.roster import Roster, Watched
from dbguard.scope import Scope
from dbguard.timetable import Candidate, Work, missed, orders, proof_due
from dbguard.told import Teller
from dbguard.workers import Ended, Workers

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_PAUSE = 30.0
"""Seconds between two looks when nothing happens."""
_UNTIL_STARTED = 5.0
"""Seconds after which a server that is starting is asked again."""
_SETTLE = 0.5
"""Seconds to wait for more of the same news: a stack that starts has much of it."""
_WATCH_AGAIN = 10.0
"""Seconds after which an engine that went away is watched again."""
_STACK_UP = timedelta(minutes=5)
"""So long there may be no database at all before that is a problem: a stack starts in any order."""
_SAYING: dict[Work, str] = {"backup": "backing up", "copies": "making copies", "verify": "verifying"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the sidecar works with; another set after a reload."""

    settings: Settings
    containers: Containers
    copies: Copies
    scope: Scope
    teller: Teller


class Keeper:
    """Looks at what runs and what is stored, and starts what is due. All that happens elsewhere comes into one queue
    as something to do: the engine's news, the end of a run, the wish to reload."""

    def __init__(self, prepare: Callable[[], Means], metrics: Metrics, log: FilteringBoundLogger) -> None:
        """`prepare` reads the configuration, now and at each reload."""
        self._prepare = prepare
        self._metrics = metrics
        self._log = log
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._workers = Workers(lambda ended: self._inbox.put(lambda: self._ended(self._workers, ended)))
        self._checkers = Workers(lambda ended: self._inbox.put(lambda: self._ended(self._checkers, ended)))
        self._began = datetime.now(UTC)
        self._missed: dict[TargetName, datetime] = {}
        self._targets: set[str] = set()
        self._sightings: Sequence[Sighting] = ()
        self._blind = False  # without the engine's news
        self.health: Health | None = None
        self._use(prepare())

    def run(self) -> None:
        """For ever; ends by a signal, and every run with it."""
        settings = self._means.settings
        whom = self._means.scope.project or "all projects"
        self._log.info(f"keeping {whom}, schedule {settings.schedule}, {settings.timezone}")
        self._watch()
        try:
            while True:
                self.look(datetime.now(UTC))
                self.rest()
        finally:
            self._workers.stop_all(self._checkers)

    def reload(self) -> None:
        """Soon; a signal's handler may call it."""
        self._inbox.put(self._reload)

    def look(self, now: datetime) -> None:
        """Starts what is due, stops what takes too long, and says how everything is."""
        for running in (*self._workers.stop_overdue(), *self._checkers.stop_overdue()):
            self._log.warning(f"{running.name}: the run takes longer than max_duration: stopped", run=running.run)
        problems: dict[str, str] = {}
        try:
            self._sightings = self._lookout.look(now)
        except DbguardError as error:
            problems["engine"] = str(error)  # what was seen last goes on to count
        watched = self._roster.watched(self._sightings, self._pasts, now, elsewhere=self._lookout.elsewhere)
        problems |= {one.container.name: str(one.why_not) for one in self._sightings if one.name is None}
        if trouble := self._roster.shelves.trouble:
            problems["storage"] = trouble
        if "engine" not in problems:
            self._introduce()
            if not watched and now - self._began > _STACK_UP:
                problems["targets"] = "no database to back up was found; `dbguard discover` says what there is"
            self._start([one.candidate for one in watched if one.candidate is not None], now)
            self._check(watched, now)
        self._count_missed(watched, now)
        running_since = {name: one.started for name, one in self._workers.running.items()}
        targets = [one.health(now, running_since=running_since.get(one.name)) for one in watched]
        if self._means.settings.guard.anchor and "engine" not in problems:
            unlocked = self._anchors.look(self._sightings, now)
            targets = [
                with_problem(one, "unlocked", unlocked[one.target]) if one.target in unlocked else one
                for one in targets
            ]
        self.health = Health(at=now, targets=tuple(targets), problems=problems)
        self._announcer.announce(self.health)

    def rest(self) -> None:
        """Until something happens, or the next run is due, or nothing has happened for a while."""
        now = datetime.now(UTC)
        targets = self.health.targets if self.health is not None else ()
        due = [(one.next_run - now).total_seconds() for one in targets if one.next_run is not None]
        due += [_UNTIL_STARTED for one in self._sightings if one.starting]
        soonest = min((seconds for seconds in due if seconds > 0), default=_PAUSE)
        with contextlib.suppress(queue.Empty):
            self._inbox.get(timeout=min(soonest, _PAUSE))()
            time.sleep(_SETTLE)
            while True:
                self._inbox.get_nowait()()

    # --- runs ---

    def _start(self, candidates: Sequence[Candidate], now: datetime) -> None:
        running, parallel = self._workers.running.keys(), self._means.settings.parallel
        for candidate, _ in orders(candidates, running, parallel=parallel, now=now):
            shelf = self._roster.shelves.of(candidate.name, now, fresh=True)
            current = replace(candidate, archives=shelf.archives)  # somebody may have typed `backup now`
            if work := current.work(now):
                self._begin(self._workers, work, current.name, current.habits, current.container, now)

    def _check(self, watched: Sequence[Watched], now: datetime) -> None:
        """At times of their own, one archive after the other, beside the backups: none of those waits for it."""
        for one in watched:
            if self._checkers.running or not proof_due(one.habits, one.past, self._began, now):
                continue
            if one.name in self._workers.running or (one.candidate and one.candidate.work(now) == "backup"):
                continue
            shelf = self._roster.shelves.of(one.name, now, fresh=True)
            newest = newest_good(shelf.archives, now)
            if newest is not None and newest.marks.verified is None:
                container = one.seen.container.id if one.seen is not None else ""
                self._begin(self._checkers, "verify", one.name, one.habits, container, now)
            elif not shelf.unreadable:
                self._remember(one.name, replace(one.past, checked=now))

    def _begin(
        self, workers: Workers, work: Work, name: TargetName, habits: Habits, container: str, now: datetime
    ) -> None:
        run = str(uuid.uuid4())
        self._log.info(_SAYING[work], target=str(name), run=run)
        seconds = habits.max_duration.total_seconds()
        try:
            workers.start(name, work, run, self._means.settings, container=container, now=now, seconds=seconds)
        except OSError as error:  # too many processes, no memory
            self._log.error(f"the run could not begin: {error.strerror}", target=str(name), run=run)
            before, why = self._pasts.get(str(name), Past()), f"it could not begin: {error.strerror}"
            failed = replace(before, ended=now, error=why, container=container)
            self._pasts[str(name)] = replace(before, checked=now) if work == "verify" else failed

    def _ended(self, workers: Workers, ended: Ended) -> None:
        running, report = ended.running, ended.report
        workers.forget(running)
        if report is None:
            self._log.error(ended.error, target=str(running.name), run=running.run)
        if running.work == "backup" and not (report is not None and report.idle):
            self._metrics.ran(str(running.name), report.result if report is not None else "failed")
        self._roster.shelves.forget(running.name)
        self._remember(running.name, ended.remembered(self._pasts.get(str(running.name), Past())))

    def _remember(self, name: TargetName, past_now: Past) -> None:
        self._pasts[str(name)] = past_now
        try:
            past.save(self._means.settings.state, self._pasts)
        except DbguardError as error:
            self._announcer.say("state", str(error))

    def _count_missed(self, watched: Sequence[Watched], now: datetime) -> None:
        """Times of the schedule that pass during a run are skipped: runs never pile up."""
        for one in watched:
            running = self._workers.running.get(one.name)
            slot = missed(one.habits, one.name, running.started, self._missed.get(one.name), now) if running else None
            if slot is not None:
                self._missed[one.name] = slot
                self._metrics.ran(str(one.name), "skipped")
                self._log.warning(
                    f"the run of {slot:%H:%M} UTC is skipped: the one before goes on", target=str(one.name)
                )

    # --- the world ---

    def _use(self, means: Means) -> None:
        settings = means.settings
        lookout = Lookout(means.containers, settings, means.scope)  # which may raise: then all is as it was
        self._means, self._lookout = means, lookout
        self._roster = Roster(settings, means.copies, means.scope)
        self._anchors = anchors.Watch(means.containers)
        self._pasts = past.load(settings.state)
        self._announcer = Announcer(
            self._log, self._metrics, state=settings.state, metrics_file=settings.metrics_file, teller=means.teller
        )

    def _reload(self) -> None:
        try:
            self._use(self._prepare())
        except DbguardError as error:
            self._log.error(f"the configuration is left as it was: {error}")
        else:
            self._log.info("the configuration was read again")

    def _watch(self) -> None:
        def ended(error: DbguardError) -> None:
            if not self._blind:
                self._log.warning(f"{error}; watching it again")
            self._blind = True
            changed()  # a look says what is wrong with it
            timer = threading.Timer(_WATCH_AGAIN, self._watch)
            timer.daemon = True
            timer.start()

        def changed() -> None:
            self._inbox.put(lambda: None)

        def heard() -> None:
            self._blind = False
            changed()

        means = self._means
        threading.Thread(target=watch, args=[means.containers, means.scope, heard, ended], daemon=True).start()

    def _introduce(self) -> None:
        """Each target when it comes; what is wrong with the others is said with all that is wrong."""
        targets = {str(one.name) for one in self._sightings if one.target is not None and one.enabled}
        for name in sorted(targets - self._targets):
            self._log.info("is a target", target=name)
        self._targets = targets
