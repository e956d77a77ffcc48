"""Time and memory of the main job, beside the physical limit and what most scripts do.

    tests/bench/run [--large MIB] [--rounds N]

Everything runs against one MySQL container of its own. The ways to take a backup are interleaved, round by round, and
compared by their medians. Writes docs/benchmarks/main-job.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "docs/benchmarks/main-job.md"
IMAGE = os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7")
DUMP = "MYSQL_PWD=bench mysqldump -uroot --single-transaction --routines --events --hex-blob --set-gtid-purged=OFF"
ROW_BYTES = 1120  # of SQL text, all three tables together, measured
MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    seconds: float
    peak: int  # bytes, resident, of the process on the host


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--large", type=int, default=1024, help="MiB of SQL of the large database")
    options.add_argument("--rounds", type=int, default=3)
    wanted = options.parse_args()
    name = f"dbguard-bench-{uuid.uuid4().hex[:8]}"
    container = start(name)
    home = Path(tempfile.mkdtemp(prefix="dbguard-bench-"))
    try:
        lines = measure(name, container, home, wanted.large, wanted.rounds)
    finally:
        subprocess.run(["docker", "rm", "-fv", container], capture_output=True, check=True)
        shutil.rmtree(home)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text("\n".join(lines) + "\n")
    print(f"\nwritten to {REPORT.relative_to(ROOT)}")


def measure(name: str, container: str, home: Path, large: int, rounds: int) -> list[str]:
    ours = Dbguard(home, name)
    memory: dict[str, dict[int, Cost]] = {"backup": {}, "restore": {}}
    fill(container, 10)
    memory["backup"][10] = ours.backup()
    memory["restore"][10] = ours.restore(container)
    fill(container, large)
    ways = competitors(container, home, ours)
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            costs[way].append(run())
            print(f"{way:<40} {costs[way][-1].seconds:6.1f} s", flush=True)
    memory["backup"][large] = max(costs["dbguard backup now"], key=lambda cost: cost.peak)
    memory["restore"][large] = ours.restore(container)
    return report(costs, memory, ours.facts())


def competitors(container: str, home: Path, ours: Dbguard) -> dict[str, Callable[[], Cost]]:
    inside = ["docker", "exec", container, "sh", "-c"]
    piped = f"docker exec {container} sh -c '{DUMP} --databases bench'"
    return {
        "mysqldump > /dev/null, in the container": lambda: cost([*inside, f"{DUMP} --databases bench > /dev/null"]),
        "docker exec mysqldump | gzip": lambda: cost(["sh", "-c", f"{piped} | gzip > {home}/peer.gz"]),
        "docker exec mysqldump | zstd -3": lambda: cost(["sh", "-c", f"{piped} | zstd -q -f -3 -o {home}/peer.zst"]),
        "dbguard backup now": ours.backup,
    }


class Dbguard:
    """The real command line, with a storage of its own."""

    def __init__(self, home: Path, target: str) -> None:
        self._target = target
        self._environment = os.environ | {
            "DBGUARD_STORAGE": (home / "backups").as_uri(),
            "DBGUARD_STATE": str(home / "state"),
            "DBGUARD_KEEP_LAST": "1",
        }

    def backup(self) -> Cost:
        return self._run("backup", "now", self._target)

    def restore(self, container: str) -> Cost:
        sql(container, "DROP DATABASE bench")
        return self._run("restore", self._target, "--latest", "--yes")

    def facts(self) -> dict[str, int]:
        listing = self._json("list")
        newest = listing["archives"][0]
        return {"plain": newest["plain_size"], "stored": newest["size"]}

    def _json(self, *arguments: str) -> dict[str, list[dict[str, int]]]:
        done = subprocess.run(
            [sys.executable, "-m", "dbguard", *arguments, "--json"],
            env=self._environment,
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def _run(self, *arguments: str) -> Cost:
        return cost([sys.executable, "-m", "dbguard", *arguments], self._environment)


def cost(argv: list[str], environment: dict[str, str] | None = None) -> Cost:
    started = time.monotonic()
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{argv[:4]} failed: {said.decode()}")
    return Cost(seconds=time.monotonic() - started, peak=usage.ru_maxrss * 1024)


def start(name: str) -> str:
    """A server with room for large statements, without a binary log: what is measured is the dump and the load."""
    argv = [
        "docker",
        "run",
        "-d",
        "--label",
        "dbguard-test=1",
        "--name",
        name,
        "-e",
        "MYSQL_ROOT_PASSWORD=bench",
        IMAGE,
    ]
    server = ["mysqld", "--skip-log-bin", "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=2"]
    container = subprocess.run([*argv, *server], capture_output=True, check=True, text=True).stdout.strip()
    for _ in range(120):
        if subprocess.run(client(container, "-h127.0.0.1", "-eDO 0"), capture_output=True, check=False).returncode == 0:
            return container
        time.sleep(0.5)
    raise SystemExit("the server did not start")


def client(container: str, *options: str) -> list[str]:
    return ["docker", "exec", "-i", "-e", "MYSQL_PWD=bench", container, "mysql", "-uroot", *options]


def sql(container: str, statements: str) -> None:
    subprocess.run(client(container), input=statements.encode(), capture_output=True, check=True)


def fill(container: str, mib: int) -> None:
    """Three tables, shaped like a shop: orders with JSON and two indexes, customers, random bytes."""
    rows = mib * MIB // ROW_BYTES
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    sql(
        container,
        f"""
        DROP DATABASE IF EXISTS bench; CREATE DATABASE bench; USE bench;
        SET SESSION cte_max_recursion_depth = 100000000;
        CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(80), email VARCHAR(120), KEY (email));
        CREATE TABLE orders (id INT PRIMARY KEY, customer INT, placed DATETIME, total DECIMAL(10,2), detail JSON,
                             note TEXT, KEY (customer), KEY (placed));
        CREATE TABLE files (id INT PRIMARY KEY, content BLOB);
        INSERT INTO customers {numbers}
            SELECT i, CONCAT('customer ', i), CONCAT('c', i, '@', SHA2(i, 256), '.example') FROM n;
        INSERT INTO orders {numbers}
            SELECT i, i * 7 % {rows}, '2024-01-01' + INTERVAL i SECOND, i % 10000 / 7,
                   JSON_OBJECT('sku', SHA2(i, 224), 'lines', JSON_ARRAY(i, i * 2, i % 97), 'paid', i % 3 = 0),
                   CONCAT(REPEAT('please deliver after noon, ring twice; ', 5), SHA2(i, 512)) FROM n;
        INSERT INTO files {numbers} SELECT i, RANDOM_BYTES(250) FROM n;
        """,
    )


def report(costs: dict[str, list[Cost]], memory: dict[str, dict[int, Cost]], facts: dict[str, int]) -> list[str]:
    limit, gzip = (statistics.median(c.seconds for c in costs[way]) for way in list(costs)[:2])
    lines = [
        "# The main job: time and memory",
        "",
        f"`make bench` on {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()};",
        f"{facts['plain'] / 1e9:.2f} GB of SQL, {facts['stored'] / 1e9:.2f} GB stored; medians of "
        f"{len(next(iter(costs.values())))} interleaved rounds. Only the ratios carry over to another machine.",
        "",
        "| way | seconds | to the limit | to the gzip pipe |",
        "| --- | ---: | ---: | ---: |",
    ]
    for way, runs in costs.items():
        seconds = statistics.median(run.seconds for run in runs)
        shown = way.replace("|", "\\|")  # a cell of the table
        lines.append(f"| {shown} | {seconds:.1f} | {seconds / limit:.2f} | {seconds / gzip:.2f} |")
    lines += ["", "| peak memory of dbguard | small dump | large dump | difference |", "| --- | ---: | ---: | ---: |"]
    for verb, sizes in memory.items():
        small, big = (sizes[size].peak / MIB for size in sorted(sizes))
        lines.append(f"| {verb} | {small:.0f} MiB | {big:.0f} MiB | {big - small:+.0f} MiB |")
    lines += ["", "| restore | seconds |", "| --- | ---: |"]
    lines += [f"| {size} MiB of SQL | {run.seconds:.1f} |" for size, run in sorted(memory["restore"].items())]
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main()
