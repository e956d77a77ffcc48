"""The health of all targets as Prometheus metrics, for a scrape or for the node exporter's textfile collector.

Names and units follow https://prometheus.io/docs/practices/naming/: seconds, bytes, Unix timestamps.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, make_wsgi_app, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from dbguard import __version__
from dbguard.errors import ConfigError
from dbguard.health import Health, TargetHealth

Result = Literal["success", "failed", "partly", "skipped"]
"""How a run of one target ended; partly: not in every storage."""

_Read = Callable[[TargetHealth], float | None]

_OF_A_TARGET: dict[str, tuple[str, _Read]] = {
    "backup_last_success_timestamp_seconds": (
        "When the newest good archive was taken; absent while there is none.",
        lambda of: of.newest.timestamp() if of.newest else None,
    ),
    "backup_last_duration_seconds": (
        "How long the newest archive took to make.",
        lambda of: of.took.total_seconds() if of.took is not None else None,
    ),
    "backup_last_size_bytes": ("Stored size of the newest archive.", lambda of: of.size if of.archives else None),
    "backup_last_plain_size_bytes": (
        "Size of the newest archive before compression and encryption.",
        lambda of: of.plain_size if of.archives else None,
    ),
    "backup_max_age_seconds": (
        "The age at which the newest good archive is too old.",
        lambda of: of.max_age.total_seconds(),
    ),
    "backup_next_run_timestamp_seconds": (
        "When the next scheduled run begins.",
        lambda of: of.next_run.timestamp() if of.next_run else None,
    ),
    "backup_running": ("1 while a backup runs.", lambda of: of.running_since is not None),
    "archives": ("How many archives there are.", lambda of: of.archives),
    "target_healthy": ("1 when the newest good archive is as young as it should be.", lambda of: of.healthy),
}
"""Gauges with the one label `target`: what each means, and how it is read. None: the target has no such series."""


class Metrics:
    """What is exported: the last health that was shown, and what was counted since the start. Safe in all threads;
    a scrape sees one snapshot, never half of one."""

    def __init__(self) -> None:
        self._health: Health | None = None
        self._runs: Counter[tuple[str, Result]] = Counter()
        self._unsent = 0
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=True)
        self._registry.register(self)
        self.app: Callable[..., Iterable[bytes]] = make_wsgi_app(self._registry)
        """WSGI; answers any path with the metrics."""

    def show(self, health: Health) -> None:
        """From now on this is exported. Targets that are gone lose their series, counters too; a new target's
        counters begin at 0, for only then does `increase()` see the first run."""
        names = {one.target for one in health.targets}
        with self._lock:
            self._health = health
            known = {key: count for key, count in self._runs.items() if key[0] in names}
            self._runs = Counter({(name, result): 0 for name in names for result in get_args(Result)} | known)

    def ran(self, target: str, result: Result) -> None:
        """Counts one run that ended."""
        with self._lock:
            self._runs[target, result] += 1

    def told(self, failed: int) -> None:
        """Counts the notifications that did not arrive."""
        with self._lock:
            self._unsent += failed

    def write(self, path: Path) -> None:
        """The textfile, whole or not at all. Raises ConfigError."""
        try:
            write_to_textfile(str(path), self._registry)
        except OSError as error:
            raise ConfigError(f"metrics_file: {path}: {error.strerror or error}") from error

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        with self._lock:
            health, runs, unsent = self._health, self._runs.copy(), self._unsent
        targets = health.targets if health else ()
        for name, (meaning, read) in _OF_A_TARGET.items():
            yield _gauge(name, meaning, (((one.target,), read(one)) for one in targets), ["target"])
        problems = [((one.target, problem), 1.0) for one in targets for problem in sorted(one.problems)]
        yield _gauge("target_problem", "1 for each problem a target has.", problems, ["target", "problem"])
        yield from _of_the_sidecar(health)
        yield _counted(runs)
        yield CounterMetricFamily("dbguard_notifications_failed", "Notifications that did not arrive.", value=unsent)
        yield InfoMetricFamily("dbguard_build", "The version of dbguard.", value={"version": __version__})


def _of_the_sidecar(health: Health | None) -> Iterator[Metric]:
    """Without any series before the first look."""
    told = [health] if health else []
    about = [((about,), 1.0) for one in told for about in sorted(one.problems)]
    yield _gauge("problem", "1 for each problem that is no single target's, by what it is about.", about, ["about"])
    yield _gauge(
        "healthy", "1 when every target is healthy and nothing else is wrong.", (((), one.healthy) for one in told)
    )
    looked = (((), one.at.timestamp()) for one in told)
    yield _gauge("last_look_timestamp_seconds", "When dbguard last looked at everything: its heartbeat.", looked)


def _gauge(
    name: str, meaning: str, values: Iterable[tuple[tuple[str, ...], float | None]], labels: Iterable[str] = ()
) -> Metric:
    family = GaugeMetricFamily(f"dbguard_{name}", meaning, labels=[*labels])
    for labelled, value in values:
        if value is not None:
            family.add_metric(labelled, float(value))
    return family


def _counted(runs: Counter[tuple[str, Any]]) -> Metric:
    family = CounterMetricFamily("dbguard_runs", "Runs that ended, by how.", labels=["target", "result"])
    for labels, count in sorted(runs.items()):
        family.add_metric(labels, count)
    return family
