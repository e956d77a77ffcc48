"""An archive is of one instant, its manifest says of which, and nobody has waited long for it: under a write load.

What `tests.load` looks at is what the server itself holds and logs. That it can see a fault is proven by a dbguard
whose gate is taken out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dbguard import dumping, gate, sql
from dbguard.connections import Connection, Sessions
from dbguard.connections.held import Held
from dbguard.gate import Gate
from tests import load
from tests.conftest import Dbguard, Fresh, Result
from tests.load import BinaryLog, Load, connected, loaded, misfits
from tests.servers import KINDS, PASSWORD, Server, Servers, docker, remove_container

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[2]
BACKUPS = 3
STALL = gate.LOCK_WAIT + gate.HOLD + 1.0
"""Seconds that one write may take, at most, because of a backup; the last of them is for a busy machine."""
LONG = 8.0
"""Seconds of a SELECT, and of a transaction that stays open, that a backup meets."""


# --- a server with a bank, and what a backup of it holds ---


@dataclass(frozen=True)
class Bank:
    """A server that keeps a binary log, and another one of its kind to load archives into."""

    server: Server
    other: Server
    log: BinaryLog

    def misfits(self, dbguard: Dbguard, *, counted: bool = True) -> list[str]:
        """Of the newest archive."""
        held = loaded(dbguard.archives()[-1], self.other)
        self.log.read()
        return misfits(dbguard.manifest(), held, self.log, counted=counted)


@pytest.fixture(scope="module", params=KINDS)
def bank(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Bank]:
    other = servers.get(request.param)
    server = servers.fresh(request.param, *load.LOGGED[other.family])
    try:
        load.open_bank(server)
        yield Bank(server, other, BinaryLog(server))
    finally:
        remove_container(server.container)


def changed(dbguard: Dbguard, change: Callable[..., None], target: str, *how: str) -> Result:
    """`backup now` by a dbguard in which something was changed before."""
    program = f"from tests.e2e import test_exact; test_exact.{change.__name__}(*{how!r}); test_exact.cli()"
    environment = dbguard.environment | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", program, "backup", "now", target],
        cwd=dbguard.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def cli() -> None:
    from dbguard.cli import main

    sys.argv[0] = "dbguard"
    main()


def rows(manifest: Any) -> list[int | None]:
    return [table["rows"] for database in manifest["databases"] for table in database["tables"]]


# --- exact ---


def test_archives_are_of_the_instant_that_they_name(bank: Bank, dbguard: Dbguard) -> None:
    with Load(bank.server) as writing:
        for _ in range(BACKUPS):
            begun = time.monotonic()
            dbguard("backup", "now", bank.server.target).succeeded()
            assert bank.misfits(dbguard) == []
            assert writing.longest(begun) < STALL
            writing.wait_for(100)
        print(f"{bank.server.kind}: {writing.longest():.2f} s at most, {writing.deadlocks} deadlocks")


def without_locks() -> None:
    """Nobody is kept from writing while the position is read and the snapshots are opened; and the dump's own word
    about its position, which MariaDB's has, is not listened to."""
    no_own_word()
    original = Gate.__init__

    def without(self: Gate, *arguments: Any) -> None:
        original(self, *arguments)
        self._tables = []

    Gate.__init__ = without  # type: ignore[assignment, method-assign]


def no_own_word() -> None:
    dumping.Dump._agreed = staticmethod(lambda marker, own: marker)  # type: ignore[method-assign]


def test_without_the_gate_the_fault_is_seen(bank: Bank, dbguard: Dbguard) -> None:
    with Load(bank.server):
        found = []
        for _ in range(BACKUPS):
            changed(dbguard, without_locks, bank.server.target).succeeded()
            found += bank.misfits(dbguard)
    assert any("the manifest says" in one for one in found), found
    assert any(one.startswith("before ") for one in found), found


# --- who writes ---


def test_a_long_select_holds_nobody_up(bank: Bank, dbguard: Dbguard) -> None:
    assert_writers_go_on_behind_a_select(bank, dbguard, LONG)


def assert_writers_go_on_behind_a_select(bank: Bank, dbguard: Dbguard, seconds: float) -> None:
    done, stall = behind_a_select(bank, seconds, lambda: dbguard("backup", "now", bank.server.target))
    assert bank.misfits(dbguard) == []
    assert "is not known" not in done.err
    assert stall < STALL


def with_flush() -> None:
    """The usual lock, that the gate does without."""
    before = Held.query

    def query(self: Held, statement: str, *, timeout: float = 60.0) -> Any:
        flushing = statement.startswith("LOCK TABLES")
        return before(self, "FLUSH TABLES WITH READ LOCK" if flushing else statement, timeout=timeout)

    Held.query = query  # type: ignore[method-assign]


@pytest.mark.parametrize("bank", ["mysql97"], indirect=True)
def test_a_flush_would_be_seen(bank: Bank, dbguard: Dbguard) -> None:
    _, stall = behind_a_select(bank, 3 * LONG, lambda: changed(dbguard, with_flush, bank.server.target))
    assert stall > STALL


