"""Says how the sidecar is doing, to everybody who wants to know: the log, the health check, metrics, messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dbguard import pulse
from dbguard.errors import ConfigError
from dbguard.health import Health
from dbguard.metrics import Metrics
from dbguard.news import keyed
from dbguard.told import Teller

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


_OWN = {"state", "metrics_file"}
"""Troubles of ours, which come and go by themselves."""


class Announcer:
    """None of its listeners can keep the others from hearing, or the sidecar from its work."""

    def __init__(
        self, log: FilteringBoundLogger, metrics: Metrics, *, state: Path, metrics_file: Path | None, teller: Teller
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._state = state
        self._metrics_file = metrics_file
        self._teller = teller
        self._said: dict[str, str] = {}

    def announce(self, health: Health) -> None:
        bad = keyed(health)
        for about in bad.keys() | self._said.keys() - _OWN:
            self.say(about, bad.get(about, ""))
        self._metrics.show(health)
        self._try("state", lambda: pulse.write(self._state, health.at, _unhealthy(health)))
        if (file := self._metrics_file) is not None:
            self._try("metrics_file", lambda: self._metrics.write(file))
        failures = self._teller.look(bad, health.at)
        self._metrics.told(len(failures))
        for failure in failures:
            self._log.error(f"a message could not be sent: {failure}")

    def say(self, about: str, problem: str) -> None:
        """Into the log, once per change of kind: a look twice a minute must not fill it. Empty when it is over."""
        if bool(self._said.get(about)) == bool(problem):
            return
        if problem:
            self._said[about] = problem
            self._log.error(f"{about}: {problem}")
        else:
            del self._said[about]
            self._log.info(f"{about}: over")

    def _try(self, about: str, act: Callable[[], None]) -> None:
        try:
            act()
        except ConfigError as error:
            self.say(about, str(error))
        else:
            self.say(about, "")


def _unhealthy(health: Health) -> dict[str, str]:
    targets = {one.target: one.problems["stale"] for one in health.targets if not one.healthy}
    return {**health.problems, **targets}
