"""The sessions of one load: they begin together, and one that fails ends all."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from dbguard import sql
from dbguard.containers import Containers
from dbguard.errors import RestoreFailed
from dbguard.loading.session import LoadSession
from dbguard.loading.table import Fence
from dbguard.model import Target

_FULL = {1021, 1114}
"""ER_DISK_FULL; and ER_RECORD_FILE_FULL, which InnoDB says when its file cannot grow."""


class LoadCrew:
    """A context manager: leaving it stops what still runs."""

    def __init__(self, target: Target, containers: Containers, count: int, *, stall: float) -> None:
        self._target = target
        self._changed = threading.Condition()
        self.sessions = [LoadSession(target, containers, stall=stall, changed=self._changed) for _ in range(count)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self.sessions:
            session.stop()
        for session in self.sessions:
            session.join()

    def check(self) -> None:
        """Raises RestoreFailed when one has ended."""
        for session in self.sessions:
            if session.over:
                raise self._failure(session)

    def wait(self, fence: Fence) -> None:
        """Until it is passed. Raises like `check`."""
        with self._changed:
            self._changed.wait_for(lambda: fence.passed or any(one.over for one in self.sessions))
        if not fence.passed:
            self.check()

    def finish(self) -> None:
        """When all has been put: waits for the end of every session. Raises like `check`."""
        for session in self.sessions:
            session.end()
        for session in self.sessions:
            session.join()
        for session in self.sessions:
            if not session.whole:
                raise self._failure(session)

    def _failure(self, session: LoadSession) -> RestoreFailed:
        name, error, place = self._target.name, session.error, session.place
        if error is None:
            return RestoreFailed(f"{name}: the server did not see the whole script: its input was cut")
        where = f", in {place}" if place else ""
        number, _ = sql.server_error(str(error))
        hint = "the load stopped at this statement" if place else "did the server stop? `docker logs` of it may say why"
        if number in _FULL:
            hint = f"is the disk of the database's container full? {hint}"
        failure = RestoreFailed(f"{name}: {error}{where}", hint=hint, number=number)
        failure.__cause__ = error
        return failure
