"""Tables that are changed while they are dumped: the change waits, or the backup is refused, or it is whole.

A dump stops in the middle of its table `m_slow` (a pipe of ours is full, mysqldump itself is the real one), so that
what happens meanwhile hits tables that are dumped already (`b_…`) and tables whose turn comes later (`z_…`). What an
archive holds is loaded with the server's own client, without dbguard.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dbguard, Result
from tests.servers import PASSWORD, Server, Servers

pytestmark = pytest.mark.docker


@pytest.fixture(params=("mysql97", "mariadb118"))
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """The soak has MariaDB 10.11 too: a case takes seconds, and there are many."""
    return servers.get(request.param)


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

    def is_half(self) -> bool:
        return self._sh("[ ! -e /tmp/test-half ] || echo yes") == b"yes\n"

    def wait(self) -> None:
        wait_until(self.is_half, "the dump begins", 30)

    def again(self) -> None:
        """For one more dump."""
        self._sh("rm -f /tmp/test-half /tmp/test-go")

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
def running(
    dbguard: Dbguard, server: Server, environment: Mapping[str, str], *, timeout: float = 300
) -> Iterator[Future[Result]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(dbguard, "backup", "now", server.target, environment=environment, timeout=timeout)


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


def loaded(server: Server, archive: Path) -> Contents:
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
    for name, count in counted(manifest).items():
        assert count is None or count == len(after[name]), name


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


@pytest.mark.parametrize("change", CHANGES)
def test_change_behind_the_snapshot(server: Server, dbguard: Dbguard, pause: Pause, change: str) -> None:
    refused_or_whole(server, dbguard, pause, change, "PROCESS")


@pytest.mark.parametrize("change", ["truncate", "swap", "exchange", "drop-and-create"])
def test_change_that_is_known_by_its_date_only(server: Server, dbguard: Dbguard, pause: Pause, change: str) -> None:
    """An account without PROCESS does not see that tables change places, and its archives say so."""
    refused_or_whole(server, dbguard, pause, change)


def refused_or_whole(server: Server, dbguard: Dbguard, pause: Pause, change: str, *privileges: str) -> None:
    server.sql(tables("b_first", "b_parts", "z_last", "z_parts"))
    login = limited(server, *privileges)
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
        manifest = dbguard.manifest()
        assert manifest["complete"] is bool(privileges)
        if privileges or change not in {"swap", "exchange", "exchange-later"}:
            assert_whole(before, loaded(server, archive), manifest)
        else:
            assert any("GRANT PROCESS" in reason for reason in manifest["partial_reasons"])


# --- a storm of changes ---

FIXED = ("z_copy", "z_inplace", "z_force", "z_optimize")
STORM: dict[str, Sequence[str]] = {
    "copy": ["ALTER TABLE z_copy ADD COLUMN x INT, ALGORITHM=COPY", "ALTER TABLE z_copy DROP COLUMN x, ALGORITHM=COPY"],
    "inplace": ["ALTER TABLE z_inplace ADD INDEX (v), ALGORITHM=INPLACE", "ALTER TABLE z_inplace DROP INDEX v"],
    "force": ["ALTER TABLE z_force FORCE"],
    "optimize": ["OPTIMIZE TABLE z_optimize"],
    "swap": ["RENAME TABLE b_left TO t_swap, z_right TO b_left, t_swap TO z_right"],
    "truncate": [
        "UPDATE m_state SET there = 0 WHERE name = 'z_truncated'",
        "TRUNCATE TABLE z_truncated",
        "BEGIN; INSERT INTO z_truncated SELECT * FROM m_model; "
        "UPDATE m_state SET there = 1 WHERE name = 'z_truncated'; COMMIT",
    ],
    "drop": [
        "UPDATE m_state SET there = 0 WHERE name = 'z_dropped'",
        f"DROP TABLE z_dropped; CREATE TABLE z_dropped {SHAPE}",
        "BEGIN; INSERT INTO z_dropped SELECT * FROM m_model; "
        "UPDATE m_state SET there = 1 WHERE name = 'z_dropped'; COMMIT",
    ],
    "new": [f"CREATE TABLE z_new {SHAPE}", "INSERT INTO z_new SELECT * FROM m_model", "DROP TABLE z_new"],
}
"""By what each thread does. `m_state` says, in the snapshot itself, which tables have all their rows."""
BYSTANDERS: dict[str, Sequence[str]] = {
    "read": [f"SELECT COUNT(*) FROM {name}" for name in FIXED],
    "write": [f"UPDATE {name} SET id = id WHERE id = 1" for name in FIXED],
}
STATE = "CREATE TABLE m_state (id INT PRIMARY KEY, name VARCHAR(30), v VARCHAR(9) DEFAULT '', there INT) ENGINE=InnoDB;"
STORMY = (
    tables(*FIXED, "b_left", "z_right", "z_truncated", "z_dropped", "m_model")
    + STATE
    + "INSERT INTO m_state (id, name, there) VALUES (1, 'z_truncated', 0), (2, 'z_dropped', 0)"
)


@dataclass(frozen=True)
class Storm:
    """A server in a storm, and how a backup of it is taken."""

    server: Server
    dbguard: Dbguard
    pause: Pause
    before: Contents

    def backup(self, environment: Mapping[str, str], *, seconds: float) -> tuple[Result, Others]:
        """The dump stops in its middle for so long."""
        self.pause.again()
        with (
            Others(self.server, STORM | BYSTANDERS) as others,
            running(self.dbguard, self.server, environment) as backup,
        ):
            wait_until(lambda: backup.done() or self.pause.is_half(), "the dump begins, or is refused", 60)
            time.sleep(seconds)
            self.pause.go_on()
            done = backup.result()
        return done, others

    def assert_whole(self, archive: Path, manifest: Any, *, swaps: bool = True) -> None:
        """In a server of its own kind, emptied for it. Without `swaps`, tables may have changed places."""
        after = loaded(self.server, archive)
        assert_whole({name: self.before[name] for name in (*FIXED, "m_slow", "m_model")}, after, manifest)
        assert set(counted(manifest)) <= set(after)
        swapped = ("b_left", "z_right")
        if swaps:
            assert sorted(after[name] for name in swapped) == sorted(self.before[name] for name in swapped)
        flags = self.server.sql("SELECT name, there FROM d.m_state").splitlines()
        full = [name for name, there in (line.split("\t") for line in flags) if there == "1"]
        assert [name for name in full if after[name] != self.before["m_model"]] == []


@pytest.fixture
def storm(server: Server, dbguard: Dbguard, pause: Pause) -> Storm:
    server.sql(STORMY)
    return Storm(server, dbguard, pause, contents(server))


def test_storm_waits_for_a_guarded_backup(storm: Storm) -> None:
    """MariaDB does not wait for an ALTER that copies already: should one come to its end meanwhile, we give way."""
    done, others = storm.backup({}, seconds=3)
    if storm.server.family == "mariadb" and done.code != 0:
        assert_refused(done, storm.dbguard, "had begun before the backup")
        return
    done.succeeded()
    assert NOT_HELD not in done.err
    assert {name: waits for name in STORM if (waits := max(others.waits[name])) < 3} == {}, "nobody kept them waiting"
    assert others.longest("read", "write") < 3, others.longest("read", "write")
    storm.assert_whole(storm.dbguard.archives()[-1], storm.dbguard.manifest())


@pytest.mark.parametrize("table", ["b_first", "z_last"])
def test_who_uses_a_table_does_not_wait_for_who_wants_to_change_it(
    server: Server, dbguard: Dbguard, pause: Pause, table: str
) -> None:
    """Whoever waits to change a table lets nobody past; a dump lets go of each table that it has written for that."""
    server.sql(tables("b_first", "z_last"))
    with running(dbguard, server, NEVER) as backup, Client(server) as changing, Client(server) as using:
        pause.wait()
        time.sleep(1)  # the rows are counted
        with ThreadPoolExecutor(1) as pool:
            changed = pool.submit(changing.say, f"ALTER TABLE {table} ADD COLUMN x INT, ALGORITHM=COPY")
            time.sleep(0.5)
            threading.Timer(6, pause.go_on).start()
            waited = using.say(f"SELECT COUNT(*) FROM {table}")
            backup.result()
            assert (waited < 3, changed.result() < 3) == (True, True), (waited, changed.result())


# --- who stands by ---

TICKS = """
CREATE DATABASE d; USE d; {slow}
CREATE TABLE z_ticks (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9)) ENGINE=InnoDB;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND {state} DO INSERT INTO d.z_ticks (v) VALUES ('tick');
SET GLOBAL event_scheduler = ON;
"""


@pytest.fixture
def scheduler(server: Server) -> Iterator[None]:
    """Is set back."""
    before = server.sql("SELECT @@GLOBAL.event_scheduler").strip()
    yield
    server.sql(f"SET GLOBAL event_scheduler = {before}; DROP DATABASE IF EXISTS d")


def ticks(server: Server) -> int:
    return int(server.sql("SELECT COUNT(*) FROM d.z_ticks"))


@pytest.mark.parametrize("mode", ["auto", "always"])
@pytest.mark.usefixtures("scheduler")
def test_events_run_on(server: Server, dbguard: Dbguard, pause: Pause, mode: str) -> None:
    """MySQL's guard would stop them, so they are asked for; MariaDB's does not."""
    server.sql(TICKS.format(slow=SLOW_TABLE, state="ENABLE"))
    with running(dbguard, server, {"DBGUARD_BLOCK_DDL": mode}) as backup:
        pause.wait()
        time.sleep(1.5)  # one may be on its way
        first = ticks(server)
        time.sleep(4)
        ticked = ticks(server) - first
        pause.go_on()
        done = backup.result().succeeded()
    stopped = server.family == "mysql" and mode == "always"
    assert (ticked == 0) if stopped else (ticked >= 2), ticked
    told = [one for one in dbguard.manifest()["warnings"] if NOT_HELD in one]
    assert [("events would not run" in one) for one in told] == [True] * (server.family == "mysql" and mode == "auto")
    assert (NOT_HELD in done.err) == bool(told)


@MYSQL
@pytest.mark.usefixtures("scheduler")
@pytest.mark.parametrize(("state", "more"), [("DISABLE", ""), ("ENABLE", "SET GLOBAL event_scheduler = OFF")])
def test_events_that_do_not_run_stand_by_nobody(server: Server, dbguard: Dbguard, state: str, more: str) -> None:
    server.sql(TICKS.format(slow=SLOW_TABLE, state=state) + more)
    done = dbguard("backup", "now", server.target).succeeded()
    assert NOT_HELD not in done.err


@MARIADB
@pytest.mark.parametrize("engine", ["MyISAM", "Aria TRANSACTIONAL=0", "Aria"])
@pytest.mark.parametrize("mode", ["auto", "always"])
def test_writers_into_what_is_not_transactional(
    server: Server, dbguard: Dbguard, pause: Pause, engine: str, mode: str
) -> None:
    """Into an Aria table that survives a crash, as all do unless asked otherwise, only he waits who began while the
    lock was being taken."""
    server.sql(tables("z_last") + f"CREATE TABLE z_loose (id INT, v VARCHAR(9)) ENGINE={engine}")
    writing = {"loose": ["INSERT INTO z_loose VALUES (1, '')"], "other": ["UPDATE z_last SET v = 'x' WHERE id = 1"]}
    with Others(server, writing) as others, running(dbguard, server, {"DBGUARD_BLOCK_DDL": mode}) as backup:
        pause.wait()
        time.sleep(4)
        pause.go_on()
        done = backup.result().succeeded()
    assert others.longest("other") < 3, others.longest("other")
    if mode == "always":
        assert NOT_HELD not in done.err
        assert others.longest("loose") > 3 or engine == "Aria", others.longest("loose")
    else:
        [told] = [one for one in dbguard.manifest()["warnings"] if NOT_HELD in one]
        assert "not transactional" in told
        assert others.longest("loose") < 3, others.longest("loose")


# --- who may not, or has to wait ---


def test_missing_privilege_of_the_guard_is_named(server: Server, dbguard: Dbguard) -> None:
    server.sql(tables("z_last"))
    login = limited(server, "PROCESS")
    privilege = {"mysql": "BACKUP_ADMIN", "mariadb": "RELOAD"}[server.family]
    grant = f"GRANT {privilege} ON *.* TO 'backup'@'localhost' is missing"
    done = dbguard("backup", "now", server.target, environment=login).succeeded()
    assert (NOT_HELD in done.err, grant in done.err) == (True, True), done.err
    assert [grant in one for one in dbguard.manifest()["warnings"] if NOT_HELD in one] == [True]
    done = dbguard("backup", "now", server.target, environment=login | ALWAYS)
    assert (done.code, grant in done.err, len(dbguard.archives())) == (1, True, 1), done.err
    server.sql(f"GRANT {privilege} ON *.* TO backup@localhost")
    done = dbguard("backup", "now", server.target, environment=login | ALWAYS).succeeded()
    assert NOT_HELD not in done.err


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_change_that_had_begun_before(server: Server, dbguard: Dbguard, mode: str) -> None:
    """It waits for a reader, as a long one waits for its disk."""
    server.sql(tables("z_last", "z_other"))
    before = contents(server)
    with Client(server) as reading, Client(server) as changing, ThreadPoolExecutor(2) as pool:
        reading.say("BEGIN; SELECT COUNT(*) FROM z_last")
        changed = pool.submit(changing.say, "ALTER TABLE z_last ADD COLUMN x INT, ALGORITHM=COPY")
        wait_until(lambda: "metadata lock" in server.sql("SHOW PROCESSLIST"), "the change waits for its reader")
        ended = pool.submit(reading.say, "SELECT SLEEP(16); COMMIT")
        start = time.monotonic()
        done = dbguard("backup", "now", server.target, environment={"DBGUARD_BLOCK_DDL": mode}, timeout=120)
        took = time.monotonic() - start
        ended.result()
        assert changed.result() >= 15
    print(f"{server.kind} {mode}: exit {done.code} after {took:.1f} s: {done.err}")
    if done.code != 0:
        assert_refused(done, dbguard, "z_last", "changing a table for 10 seconds", "had begun before the backup")
        return
    assert server.family == "mariadb" or "changing a table for 10 seconds" in done.err, done.err
    assert_whole(before, loaded(server, dbguard.archives()[-1]), dbguard.manifest())


LONG = "ALTER TABLE z_last ADD COLUMN x CHAR(128) DEFAULT (SHA2(REPEAT(id % 10, 6000000), 512)), ALGORITHM=COPY"
"""Some ten seconds of work, without a wait for anybody."""


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_change_that_ends_while_the_tables_are_held(server: Server, dbguard: Dbguard, pause: Pause, mode: str) -> None:
    """MariaDB lets one go on that copies already; at its end it locks its table, and only then waits for the guard."""
    server.sql(tables("z_last"))
    before = contents(server)
    with (
        Client(server) as changing,
        Others(server, {"read": ["SELECT COUNT(*) FROM z_last"]}) as others,
        ThreadPoolExecutor(1) as pool,
        running(dbguard, server, {"DBGUARD_BLOCK_DDL": mode}, timeout=90) as backup,
    ):
        changed = pool.submit(changing.say, LONG)
        wait_until(lambda: pause.is_half() or backup.done(), "the dump begins, or is refused", 60)
        wait_until(
            lambda: changed.done() or "Waiting for backup lock" in server.sql("SHOW PROCESSLIST"),
            "the change comes to its end",
            60,
        )
        time.sleep(5)
        pause.go_on()
        done = backup.result()
    assert others.longest() < 5, others.longest()
    if done.code != 0:
        assert_refused(done, dbguard, "z_last", "changing a table")
    else:
        assert_whole(before, loaded(server, dbguard.archives()[-1]), dbguard.manifest())


@pytest.mark.parametrize("seconds", [3, 14])
def test_two_at_once(server: Server, dbguard: Dbguard, pause: Pause, tmp_path: Path, seconds: int) -> None:
    """Of two hosts that do not know each other. MariaDB lets one session at a time hold its tables."""
    server.sql(tables("b_first", "z_last"))
    before = contents(server)
    (tmp_path / "other").mkdir()
    other = Dbguard(tmp_path / "other")
    with running(dbguard, server, {}) as one, running(other, server, {}) as two:
        pause.wait()
        time.sleep(seconds)
        pause.go_on()
        done = [one.result(), two.result()]
    for result, its in zip(done, (dbguard, other), strict=True):
        print(f"{server.kind} {seconds}: exit {result.code}: {result.err}")
        if result.code != 0:
            assert_refused(result, its, "changing a table for 10 seconds")
        else:
            assert_whole(before, loaded(server, its.archives()[-1]), its.manifest())
    assert 0 in [result.code for result in done]
