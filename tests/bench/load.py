"""load.py SOCKET: small queries at a fixed rate, as an application sends them, until standard input ends.

Prints `ready`, and at the end how many seconds each query took, as JSON. A process of its own: what measures must not
delay it. A query's time counts from when it was due, so that waiting in line behind a slow one counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import mysql.connector

from tests.bench.server import PASSWORD, Server

THREADS = 4
RATE = 200  # queries per second, all threads together: far from what the server can do
ROWS = 10_000
TABLE = f"""
    DROP TABLE IF EXISTS bench.points; CREATE TABLE bench.points (id INT PRIMARY KEY, hits INT NOT NULL);
    SET SESSION cte_max_recursion_depth = {ROWS};
    INSERT INTO bench.points WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS - 1})
        SELECT i, 0 FROM n;
"""
QUERIES = ("SELECT hits FROM points WHERE id = %s", "UPDATE points SET hits = hits + 1 WHERE id = %s")


@contextmanager
def load(server: Server) -> Iterator[list[float]]:
    """The load, from now to the end of the block. The list holds the latencies then, in seconds."""
    server.sql(TABLE)
    argv = [sys.executable, "-m", "tests.bench.load", str(server.socket)]
    latencies: list[float] = []
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the load did not start")
        try:
            yield latencies
        finally:
            process.stdin.close()
            said = process.stdout.read()
    if process.returncode != 0:
        raise SystemExit("the load failed")
    latencies += json.loads(said)


def main() -> None:
    over = threading.Event()
    connected = threading.Barrier(THREADS + 1)
    with ThreadPoolExecutor(THREADS) as pool:
        threads = [pool.submit(_queries, number, connected, over) for number in range(THREADS)]
        connected.wait(timeout=30)
        print("ready", flush=True)
        sys.stdin.read()
        over.set()
        print(json.dumps([latency for thread in threads for latency in thread.result()]))


def _queries(number: int, connected: threading.Barrier, over: threading.Event) -> list[float]:
    latencies: list[float] = []
    connection = mysql.connector.connect(
        unix_socket=sys.argv[1], user="root", password=PASSWORD, database="bench", autocommit=True
    )
    cursor = connection.cursor()
    connected.wait(timeout=30)
    due = time.monotonic() + number / RATE
    while not over.wait(max(0.0, due - time.monotonic())):
        cursor.execute(QUERIES[len(latencies) % len(QUERIES)], (len(latencies) * 7919 % ROWS,))
        cursor.fetchall()
        latencies.append(time.monotonic() - due)
        due += THREADS / RATE
    connection.close()
    return latencies


if __name__ == "__main__":
    main()
