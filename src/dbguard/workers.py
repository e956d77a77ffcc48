"""Runs of the sidecar as processes of their own, so that each can be stopped, and none can take the others along."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pydantic

from dbguard.config import Settings, packed
from dbguard.job import Report
from dbguard.model import TargetName
from dbguard.past import Past
from dbguard.timetable import Work

GRACE = 8.0
"""Seconds a run has to clean up after SIGTERM; `docker stop` gives ten to all of us."""
_REPORT = pydantic.TypeAdapter(Report)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run that has not ended."""

    name: TargetName
    run: str
    work: Work
    started: datetime
    until: float  # by time.monotonic(), when it has taken too long
    container: str  # the id of the one it began with; empty where there was none
    process: subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run and its report; None when it died without one."""

    running: Running
    report: Report | None
    code: int
    at: datetime

    @property
    def error(self) -> str:
        """Why nothing was saved; empty when something was, or there was nothing to save."""
        if self.report is not None:
            return self.report.error
        if self.running.until < time.monotonic():
            return "it took longer than max_duration and was stopped"
        return f"the run died with exit code {self.code}" + (": out of memory?" if self.code == -signal.SIGKILL else "")

    def remembered(self, before: Past) -> Past:
        """What is to be known of it when the next one is to begin."""
        report = self.report
        if self.running.work == "verify":
            return replace(before, checked=self.at)
        if self.running.work == "copies":
            return replace(before, copied=self.at, uncopied=report.uncopied if report is not None else before.uncopied)
        container = self.running.container
        if self.error or report is None:
            return replace(before, ended=self.at, error=self.error, nothing=False, container=container)
        if report.idle:
            error = before.error if report.busy else ""
            return replace(before, ended=self.at, error=error, nothing=not error, container=container)
        return Past(
            ended=self.at,
            container=container,
            uncopied=report.uncopied,
            unpruned=report.unpruned,
            checked=before.checked,
        )


class Workers:
    """Hands each run that has ended to `done`, on a thread of its own."""

    def __init__(self, done: Callable[[Ended], None]) -> None:
        self._done = done
        self._running: dict[TargetName, Running] = {}

    @property
    def running(self) -> Mapping[TargetName, Running]:
        return self._running

    def start(
        self,
        name: TargetName,
        work: Work,
        run: str,
        settings: Settings,
        *,
        container: str,
        now: datetime,
        seconds: float,
    ) -> None:
        """The run goes by the settings that we go by, whatever has become of their files. Raises OSError."""
        argv = [sys.executable, "-m", "dbguard", "job", str(name), work, "--run", run]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        running = Running(
            name=name,
            run=run,
            work=work,
            started=now,
            until=time.monotonic() + seconds,
            container=container,
            process=process,
        )
        self._running[name] = running
        threading.Thread(target=self._wait, args=[running, packed(settings)], daemon=True, name=f"run {name}").start()

    def forget(self, running: Running) -> None:
        """It has ended, and that was taken note of."""
        del self._running[running.name]

    def stop_overdue(self) -> list[Running]:
        """Those that have taken too long are told to stop, and those that do not listen are killed."""
        now = time.monotonic()
        overdue = [one for one in self._running.values() if one.until < now]
        for one in overdue:
            one.process.kill() if one.until + GRACE < now else one.process.terminate()
        return overdue

    def stop_all(self, *others: Workers) -> None:
        """Every run, those of `others` too, cleans up after itself, or is killed when it takes too long for that."""
        processes = [one.process for workers in (self, *others) for one in workers.running.values()]
        for process in processes:
            process.terminate()
        end = time.monotonic() + GRACE
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
                continue
            process.kill()
            process.wait()

    def _wait(self, running: Running, settings: bytes) -> None:
        said, _ = running.process.communicate(settings)
        try:
            report = _REPORT.validate_json(said)
        except pydantic.ValidationError:
            report = None
        self._done(Ended(running=running, report=report, code=running.process.returncode, at=datetime.now(UTC)))
