"""The MySQL container that everything runs against, and its data."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.bench.measure import MIB, Failed

IMAGE = os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7")
PASSWORD = "bench"
SERVICE = "db"
DUMP_OPTIONS = ["--single-transaction", "--routines", "--events", "--hex-blob", "--set-gtid-purged=OFF"]
DUMP = ["mysqldump", "-uroot", *DUMP_OPTIONS, "--databases", "bench"]
ROW_BYTES = 1120  # of SQL text, all three tables together, measured


class Server:
    def __init__(self, name: str, container: str, sockets: Path) -> None:
        self.project = name
        self.target = f"{name}/{SERVICE}"
        self.container = container
        self.socket = sockets / "mysqld.sock"

    def command(self, *argv: str) -> list[str]:
        """Run this in the container, as root of the database."""
        return ["docker", "exec", "-i", "-e", f"MYSQL_PWD={PASSWORD}", self.container, *argv]

    def sql(self, statements: str) -> str:
        """What they say. Raises Failed."""
        argv = self.command("mysql", "-uroot", "--batch", "--skip-column-names")
        done = subprocess.run(argv, input=statements, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return done.stdout.strip()

    def version(self) -> str:
        return self.sql("SELECT VERSION()")

    def cpu(self) -> float:
        """CPU seconds of the container so far, by its control group; the engine knows where that is."""
        stats = docker.from_env().containers.get(self.container).stats(stream=False, one_shot=True)
        assert isinstance(stats, dict)
        return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def dump_bytes(self) -> int:
        """Size of the SQL text."""
        counted = self.command("sh", "-c", f"{' '.join(DUMP)} | wc -c")
        return int(subprocess.run(counted, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout)

    def fill(self, mib: int) -> None:
        """Three tables, shaped like a shop: orders with JSON and two indexes, customers, random bytes."""
        rows = mib * MIB // ROW_BYTES
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        self.sql(
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

    def fill_tables(self, count: int) -> None:
        """So many tables of ten rows each."""
        rows = ", ".join(f"({row}, 'row {row}')" for row in range(10))
        tables = (
            f"CREATE TABLE t{number:05} (id INT PRIMARY KEY, name VARCHAR(40), KEY (name)); "
            f"INSERT INTO t{number:05} VALUES {rows};"
            for number in range(count)
        )
        self.sql("\n".join(["DROP DATABASE IF EXISTS bench; CREATE DATABASE bench; USE bench;", *tables]))


@contextmanager
def running(home: Path) -> Iterator[Server]:
    """A server with room for large statements, without a binary log: what is measured is the dump and the load.

    Its socket is in `home`, where the host's programs reach it without a network in between. `home / "shared"` is there
    under its own path too.
    """
    name = f"dbguard-bench-{uuid.uuid4().hex[:8]}"
    sockets, shared = home / "mysqld", home / "shared"
    for folder in (sockets, shared):
        folder.mkdir()
        folder.chmod(0o1777)  # the server is another user
    mounts = ["-v", f"{sockets}:/var/run/mysqld", "-v", f"{shared}:{shared}"]
    # To dbguard it is a service of a project of its own, whatever else runs on this engine.
    labels = ["dbguard-test=1", f"com.docker.compose.project={name}", f"com.docker.compose.service={SERVICE}"]
    options = [*(f"--label={label}" for label in labels), "--name", name, f"-eMYSQL_ROOT_PASSWORD={PASSWORD}", *mounts]
    mysqld = ["mysqld", "--skip-log-bin", "--innodb-buffer-pool-size=1G", "--innodb-flush-log-at-trx-commit=2"]
    try:
        started = subprocess.run(["docker", "run", "-d", *options, IMAGE, *mysqld], capture_output=True, text=True)
        if started.returncode != 0:
            raise SystemExit(f"the server did not start: {started.stderr}")
        server = Server(name, started.stdout.strip(), sockets)
        _wait_for(server)
        yield server
    finally:
        _remove(name)


def _remove(name: str) -> None:
    """Tried again: an engine with much to do may refuse at first."""
    for _ in range(5):
        done = subprocess.run(["docker", "rm", "-fv", name], capture_output=True, text=True)
        if done.returncode == 0 or "No such container" in done.stderr:
            return
        time.sleep(2)
    print(f"{name} is still there, `docker rm -fv` it: {done.stderr.strip()}", file=sys.stderr)


def _wait_for(server: Server) -> None:
    for _ in range(240):
        # By TCP: the server of a first start, which goes away again, listens on its socket alone.
        probe = server.command("mysql", "-uroot", "-h127.0.0.1", "-eDO 0")
        if subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
            return
        time.sleep(0.5)
    raise SystemExit("the server did not start")
