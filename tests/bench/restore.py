"""Restores of one MySQL database: what everybody does, the loader of another program, dbguard, and its verify.

tests/bench/run restore [--large MIB] [--rounds N]

The ways are interleaved, round by round, each into a server without that database, and what each has loaded is
compared with what was there. Writes docs/benchmarks/restore.md.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench import report
from tests.bench.measure import MIB, Cost, Failed
from tests.bench.peers import mydumper, path_of
from tests.bench.server import DUMP, PASSWORD, Server
from tests.bench.stage import Stage, stage
from tests.bench.ways import Dbguard, Way, measured, run

PLAIN = "zstd -dc | docker exec -i mysql"
VERIFY = "dbguard verify"
NOTES = [
    "- Each way gets the database as its own program dumped it, and the server has lost it. After each run the tables'",
    "  own checksums are compared with those of the data that was dumped.",
    "- `dbguard verify` starts a server of its own, with a quarter of a gigabyte of buffers, loads, opens, counts and",
    "  compares all that is in it, and removes it; its CPU seconds in there are not counted here.",
    "- myloader takes a file after the other; mydumper, as Debian ships it, writes one file for each table.",
    "- CPU seconds: of the process tree on the host; of the database's container; of Docker.",
]


def main() -> None:
    with stage(__doc__) as here:
        here.server.fill(here.large)
        size, sums = here.server.dump_bytes(), checksums(here.server)
        ways = prepared(here)
        runs: dict[str, list[Cost]] = {way.name: [] for way in ways}
        for _ in range(here.rounds):
            for way in ways:
                runs[way.name].append(loaded(way, here.server, sums))
                print(f"{way.name:<50} {runs[way.name][-1].seconds:6.1f} s", flush=True)
        report.write("restore", _report(here, size, runs))


def prepared(here: Stage) -> Sequence[Way]:
    """Every way has its dump."""
    ours = Dbguard(here.server, here.home)
    run(ours.backup(), here.server)
    dump = here.home / "plain.sql.zst"
    line = f"{shlex.join(here.server.command(*DUMP))} | zstd -q -3 > {dump}"
    subprocess.run(["bash", "-o", "pipefail", "-c", line], stdin=subprocess.DEVNULL, check=True)
    load = shlex.join(here.server.command("mysql", "-uroot"))
    plain = ["bash", "-o", "pipefail", "-c", f"zstd -dcq {dump} | {load}"]
    others = [myloader(here.server, here.home, threads) for threads in (1, 2)]
    return [
        Way(name=PLAIN, argv=plain, folder=here.home),
        *others,
        ours.loading("restore", "dbguard restore, 1 session", load_sessions="1"),
        ours.loading("restore", "dbguard restore"),
        ours.loading("verify", VERIFY),
    ]


def myloader(server: Server, home: Path, threads: int) -> Way:
    """What mydumper has dumped."""
    dump = mydumper(server, home, threads)
    if threads == 1:
        run(dump, server)
    login = ["--socket", str(server.socket), "--user", "root", "--password", PASSWORD]
    argv = [path_of("myloader"), *login, "--directory", str(dump.folder), "--threads", str(threads)]
    return Way(name=dump.name.replace("mydumper", "myloader"), argv=argv, folder=dump.folder)


def loaded(way: Way, server: Server, sums: str) -> Cost:
    """Raises Failed, also when something else is there afterwards."""
    if way.name == VERIFY:
        return measured(way.argv, os.environ | way.environment, server)
    server.sql("DROP DATABASE IF EXISTS bench")
    cost = measured(way.argv, os.environ | way.environment, server)
    if checksums(server) != sums:
        raise Failed(f"{way.name} has loaded something else")
    return cost


def checksums(server: Server) -> str:
    return server.sql("CHECKSUM TABLE bench.customers, bench.orders, bench.files")


def _report(here: Stage, size: int, runs: Mapping[str, Sequence[Cost]]) -> list[str]:
    said = f"{report.amount(size)} of SQL; medians of {here.rounds} interleaved rounds. Only the ratios carry over."
    plain = report.median(runs[PLAIN], lambda cost: cost.seconds)
    columns = ["way", "seconds", "to the plain load", "CPU s, host", "CPU s, database", "CPU s, engine", "memory, MiB"]
    return [
        *report.heading("A restore: time, CPU, memory", here.server, said),
        *report.table(columns, [_row(name, costs, plain) for name, costs in runs.items()]),
        "",
        *NOTES,
    ]


def _row(name: str, costs: Sequence[Cost], plain: float) -> list[str]:
    seconds = report.median(costs, lambda cost: cost.seconds)
    parts = [lambda cost: cost.cpu, lambda cost: cost.database, lambda cost: cost.engine]
    return [
        name,
        f"{seconds:.1f}",
        f"{seconds / plain:.2f}",
        *(f"{report.median(costs, part):.1f}" for part in parts),
        f"{max(cost.peak for cost in costs) / MIB:.0f}",
    ]


if __name__ == "__main__":
    main()
