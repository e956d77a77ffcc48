"""What a backup costs the application: latencies of small queries while it runs.

tests/bench/run cost [--large MIB] [--rounds N]

Writes docs/benchmarks/cost.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from tests.bench import report
from tests.bench.load import RATE, THREADS, load
from tests.bench.server import Server
from tests.bench.stage import Stage, stage
from tests.bench.ways import Dbguard, Way, gzip_pipe, limit, run

LONG_ENOUGH = 15.0  # seconds of load in a round, for each way
QUIET = "no backup"
NOTE = (
    f"Backups are repeated, one after the other, for at least {LONG_ENOUGH:.0f} seconds a round. A query's time counts "
    "from when it was due. The application runs on the same cores as the server and the backup."
)


def main() -> None:
    with stage(__doc__) as here:
        here.server.fill(here.large)
        ours = Dbguard(here.server, here.home)
        ways = {
            QUIET: None,
            **{way.name: way for way in (limit(here.server, here.home), gzip_pipe(here.server, here.home))},
            **{f"dbguard, compression={where}": ours.backup(compression=where) for where in ("container", "client")},
        }
        latencies: dict[str, list[Sequence[float]]] = {name: [] for name in ways}
        durations: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(here.rounds):
            for name, way in ways.items():
                measured, took = _round(way, here.server)
                latencies[name].append(measured)
                durations[name] += took
                print(f"{name:<50} {len(measured):6} queries, p99 {_percentile(measured, 99):6.2f} ms", flush=True)
        report.write("cost", _report(here, latencies, durations))


def _round(way: Way | None, server: Server) -> tuple[Sequence[float], Sequence[float]]:
    """Latencies, and how long each backup took: as many backups, one after the other, as the time needs."""
    took = []
    with load(server) as latencies:
        end = time.monotonic() + LONG_ENOUGH
        while time.monotonic() < end:
            if way is None:
                time.sleep(LONG_ENOUGH)
            else:
                took.append(run(way, server).seconds)
    return latencies, took


def _percentile(latencies: Sequence[float], percent: int) -> float:
    return statistics.quantiles(latencies, n=100, method="inclusive")[percent - 1] * 1e3


def _report(here: Stage, latencies: dict[str, list[Sequence[float]]], durations: dict[str, list[float]]) -> list[str]:
    said = (
        f"{report.amount(here.server.dump_bytes())} of SQL; {THREADS} threads send {RATE} point queries a second, "
        f"every other one an update, to a table of their own. Medians of {here.rounds} interleaved rounds; the longest "
        "is that of all."
    )
    rows = [
        [
            name,
            str(sum(map(len, rounds))),
            *(f"{statistics.median(_percentile(one, percent) for one in rounds):.2f}" for percent in (50, 99)),
            f"{max(map(max, rounds)) * 1e3:.1f}",
            f"{statistics.median(durations[name]):.1f}" if durations[name] else "",
        ]
        for name, rounds in latencies.items()
    ]
    columns = ["while", "queries", "p50, ms", "p99, ms", "longest, ms", "a backup took, s"]
    return [
        *report.heading("What a backup costs the application", here.server, said),
        *report.table(columns, rows),
        "",
        *report.text(NOTE),
    ]


if __name__ == "__main__":
    main()
