"""Tables that are changed while they are dumped: the change waits, or the backup is refused, or it is whole.

A dump stops in the middle of its table `m_slow` (a pipe of ours is full, mysqldump itself is the real one), so that
what happens meanwhile hits tables that are dumped already (`b_…`) and tables whose turn comes later (`z_…`). What an
archive holds is loaded with the server's own client, without dbguard.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dbguard, Fresh, Result
from tests.servers import PASSWORD, Server, docker

pytestmark = pytest.mark.docker
MYSQL = pytest.mark.parametrize("server", ["mysql97"], indirect=True)
MARIADB = pytest.mark.parametrize("server", ["mariadb118", "mariadb1011"], indirect=True)

NEVER = {"DBGUARD_BLOCK_DDL": "never"}
UNCOUNTED = {"DBGUARD_COUNTS": "false"}
"""The session that counts rows would keep whoever changes a table waiting."""
ALWAYS = {"DBGUARD_BLOCK_DDL": "always"}
NOT_HELD = "nobody was kept from changing tables"

# --- servers ---

DIGITS = "(" + " UNION ALL ".join(f"SELECT {number} AS n" for number in range(10)) + ")"
ROWS = 200
SHAPE = "(id INT PRIMARY KEY, v VARCHAR(60)) ENGINE=InnoDB"
PARTITIONS = " PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1000), PARTITION p1 VALUES LESS THAN MAXVALUE)"


def numbers(start: int, count: int = ROWS) -> str:
    """SELECT of `count` rows from `start` on."""
    return (
        f"SELECT {start} + a.n + 10 * b.n + 100 * c.n AS i FROM {DIGITS} a, {DIGITS} b, {DIGITS} c "
        f"WHERE a.n + 10 * b.n + 100 * c.n < {count}"
    )


def filled(table: str, start: int = 0) -> str:
    return f"INSERT INTO {table} SELECT i, CONCAT('{table} ', i) FROM ({numbers(start)}) AS x;"


SLOW_TABLE = f"""
CREATE TABLE m_slow (id INT PRIMARY KEY, v LONGTEXT) ENGINE=InnoDB;
INSERT INTO m_slow SELECT i, REPEAT('{"x" * 80}', 100) FROM ({numbers(0, 1000)}) AS x;
"""
"""8 MB: more than a pipe holds, and what the dump keeps before it writes."""


def tables(*names: str) -> str:
    """A database `d` with the slow table and these, made in one second."""
    made = [
        f"CREATE TABLE {name} {SHAPE}{PARTITIONS}; {filled(name)} {filled(name, 1000)}"
        if "parts" in name
        else f"CREATE TABLE {name} {SHAPE}; {filled(name)}"
        for name in sorted(names)
    ]
    return f"CREATE DATABASE d; USE d; {SLOW_TABLE} {' '.join(made)}"


PAUSE = """#!/bin/sh
real=/usr/bin/{program}
case " $* " in *" --version "*) exec "$real" --version ;; esac
trap : TERM
{{ trap : TERM; "$real" "$@"; echo $? >/tmp/test-status; }} | {{
  trap 'exit 1' TERM
  dd bs=1 count=2000 2>/dev/null
  : >/tmp/test-half
  while [ ! -e /tmp/test-go ]; do sleep 0.1; done
  cat
}}
exit "$(cat /tmp/test-status)"
"""


@dataclass(frozen=True)
class Pause:
    """Dumps on this server stop in the middle of `m_slow`."""

    server: Server

    def wait(self) -> None:
        wait_until(lambda: self._sh("[ ! -e /tmp/test-half ] || echo yes") == b"yes\n", "the dump begins", 30)

    def go_on(self) -> None:
        self._sh(": >/tmp/test-go")

    def put(self) -> None:
        program = self._sh(f"command -v {self.server.family}-dump || command -v mysqldump").split()[0].decode()
        name = Path(program).name
        self._sh(f"cat >/usr/local/bin/{name}; chmod 755 /usr/local/bin/{name}", PAUSE.format(program=name))

    def remove(self) -> None:
        self._sh(
            ": >/tmp/test-go; sleep 0.3; rm -f /usr/local/bin/mysqldump /usr/local/bin/mariadb-dump "
            "/tmp/test-half /tmp/test-go /tmp/test-status"
        )

    def _sh(self, script: str, stdin: str = "") -> bytes:
        return self.server.run("sh", "-c", script, stdin=stdin.encode())


@pytest.fixture
def pause(server: Server) -> Iterator[Pause]:
    pause = Pause(server)
    pause.put()
    try:
        yield pause
    finally:
        pause.remove()


def wait_until(true: Callable[[], object], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


def limited(server: Server, *more: str, without: Sequence[str] = ()) -> dict[str, str]:
    """The login of an account that sees all objects, and may do `more`."""
    needed = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "LOCK TABLES", *more]
    granted = ", ".join(one for one in needed if one not in without)
    server.sql(f"CREATE USER backup@localhost IDENTIFIED BY 'bp'; GRANT {granted} ON *.* TO backup@localhost")
    return {"DBGUARD_USER": "backup", "DBGUARD_PASSWORD": "bp"}


# --- sessions of others ---


class Client:
    """A client of the server's own that stays open, goes on after errors, and says how long each statement took."""

    def __init__(self, server: Server, user: str = "root") -> None:
        argv = [server.family, f"--user={user}", "--batch", "--skip-column-names", "--force", "--unbuffered", "d"]
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", "-e", "MYSQL_PWD", server.container, *argv],
            env=os.environ | {"MYSQL_PWD": PASSWORD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._lock = threading.Lock()
        self.say("SELECT 1")

    def say(self, statement: str) -> float:
        """Seconds until the answer was there."""
        with self._lock:
            start = time.monotonic()
            pipe = self._process
            assert pipe.stdin is not None
            assert pipe.stdout is not None
            pipe.stdin.write(f"{statement};\nSELECT 'fence';\n".encode())
            pipe.stdin.flush()
            while (line := pipe.stdout.readline()) != b"fence\n":
                assert line, f"the session ended at {statement}"
            return time.monotonic() - start

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Others:
    """Threads that each say their statements again and again. `waits` are the seconds of each, by the thread's name."""

    server: Server
    scripts: Mapping[str, Sequence[str]]
    waits: dict[str, list[float]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Others:
        self._threads = [threading.Thread(target=self._run, args=pair) for pair in self.scripts.items()]
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.waits) == len(self.scripts), "everybody has begun")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "somebody still waits"

    def longest(self, *names: str) -> float:
        return max((max(self.waits[name], default=0.0) for name in names or self.waits), default=0.0)

    def _run(self, name: str, statements: Sequence[str]) -> None:
        with Client(self.server) as client:
            waits: list[float] = []
            while not self._over.is_set():
                waits += [client.say(statement) for statement in statements]
                self.waits.setdefault(name, waits)
                time.sleep(0.02)