def behind_a_select(bank: Bank, seconds: float, back_up: Callable[[], Result]) -> tuple[Result, float]:
    """A backup that meets a long SELECT; and how long somebody had to wait who wrote, until that has ended too."""

    def select() -> None:
        with connected(bank.server) as session:
            cursor = session.cursor()
            cursor.execute(f"SELECT SLEEP({seconds}) FROM bank_b.log LIMIT 1")
            cursor.fetchall()

    with Load(bank.server) as writing:
        thread = threading.Thread(target=select)
        thread.start()
        begun = time.monotonic()
        done = back_up()
        thread.join()  # a table that was flushed would hold writers up until then
    stall = writing.longest(begun)
    print(f"{bank.server.kind}, {seconds:g} s of SELECT: {stall:.2f} s at most, {writing.deadlocks} deadlocks")
    return done.succeeded(), stall


def test_an_open_transaction_costs_the_position_only(bank: Bank, dbguard: Dbguard) -> None:
    with Load(bank.server) as writing, connected(bank.server) as session:
        cursor = session.cursor()
        cursor.execute("START TRANSACTION")
        cursor.execute("UPDATE bank_a.ballast SET t = 'x' WHERE i = 0")
        begun = time.monotonic()
        done = dbguard("backup", "now", bank.server.target).succeeded()
        stall = writing.longest(begun)
        cursor.execute("ROLLBACK")
        manifest, found = dbguard.manifest(), bank.misfits(dbguard, counted=False)
    print(f"{bank.server.kind}, a transaction stays open: {stall:.2f} s at most, {writing.deadlocks} deadlocks")
    assert stall < STALL
    assert_no_position(bank, manifest, done, "others were writing all the time: the tables could not be locked", found)


def assert_no_position(bank: Bank, manifest: Any, done: Result, why: str, found: list[str]) -> None:
    """MySQL's dump does not know its position. MariaDB's does, and it is right; the rows are not counted."""
    what = "its write position is not known" if bank.server.family == "mysql" else "its rows were not counted"
    assert f"warning {what}: {why}" in done.err
    assert f"{what}: {why}" in manifest["warnings"]
    assert set(rows(manifest)) == {None}
    assert (manifest["marker"] is None) == (bank.server.family == "mysql")
    assert found == (["there is no marker"] if bank.server.family == "mysql" else [])


def few_tables() -> None:
    gate.MOST_TABLES = 2


def test_very_many_tables_are_not_locked(bank: Bank, dbguard: Dbguard) -> None:
    with Load(bank.server):
        done = changed(dbguard, few_tables, bank.server.target).succeeded()
        found = bank.misfits(dbguard, counted=False)
    assert_no_position(bank, dbguard.manifest(), done, "more than 2 tables are not locked at once", found)


@pytest.mark.parametrize(
    ("setting", "why_not"),
    [
        ({"DBGUARD_COUNTS": "false"}, ""),
        ({"DBGUARD_COUNT_LIMIT": "1ms"}, "not all rows were counted within 0.001 seconds"),
    ],
)
def test_uncounted_the_position_is_known(
    bank: Bank, dbguard: Dbguard, setting: Mapping[str, str], why_not: str
) -> None:
    with Load(bank.server):
        done = dbguard("backup", "now", bank.server.target, environment=setting).succeeded()
        assert bank.misfits(dbguard, counted=False) == []
    assert None in rows(dbguard.manifest())
    assert why_not in done.err
    assert (why_not == "") == ("counted" not in done.err)


# --- sessions that die ---


def killed(which: str, moment: str) -> None:
    """One of our sessions is killed on the server, at that moment."""
    opened: dict[str, tuple[Sessions, int]] = {}
    opening = Sessions.open

    def noting(self: Sessions) -> Connection:
        connection = opening(self)
        opened[OPENED_BY[sys._getframe(1).f_code.co_name]] = (self, connection.number)
        return connection

    def kill() -> None:
        if which in opened:  # once
            sessions, number = opened.pop(which)
            sql.session(sessions._containers, sessions._target).execute(f"KILL {number}")

    Sessions.open = noting  # type: ignore[method-assign]
    owner, name, late = MOMENTS[moment]
    original = getattr(owner, name)

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if not late:
            kill()
        result = original(*arguments, **options)
        if late:
            kill()
        return result

    setattr(owner, name, wrapper)


OPENED_BY = {"tables_held": "ddl", "_letting_go": "watching", "close": "counting", "_closed": "locking"}
MOMENTS: Mapping[str, tuple[Any, str, bool]] = {
    "before the lock": (Gate, "_closed", False),
    "behind the lock": (Gate, "_look", True),
    "behind the snapshot": (dumping, "count", False),
}
DEATHS = [
    ("ddl", "before the lock"),
    ("ddl", "behind the lock"),
    ("ddl", "behind the snapshot"),
    ("locking", "behind the lock"),
    ("counting", "before the lock"),
    ("counting", "behind the lock"),
    ("counting", "behind the snapshot"),
]


