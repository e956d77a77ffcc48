"""Backups of one MySQL container: the physical limit, what scripts do, other backup programs, dbguard.

tests/bench/run backup [--large MIB] [--rounds N]

The ways are interleaved, round by round, and compared by their medians. Writes docs/benchmarks/backup.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.bench import report
from tests.bench.measure import MIB, Cost
from tests.bench.peers import peers
from tests.bench.stage import Stage, stage
from tests.bench.ways import GZIP, LIMIT, OURS, Dbguard, Outcome, gzip_pipe, interleave, limit, run, zstd_pipe

SMALL = 10  # MiB
COLUMNS = ["way", "seconds", "to the limit", "to the gzip pipe", "CPU s, host", "CPU s, database", "CPU s, engine"]
NOTES = [
    "- The limit is what the server and its dump program need when nobody takes the dump. Every other way starts from",
    "  an empty folder or repository, so nothing is deduplicated against an earlier backup.",
    "- CPU seconds: of the process tree on the host; of the database's container, with the dump program when that runs",
    "  in there; of dockerd, containerd and the shim, with whatever else these did meanwhile.",
    "- Memory is that of the process tree on the host, all its processes added up.",
    "- Each program compresses as it does by default: restic with zstd, and it encrypts always; borg with lz4;",
    "  mydumper, as Debian ships it, with gzip. borgmatic's client runs by `docker exec`, mydumper uses the server's",
    "  socket. mydumper's threads take a table each, and it writes binary columns as they are: its text is shorter",
    "  than that of the others, who write them in hexadecimal.",
]


def main() -> None:
    with stage(__doc__) as here:
        ours = Dbguard(here.server, here.home)
        memory: dict[str, dict[int, Cost]] = {"backup": {}, "restore": {}}
        here.server.fill(SMALL)
        memory["backup"][SMALL] = run(ours.backup(), here.server)
        memory["restore"][SMALL] = ours.restore()
        here.server.fill(here.large)
        size = here.server.dump_bytes()
        ways = [make(here.server, here.home) for make in (limit, gzip_pipe, zstd_pipe)]
        outcomes = interleave([*ways, *peers(here.server, here.home), ours.backup()], here.server, here.rounds)
        by_name = {outcome.name: outcome for outcome in outcomes}
        if by_name[OURS].reason:
            raise SystemExit(by_name[OURS].reason)
        memory["backup"][here.large] = max(by_name[OURS].runs, key=lambda cost: cost.peak)
        memory["restore"][here.large] = ours.restore()
        report.write("backup", _report(here, size, by_name, memory))


def _report(
    here: Stage, size: int, outcomes: Mapping[str, Outcome], memory: Mapping[str, Mapping[int, Cost]]
) -> list[str]:
    said = f"{report.amount(size)} of SQL; medians of {here.rounds} interleaved rounds. Only the ratios carry over."
    unit, gzip = report.seconds(outcomes[LIMIT]), report.seconds(outcomes[GZIP])
    return [
        *report.heading("A backup: time, CPU, memory, size", here.server, said),
        *report.draw("bars", "backup", _picture(outcomes.values(), unit, size)),
        *report.table(
            [*COLUMNS, "memory, MiB", "stored, MB"], [_row(outcome, unit, gzip) for outcome in outcomes.values()]
        ),
        "",
        *NOTES,
        "",
        *_memory(memory),
    ]


def _row(outcome: Outcome, limit: float, gzip: float) -> list[str]:
    if outcome.reason:
        return [outcome.name, outcome.reason, *[""] * 7]
    seconds = report.seconds(outcome)
    parts = [lambda run: run.cpu, lambda run: run.database, lambda run: run.engine]
    return [
        outcome.name,
        f"{seconds:.1f}",
        f"{seconds / limit:.2f}",
        f"{seconds / gzip:.2f}",
        *(f"{report.median(outcome.runs, part):.1f}" for part in parts),
        f"{max(run.peak for run in outcome.runs) / MIB:.0f}",
        "" if outcome.name == LIMIT else f"{report.median(outcome.runs, lambda run: run.stored) / 1e6:.0f}",
    ]


def _memory(memory: Mapping[str, Mapping[int, Cost]]) -> list[str]:
    rows = []
    for verb, sizes in memory.items():
        small, large = (sizes[size].peak / MIB for size in sorted(sizes))
        rows.append([verb, f"{small:.0f} MiB", f"{large:.0f} MiB", f"{large - small:+.0f} MiB"])
    restores = [[f"{size} MiB of SQL", f"{run.seconds:.1f}"] for size, run in sorted(memory["restore"].items())]
    return [
        *report.table(["peak memory of dbguard", "small dump", "large dump", "difference"], rows),
        "",
        *report.table(["restore with dbguard", "seconds"], restores),
    ]


def _picture(outcomes: Iterable[Outcome], limit: float, size: int) -> dict[str, Any]:
    measured = sorted((report.seconds(outcome), outcome.name) for outcome in outcomes if outcome.runs)
    return {
        "title": f"Time of a backup of {report.amount(size)} of SQL, as a multiple of mysqldump > /dev/null",
        "axis": "shorter is better",
        "bars": [
            {"name": _short(name), "value": seconds / limit, "label": f"{seconds / limit:.1f} x  ({seconds:.1f} s)"}
            for seconds, name in measured
        ],
    }


def _short(name: str) -> str:
    """The limit is marked in the picture by its name."""
    return f"limit: {name.partition(',')[0]}" if name == LIMIT else name


if __name__ == "__main__":
    main()
