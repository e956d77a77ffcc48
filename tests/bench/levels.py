"""What a level of compression costs and brings, in the container and in dbguard's own process.

tests/bench/run levels [--large MIB] [--rounds N]

Writes docs/benchmarks/levels.md.
"""

from __future__ import annotations

from tests.bench import report
from tests.bench.stage import stage
from tests.bench.ways import Dbguard, Outcome, interleave

LEVELS = (1, 3, 6, 9)
PLACES = ("container", "client")
NOTE = (
    "Almost half of the text is the hexadecimal form of random bytes, where a higher level finds nothing more: real "
    "data gains more by it. CPU seconds are those of dbguard on the host, of the database's container, and of Docker."
)


def main() -> None:
    with stage(__doc__) as here:
        here.server.fill(here.large)
        size = here.server.dump_bytes()
        ours = Dbguard(here.server, here.home)
        ways = [
            ours.backup(f"{place}, level {level}", compression=place, level=str(level))
            for level in LEVELS
            for place in PLACES
        ]
        outcomes = interleave(ways, here.server, here.rounds)
        said = f"{report.amount(size)} of SQL; medians of {here.rounds} interleaved rounds of `dbguard backup now`."
        columns = ["compression", "seconds", "CPU s, all", "host", "database", "engine", "stored, MB", "of the SQL"]
        report.write(
            "levels",
            [
                *report.heading("Levels of compression", here.server, said),
                *report.table(columns, [_row(outcome, size) for outcome in outcomes]),
                "",
                *report.text(NOTE),
            ],
        )


def _row(outcome: Outcome, size: int) -> list[str]:
    if outcome.reason:
        return [outcome.name, outcome.reason, *[""] * 6]
    runs = outcome.runs
    stored = report.median(runs, lambda run: run.stored)
    return [
        outcome.name,
        f"{report.seconds(outcome):.1f}",
        f"{report.median(runs, lambda run: run.all_cpu):.1f}",
        f"{report.median(runs, lambda run: run.cpu):.1f}",
        f"{report.median(runs, lambda run: run.database):.1f}",
        f"{report.median(runs, lambda run: run.engine):.1f}",
        f"{stored / 1e6:.0f}",
        f"{stored / size:.0%}",
    ]


if __name__ == "__main__":
    main()