@pytest.mark.parametrize(("which", "moment"), DEATHS, ids=[" ".join(one) for one in DEATHS])
def test_a_killed_session_is_no_backup(bank: Bank, dbguard: Dbguard, which: str, moment: str) -> None:
    done = changed(dbguard, killed, bank.server.target, which, moment)
    assert (done.code, dbguard.archives()) == (1, []), done.err
    assert "Traceback" not in done.err
    assert not [path for path in dbguard.storage.rglob("*") if "data.sql" in path.name]
    assert_nothing_held(bank.server)


def assert_nothing_held(server: Server) -> None:
    """None of our sessions is left, and everybody may write and change tables."""
    end = time.monotonic() + 5
    while left := sessions_of_others(server):
        assert time.monotonic() < end, left
        time.sleep(0.1)
    begun = time.monotonic()
    server.sql(
        "SET lock_wait_timeout = 1; UPDATE bank_a.accounts SET balance = balance WHERE id = 0;"
        "ALTER TABLE bank_a.ballast ADD COLUMN more INT; ALTER TABLE bank_a.ballast DROP COLUMN more"
    )
    assert time.monotonic() - begun < 3


def sessions_of_others(server: Server) -> str:
    return server.sql(
        "SELECT id, state, info FROM information_schema.processlist WHERE id <> CONNECTION_ID() "
        "AND user NOT IN ('event_scheduler', 'system user')"
    )


# --- markers and identities ---


def marked(dbguard: Dbguard, server: Server) -> Any:
    dbguard("backup", "now", server.target).succeeded()
    return dbguard.manifest()


def restarted(server: Server) -> None:
    docker("restart", server.container)
    server.wait_until_ready()


SILENT = {"mysql": ("--disable-log-bin", "--gtid-mode=OFF"), "mariadb": ()}


@pytest.mark.parametrize("logged", [True, False], ids=["logged", "unlogged"])
@pytest.mark.parametrize("kind", KINDS)
def test_markers_across_a_restart(kind: str, logged: bool, fresh: Fresh, dbguard: Dbguard) -> None:
    """Nothing is written between the backups; seen on MySQL 9.7.4, MariaDB 11.8.9 and 10.11.18.

    |                         | twice in a row | across a restart                        |
    | MySQL, logged: gtid     | same           | same                                    |
    | MySQL: file, offset     | same           | the next file, from its beginning       |
    | MariaDB, logged: gtid   | same           | same                                    |
    | MariaDB: file, offset   | same           | the next file, from its beginning       |
    | unlogged: all of these  | None           | None                                    |
    | LSN                     | as it happens  | not less                                |

    So of two archives the gtid tells that nothing was written, the file and the offset only between two restarts, and
    the LSN never: the server itself moves it.
    """
    family = "mysql" if kind.startswith("mysql") else "mariadb"
    server = fresh(kind, *(load.LOGGED if logged else SILENT)[family])
    load.open_bank(server)
    first, second = marked(dbguard, server), marked(dbguard, server)
    restarted(server)
    third = marked(dbguard, server)
    markers = [one["marker"] for one in (first, second, third)]
    print(kind, "logged" if logged else "unlogged", json.dumps(markers))
    assert len({one["source"]["identity"] for one in (first, second, third)}) == 1
    places = [(one["file"], one["offset"]) for one in markers]
    assert markers[0]["lsn"] <= markers[1]["lsn"] <= markers[2]["lsn"]
    if not logged:
        assert {(one["gtid"], *place) for one, place in zip(markers, places, strict=True)} == {(None, None, None)}
        return
    assert len({one["gtid"] for one in markers}) == 1
    assert markers[0]["gtid"]
    assert places[0] == places[1]
    assert places[2][0] > places[1][0]


@pytest.mark.parametrize("kind", KINDS)
def test_identity_is_that_of_the_volume(kind: str, servers: Servers, fresh: Fresh, dbguard: Dbguard) -> None:
    first, other = fresh(kind), fresh(kind)
    found = []
    for server in (first, other):
        load.open_bank(server)
        found.append(marked(dbguard, server)["source"]["identity"])
    docker("stop", first.container)
    again = started_on_its_volume(first, f"{servers.project}_default")
    try:
        assert network_of(again) != network_of(first)
        found.append(marked(dbguard, again)["source"]["identity"])
    finally:
        docker("rm", "--force", again.container)  # the volume goes with the first one
    assert all(found)
    assert found[2] == found[0] != found[1]


def started_on_its_volume(server: Server, network: str) -> Server:
    """Another container with the same data, in another network: the server has another address."""
    model = inspected(server)["Config"]
    labels = [word for pair in model["Labels"].items() for word in ("--label", "=".join(pair))]
    name = f"again-{server.target.rpartition('/')[2]}"
    words = ("--detach", "--name", name, "--network", network, "--volumes-from", server.container, *labels)
    container = docker("run", *words, "--env", f"MYSQL_ROOT_PASSWORD={PASSWORD}", model["Image"], *model["Cmd"]).strip()
    again = Server(container, server.kind, f"_/{name}")
    again.wait_until_ready()
    return again


def network_of(server: Server) -> list[str]:
    return list(inspected(server)["NetworkSettings"]["Networks"])


def inspected(server: Server) -> Any:
    return json.loads(docker("inspect", server.container))[0]
