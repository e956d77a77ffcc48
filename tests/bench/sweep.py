"""How the time of a backup grows with the data, and with the number of tables.

tests/bench/run sweep [--large MIB] [--rounds N] [--tables N]

Writes docs/benchmarks/sweep.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.bench import report
from tests.bench.stage import Stage, stage
from tests.bench.ways import GZIP, LIMIT, OURS, Dbguard, Outcome, gzip_pipe, interleave, limit


def main() -> None:
    with stage(__doc__) as here:
        found: dict[str, Sequence[Outcome]] = {}
        for mib in sorted({10, min(100, here.large), here.large}):
            here.server.fill(mib)
            found[f"{mib} MiB, 3 tables"] = _measured(here)
        for tables in (here.tables // 10, here.tables):
            here.server.fill_tables(tables)
            found[f"{tables:,} tables of 10 rows"] = _measured(here)
        report.write("sweep", _report(here, found))


def _measured(here: Stage) -> Sequence[Outcome]:
    ours = Dbguard(here.server, here.home).backup()
    ways = [limit(here.server, here.home), gzip_pipe(here.server, here.home), ours]
    outcomes = interleave(ways, here.server, here.rounds)
    if failed := [outcome.reason for outcome in outcomes if outcome.reason]:
        raise SystemExit(failed[0])
    return outcomes


def _report(here: Stage, found: Mapping[str, Sequence[Outcome]]) -> list[str]:
    said = f"Medians of {here.rounds} interleaved rounds, in seconds."
    times = {data: [report.seconds(outcome) for outcome in outcomes] for data, outcomes in found.items()}
    rows = [
        [data, *(f"{time:.2f}" for time in (bare, piped, ours)), f"{ours / bare:.2f}", f"{ours / piped:.2f}"]
        for data, (bare, piped, ours) in times.items()
    ]
    columns = ["data", LIMIT, GZIP, OURS, "ours to the limit", "ours to the gzip pipe"]
    names = [f"limit: {LIMIT.partition(',')[0]}", GZIP, OURS]
    picture = {
        "title": "Time of a backup, by the size of the data and the number of tables",
        "axis": "seconds, logarithmic; left is better",
        "rows": list(times),
        "series": dict(zip(names, zip(*times.values(), strict=True), strict=True)),
    }
    return [
        *report.heading("A backup of more and more data", here.server, said),
        *report.draw("dots", "sweep", picture),
        *report.table(columns, rows),
    ]


if __name__ == "__main__":
    main()