# --- backups, and what is in them ---


@contextlib.contextmanager
def running(dbguard: Dbguard, server: Server, environment: Mapping[str, str]) -> Iterator[Future[Result]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(dbguard, "backup", "now", server.target, environment=environment, timeout=120)


Contents = dict[str, list[list[str]]]


def contents(server: Server) -> Contents:
    """Table → its rows, of the columns that each has from the start."""
    names = server.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'd'").split()
    lines = server.sql(
        "".join(f"SELECT '{name}', id, LEFT(v, 60) FROM d.{name} ORDER BY id;\n" for name in names) or "SELECT 1"
    )
    found: Contents = {name: [] for name in names}
    for line in lines.splitlines():
        name, *row = line.split("\t")
        found[name].append(row)
    return found


def loaded(server: Server, dbguard: Dbguard, archive: Path) -> Contents:
    """What the archive holds, loaded into the emptied server without dbguard."""
    server.sql("DROP DATABASE IF EXISTS d")
    server.run(
        "sh", "-c", f"zstd -dc | {server.family} --user=root --binary-mode",
        stdin=(archive / "data.sql.zst").read_bytes(),
    )  # fmt: skip
    return contents(server)


def counted(manifest: Any) -> dict[str, int | None]:
    return {table["name"]: table["rows"] for base in manifest["databases"] for table in base["tables"]}


def assert_refused(done: Result, dbguard: Dbguard, *names: str) -> None:
    assert (done.code, dbguard.archives()) == (1, []), done.err
    assert any(name in done.err for name in names), f"none of {names} is named: {done.err}"
    assert "Traceback" not in done.err


def assert_whole(before: Contents, after: Contents, manifest: Any) -> None:
    for name, rows in before.items():
        assert after.get(name) == rows, f"{name}: {len(rows)} rows became {len(after.get(name, []))}, or others"
    for name, rows in counted(manifest).items():
        assert rows is None or rows == len(after[name]), name


# --- one change at a chosen moment, nobody held back ---

CHANGES = {
    "truncate": "TRUNCATE TABLE z_last",
    "force": "ALTER TABLE z_last FORCE",
    "copy": "ALTER TABLE z_last ADD COLUMN x INT, ALGORITHM=COPY",
    "inplace": "ALTER TABLE z_last ADD COLUMN x INT FIRST, ALGORITHM=INPLACE",
    "instant": "ALTER TABLE z_last ADD COLUMN x INT, ALGORITHM=INSTANT",
    "index": "CREATE INDEX more ON z_last (v)",
    "optimize": "OPTIMIZE TABLE z_last",
    "swap": "RENAME TABLE b_first TO t, z_last TO b_first, t TO z_last",
    "drop": "DROP TABLE z_last",
    "drop-dumped": "DROP TABLE b_first",
    "drop-and-create": f"DROP TABLE z_last; CREATE TABLE z_last {SHAPE}",
    "online": f"CREATE TABLE z_new {SHAPE}; INSERT INTO z_new SELECT * FROM z_last; RENAME TABLE z_last TO z_old, "
    "z_new TO z_last; DROP TABLE z_old",
    "exchange": "ALTER TABLE b_parts EXCHANGE PARTITION p0 WITH TABLE z_last",
    "exchange-later": "ALTER TABLE z_parts EXCHANGE PARTITION p0 WITH TABLE b_first",
    "truncate-partition": "ALTER TABLE z_parts TRUNCATE PARTITION p0",
    "drop-partition": "ALTER TABLE z_parts DROP PARTITION p1",
    "no-partitions": "ALTER TABLE z_parts REMOVE PARTITIONING",
}
CHANGED = ("b_first", "b_parts", "z_last", "z_parts", "z_new", "z_old")
ACCOUNTS = {"root": (), "with PROCESS": ("PROCESS",), "without PROCESS": ()}


@pytest.mark.parametrize("account", ["with PROCESS", "without PROCESS"])
@pytest.mark.parametrize("change", CHANGES)
def test_change_behind_the_snapshot(
    server: Server, dbguard: Dbguard, pause: Pause, change: str, account: str
) -> None:
    server.sql(tables("b_first", "b_parts", "z_last", "z_parts"))
    login = limited(server, *ACCOUNTS[account])
    before = contents(server)
    with running(dbguard, server, NEVER | UNCOUNTED | login) as backup:
        pause.wait()
        server.sql(f"USE d; SET lock_wait_timeout = 5; {CHANGES[change]}")
        pause.go_on()
        done = backup.result()
    if done.code != 0:
        assert_refused(done, dbguard, *CHANGED)
    else:
        assert NOT_HELD in done.err
        [archive] = dbguard.archives()
        assert_whole(before, loaded(server, dbguard, archive), dbguard.manifest())
