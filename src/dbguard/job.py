"""One run of the sidecar for one target: found, backed up with retries, and looked after. A process of its own, so that
it can be stopped whatever it is doing, and its memory goes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import stamina

from dbguard.backup import Wish, back_up
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.copies import Copies
from dbguard.discover import called, discover, is_candidate, one
from dbguard.encryption import identities
from dbguard.errors import Busy, ConfigError, DbguardError, NothingToDump, UsageError, told
from dbguard.habits import habits
from dbguard.health import newest_good
from dbguard.mirror import repair
from dbguard.model import Target, TargetName
from dbguard.ping import Ping
from dbguard.scope import Scope
from dbguard.upkeep import keep_up, prove
from dbguard.verify import Check, verify

Level = Literal["info", "warning", "error"]
Say = Callable[[Level, str], None]
_LONGEST_PAUSE = 30 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended. Without `error`, `nothing` or `busy` an archive was saved."""

    target: str
    run: str
    archive: str = ""
    error: str = ""
    nothing: bool = False  # no database to dump: no failure, and no archive
    busy: bool = False  # somebody else is at work on it: the same
    uncopied: tuple[str, ...] = ()
    unpruned: tuple[str, ...] = ()
    check: str = ""  # how it failed; the archive was saved all the same

    @property
    def idle(self) -> bool:
        """It neither saved anything nor failed to."""
        return self.nothing or self.busy

    @property
    def result(self) -> Literal["success", "failed", "partly"]:
        if self.error or self.check:
            return "failed"
        return "partly" if self.uncopied or self.unpruned else "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run works with, and for which target."""

    name: TargetName
    run: str
    containers: Containers
    copies: Copies
    settings: Settings
    scope: Scope
    say: Say

    def back_up(self) -> Report:
        """A failure is tried again after a pause that doubles, as often as `retries` says; then it is reported, not
        raised. Whoever is told by a ping hears how it began and how it ended."""
        ping = self._ping()
        if ping is None:
            return self._tried()
        self._pinged(ping.start(self.run))
        report = self._tried()
        if report.busy:
            return report  # whoever is at work says how it went
        if report.result == "success":
            self._pinged(ping.success(self.run, f"{self.name}: {report.archive or 'no database to back up'}"))
        else:
            said = report.error or report.check or "; ".join((*report.uncopied, *report.unpruned))
            self._pinged(ping.fail(self.run, f"{self.name}: {said}"))
        return report

    def copy(self) -> Report:
        """Makes the copies that are missing, without a new archive."""
        missing = []
        now = datetime.now(UTC)
        try:
            for stored, url, error in repair(self.name, copies=self.copies, settings=self.settings, now=now):
                if error is None:
                    self.say("info", f"copied {stored.id} to {url}")
                else:
                    missing.append(f"{stored.id} could not be copied to {url}: {error}")
        except DbguardError as error:
            missing.append(f"nobody could see which copies are missing: {error}")
        return self._report(uncopied=tuple(missing))

    def verify(self) -> Report:
        """Proves the newest good archive, unless somebody has. Only that it is not what it should be is a failure: when
        nobody can tell, the next time to verify may be a better one."""
        try:
            check = self._checked()
        except DbguardError as error:
            self.say("warning", f"not verified: {told(error)}")
            return self._report(nothing=True)
        if check is None or check.passed:
            return self._report(nothing=True)
        if (ping := self._ping()) is not None:
            self._pinged(ping.fail(self.run, f"{self.name}: {check}"))
        return self._report(check=str(check))

    def _checked(self) -> Check | None:
        archives = self.copies.listing(self.name).archives
        newest = newest_good([copied.stored for copied in archives], datetime.now(UTC))
        if newest is None or newest.marks.verified:
            return None
        catalog = next(copied.catalogs[0] for copied in archives if copied.stored.id == newest.id)
        check = verify(
            catalog.archive(newest.summary),
            catalog=catalog,
            containers=self.containers,
            settings=self.settings,
            keys=identities(self.settings.identity_file),
        )
        self.say("info" if check.passed else "error", str(check))
        return check

    def _tried(self) -> Report:
        try:
            for attempt in self._attempts():
                with attempt:
                    return self._saved(self._target())
        except (NothingToDump, Busy) as error:
            self.say("info", f"{error}; looking again in a minute")
            return self._report(nothing=isinstance(error, NothingToDump), busy=isinstance(error, Busy))
        except DbguardError as error:
            self.say("error", told(error))
            return self._report(error=str(error))
        raise AssertionError("the last attempt neither returned nor raised")

    def _attempts(self) -> Iterable[stamina.Attempt]:
        return stamina.retry_context(
            on=self._is_worth_a_retry,
            attempts=self.settings.retries + 1,
            timeout=None,
            wait_initial=self.settings.retry_wait,
            wait_max=_LONGEST_PAUSE,
            wait_jitter=self.settings.retry_wait / 10,
        )

    def _is_worth_a_retry(self, error: Exception) -> bool:
        if not isinstance(error, DbguardError) or isinstance(error, NothingToDump | Busy | ConfigError | UsageError):
            return False
        self.say("warning", str(error))
        return True

    def _target(self) -> Target:
        """As it is now: between two attempts the container may have become another one."""
        here = self.containers.list(label=self.scope.label)
        running = [seen for seen in here if is_candidate(seen) and called(seen) == self.name]
        return one(discover(self.containers, self.settings, running), str(self.name))

    def _saved(self, target: Target) -> Report:
        outcome = back_up(
            target, containers=self.containers, catalogs=self.copies.catalogs, settings=self.settings, wish=Wish()
        )
        archive = outcome.archive
        for remark in (*archive.warnings, *(f"partial: {reason}" for reason in archive.partial_reasons)):
            self.say("warning", remark)
        for reason in archive.suspicious:
            self.say("warning", f"{archive.id} is suspicious: {reason}; `dbguard confirm {archive.id}` if it is right")
        self.say("info", f"saved {archive.id}, {archive.size} bytes")
        check = prove(
            outcome, containers=self.containers, settings=self.settings, say=lambda line: self.say("warning", line)
        )
        if check is not None:
            self.say("info" if check.passed else "error", str(check))
        done = keep_up(
            outcome,
            copies=self.copies,
            settings=self.settings,
            now=datetime.now(UTC),
            say=lambda line: self.say("info", line),
        )
        for trouble in (*done.uncopied, *done.unpruned):
            self.say("error", trouble)
        return self._report(
            archive=archive.id,
            uncopied=tuple(done.uncopied),
            unpruned=tuple(done.unpruned),
            check=str(check) if check is not None and not check.passed else "",
        )

    def _report(self, **said: Any) -> Report:  # noqa: ANN401 — fields of Report
        return Report(target=str(self.name), run=self.run, **said)

    def _ping(self) -> Ping | None:
        url = habits(self.settings, str(self.name), {}).ping
        return Ping(url.get_secret_value()) if url is not None else None

    def _pinged(self, failure: str | None) -> None:
        if failure:
            self.say("warning", f"the ping could not be sent: {failure}")
