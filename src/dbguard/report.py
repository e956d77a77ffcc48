"""How a verb tells its caller where it is, without knowing who listens."""

from __future__ import annotations

import time
from collections.abc import Callable

from dbguard.model import Progress

Report = Callable[[Progress], None]
_PAUSE = 0.2


def quiet(progress: Progress) -> None:
    """Nobody listens."""
    del progress


class Throttled:
    """Passes at most five reports a second on: a dump has thousands of chunks."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._next = 0.0

    def __call__(self, make: Callable[[], Progress]) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + _PAUSE
            self._report(make())
