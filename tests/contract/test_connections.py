"""The promise in connections.Connection, kept by both ways, on every kind of server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dbguard import connections, discover
from dbguard.config import Settings
from dbguard.connections import Connection
from dbguard.connections.client import ClientConnection
from dbguard.connections.tunnel import _LOGIN, TunnelConnection
from dbguard.containers import Containers
from dbguard.errors import QueryFailed, SessionLost
from dbguard.model import Login, Target
from tests.conftest import Fresh
from tests.forwarder import Forwarder
from tests.servers import KINDS, PASSWORD, Server, SqlError, docker

pytestmark = pytest.mark.docker

MIB = 1 << 20
WAYS: dict[str, Callable[[Containers, Target], Connection]] = {
    "tunnel": connections.connect,
    "client": ClientConnection,
}
DIGITS = "(" + " UNION ALL ".join(f"SELECT {number} AS n" for number in range(10)) + ")"
SHOP = "CREATE DATABASE shop; CREATE TABLE shop.t (n INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO shop.t VALUES (1);"


@pytest.fixture(scope="session")
def containers() -> Containers:
    return Containers.connect()


Targets = Callable[[Server], Target]
Open = Callable[..., Connection]


@pytest.fixture(scope="session")
def targets(containers: Containers) -> Targets:
    known: dict[str, Target] = {}

    def target(server: Server) -> Target:
        if server.container not in known:
            seen = discover.sighting(containers, Settings(), containers.inspect(server.container))
            known[server.container] = discover.reachable(seen)
        return known[server.container]

    return target


@pytest.fixture(params=WAYS)
def opened(request: pytest.FixtureRequest, containers: Containers, targets: Targets) -> Iterator[Open]:
    """Opens sessions that are closed with the test."""
    with contextlib.ExitStack() as stack:

        def open_session(server: Server, login: Login | None = None) -> Connection:
            target = targets(server)
            target = replace(target, login=login) if login else target
            connection = WAYS[request.param](containers, target)
            stack.callback(connection.close)
            assert connection.way == request.param, getattr(connection, "why_not_tunnel", None)
            return connection

        yield open_session


@pytest.fixture
def connection(opened: Open, server: Server) -> Connection:
    return opened(server)


def sessions(server: Server) -> set[int]:
    return {int(line) for line in server.sql("SELECT id FROM information_schema.processlist").split()}


PROCESSES = """
for folder in /proc/[0-9]*; do
  read -r pid name _ <"$folder/stat" && [ "$pid" != $$ ] && echo "$pid $name"
done 2>/dev/null
true
"""


def processes(server: Server) -> set[str]:
    """Zombies included. Others come and go, such as those of a health check."""
    return set(server.run("sh", "-c", PROCESSES).decode().splitlines())


def soon(condition: Callable[[], object], seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def literal(text: str) -> str:
    return f"CONVERT(X'{text.encode().hex()}' USING utf8mb4)" if text else "''"


# --- rows ---


@pytest.mark.parametrize(
    "values",
    [
        ("",),
        ("", "", ""),
        ("a\tb", "c\nd", "e\\f", "\\n", "\\", "g\r\nh", "\r", "\0", "i\0j"),
        ("\N{PILE OF POO}", "\N{SNOWMAN}", "\N{LATIN SMALL LETTER E WITH ACUTE}", "x"),
        ("'", '"', "`", ";", "--", "/*", "$"),
        (" ", "a ", " b"),
    ],
)
def test_every_value_arrives_as_it_is(connection: Connection, values: tuple[str, ...]) -> None:
    assert connection.query(f"SELECT {', '.join(map(literal, values))}") == [values]


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT NULL, 'NULL', ''", [("NULL", "NULL", "")]),
        ("SELECT 1, -2.50, 1e100, DATE'2026-02-28', TRUE", [("1", "-2.50", "1e100", "2026-02-28", "1")]),
        ("SELECT '\N{PILE OF POO}\t;', \"a'b\" -- the end", [("\N{PILE OF POO}\t;", "a'b")]),
        ("SELECT ';' # ;", [(";",)]),
        ("  \n SELECT /* ; */ 1\n\n", [("1",)]),
        ("SELECT 'delimiter ;\ndelimiter x\n'", [("delimiter ;\ndelimiter x\n",)]),
        ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", [("1",), ("2",), ("3",)]),
        ("SELECT 1 FROM DUAL WHERE 1 = 0", []),
        ("DO 1", []),
        ("SET @a = 1", []),
        ("SELECT HEX(X'00ff')", [("00FF",)]),
    ],
)
def test_statements_of_all_kinds(connection: Connection, statement: str, rows: list[tuple[str, ...]]) -> None:
    assert connection.query(statement) == rows
    assert connection.query("SELECT 'next'") == [("next",)]


def test_much(connection: Connection) -> None:
    assert connection.query(f"SELECT REPEAT('x', {MIB})") == [("x" * MIB,)]
    assert connection.query(f"SELECT LENGTH('{'y' * MIB}')") == [(str(MIB),)]
    assert connection.query(f"SELECT '{'z' * MIB}'") == [("z" * MIB,)]
    five = ", ".join(f"{DIGITS} AS t{number}" for number in range(5))
    rows = connection.query(f"SELECT CONCAT(t0.n, t1.n, t2.n, t3.n, t4.n), 'a\tb', NULL FROM {five}")
    assert sorted(rows) == [(f"{number:05}", "a\tb", "NULL") for number in range(100_000)]
    assert connection.query("SELECT 'next'") == [("next",)]


def test_a_value_larger_than_a_packet(connection: Connection) -> None:
    """Of 16 MiB: the protocol cuts it into several."""
    if connection.query("SELECT @@max_allowed_packet >= 33554432") != [("1",)]:
        pytest.skip("this server sends none")
    assert connection.query(f"SELECT 'a', REPEAT('x', {20 * MIB})") == [("a", "x" * 20 * MIB)]
    assert connection.query("SELECT 'next'") == [("next",)]


def test_a_body_with_semicolons_and_several_results(connection: Connection, server: Server) -> None:
    server.sql(SHOP)
    connection.query("CREATE PROCEDURE shop.p() BEGIN SELECT 1; SELECT 2, 'b'; DO 3; END")
    assert connection.query("CALL shop.p()") == [("1",), ("2", "b")]
    assert connection.query("SELECT 'next'") == [("next",)]


def test_what_is_no_text_is_refused(connection: Connection) -> None:
    with pytest.raises(QueryFailed, match="UTF-8"):
        connection.query("SELECT X'ff'")


def test_a_session_is_that_of_the_plain_client(connection: Connection, server: Server) -> None:
    asked = "SELECT @@autocommit, @@sql_mode, @@time_zone, @@character_set_results, @@tx_isolation"
    asked = asked.replace("@@tx_", "@@transaction_") if server.family == "mysql" else asked
    assert connection.query(asked) == [tuple(server.sql(asked).rstrip("\n").split("\t"))]


# --- errors ---


@pytest.mark.parametrize(
    ("statement", "number", "words"),
    [
        ("SELEKT 1", 1064, "syntax"),
        ("SELECT * FROM mysql.nothing", 1146, "doesn't exist"),
        ("SELECT nothing", 1054, "nknown column"),
    ],
)
def test_the_server_says_what_is_wrong(connection: Connection, statement: str, number: int, words: str) -> None:
    with pytest.raises(QueryFailed, match=words) as caught:
        connection.query(statement)
    assert caught.value.number == number
    assert not isinstance(caught.value, SessionLost)
    assert str(number) in str(caught.value)
    if connection.way == "tunnel":
        assert connection.query("SELECT 1") == [("1",)]
    else:
        with pytest.raises(SessionLost):
            connection.query("SELECT 1")


def test_a_wait_for_a_lock_has_an_end(opened: Open, server: Server) -> None:
    server.sql(SHOP)
    holder, waiting = opened(server), opened(server)
    holder.query("LOCK TABLES shop.t WRITE")
    waiting.query("SET SESSION lock_wait_timeout = 1")
    with pytest.raises(QueryFailed) as caught:
        waiting.query("SELECT * FROM shop.t")
    assert caught.value.number == 1205
    assert holder.query("SELECT n FROM shop.t") == [("1",)]


# --- what a session holds ---


def test_a_variable_stays(connection: Connection) -> None:
    connection.query("SET @kept = 'yes'")
    number = connection.query("SELECT CONNECTION_ID()")
    assert number == [(str(connection.number),)]
    assert connection.query("SELECT @kept") == [("yes",)]


def test_a_lock_stays_until_the_end(opened: Open, server: Server) -> None:
    server.sql(SHOP)
    connection = opened(server)
    connection.query("LOCK TABLES shop.t READ")
    time.sleep(1)
    assert not writable(server)
    connection.close()
    assert soon(lambda: writable(server))


def writable(server: Server) -> bool:
    """Nobody has a lock on the table."""
    try:
        server.sql("SET SESSION lock_wait_timeout = 1; DELETE FROM shop.t WHERE n = 99;")
    except SqlError:
        return False
    return True


def test_a_snapshot_stays_while_others_write(opened: Open, server: Server) -> None:
    server.sql(SHOP)
    one, two = opened(server), opened(server)
    for connection in (one, two):
        connection.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    server.sql("INSERT INTO shop.t VALUES (2), (3)")
    for connection in (one, two):
        assert connection.query("SELECT n FROM shop.t") == [("1",)]
        connection.query("COMMIT")
        assert connection.query("SELECT COUNT(*) FROM shop.t") == [("3",)]


def test_sessions_are_apart(opened: Open, server: Server) -> None:
    several = [opened(server) for _ in range(4)]
    assert len({connection.number for connection in several}) == 4
    for place, connection in enumerate(several):
        connection.query(f"SET @place = {place}")
    threads = [threading.Thread(target=connection.query, args=["SELECT SLEEP(0.5)"]) for connection in several]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1.8
    assert [connection.query("SELECT @place") for connection in several] == [[(str(place),)] for place in range(4)]


# --- how it ends ---


def test_closing_leaves_nothing(opened: Open, server: Server) -> None:
    before = processes(server), sessions(server)
    connection = opened(server)
    connection.query("SELECT 1")
    assert connection.number in sessions(server)
    assert processes(server) > before[0]
    with connection as same:
        assert same is connection
    assert soon(lambda: connection.number not in sessions(server), 1)
    assert soon(lambda: processes(server) <= before[0]), processes(server) - before[0]
    connection.close()
    with pytest.raises(SessionLost, match="closed"):
        connection.query("SELECT 1")


def test_an_error_leaves_nothing(opened: Open, server: Server) -> None:
    before = processes(server)
    connection = opened(server)
    with pytest.raises(QueryFailed):
        connection.query("SELEKT")
    connection.close()
    assert soon(lambda: connection.number not in sessions(server), 1)
    assert soon(lambda: processes(server) <= before), processes(server) - before


def test_one_that_is_killed_is_lost(opened: Open, server: Server) -> None:
    before = processes(server)
    connection = opened(server)
    server.sql(f"KILL {connection.number}")
    for _ in range(2):
        with pytest.raises(SessionLost):
            connection.query("SELECT 1", timeout=5)
    assert soon(lambda: processes(server) <= before), processes(server) - before


def test_one_that_is_killed_at_work_is_lost(connection: Connection, server: Server) -> None:
    killing = threading.Timer(0.5, server.sql, [f"KILL {connection.number}"])
    killing.start()
    began = time.monotonic()
    with pytest.raises(QueryFailed):
        connection.query("SELECT SLEEP(20) FROM mysql.user AS a, mysql.user AS b", timeout=30)
    with pytest.raises(SessionLost):
        connection.query("SELECT 1")
    assert time.monotonic() - began < 5
    killing.join()


def test_a_statement_that_takes_too_long_ends_the_session(opened: Open, server: Server) -> None:
    before = processes(server)
    connection = opened(server)
    began = time.monotonic()
    with pytest.raises(SessionLost, match="1 seconds"):
        connection.query("SELECT SLEEP(60)", timeout=1)
    assert time.monotonic() - began < 2
    with pytest.raises(SessionLost):
        connection.query("SELECT 1")
    assert soon(lambda: connection.number not in sessions(server))
    connection.close()
    assert soon(lambda: processes(server) <= before), processes(server) - before


def test_an_answer_that_takes_too_long_ends_the_session(connection: Connection) -> None:
    """Rows come all the time, but there is no end of them."""
    six = ", ".join(f"{DIGITS} AS t{number}" for number in range(7))
    began = time.monotonic()
    with pytest.raises(SessionLost):
        connection.query(f"SELECT SQL_BIG_RESULT 1, REPEAT('x', 100) FROM {six}", timeout=1)
    assert time.monotonic() - began < 3


class Interrupting(BaseException):
    pass


def test_an_interrupted_statement_ends_with_its_session(opened: Open, server: Server) -> None:
    connection = opened(server)

    def interrupt(*_: object) -> None:
        raise Interrupting

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Interrupting):
            connection.query("SELECT SLEEP(60)")
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(SessionLost, match="interrupted"):
        connection.query("SELECT 1")
    assert soon(lambda: connection.number not in sessions(server))


HOLDER = """
import sys
from dbguard import discover
from dbguard.config import Settings
from dbguard.containers import Containers
from tests.contract.test_connections import WAYS
container, way, *statements = sys.argv[1:]
containers = Containers.connect()
target = discover.reachable(discover.sighting(containers, Settings(), containers.inspect(container)))
connection = WAYS[way](containers, target)
assert connection.way == way
print(connection.number, flush=True)
for statement in statements:
    connection.query(statement)
    print("done", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(server: Server, way: str, *statements: str, host: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process of ours, at these statements. Its session's number is its first line."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{root / 'src'}"} | ({"DOCKER_HOST": host} if host else {})
    argv = [sys.executable, "-c", HOLDER, server.container, way, *statements]
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout
    return running.stdout.readline().strip()


@pytest.mark.parametrize("way", WAYS)
def test_when_we_are_killed_the_lock_goes(way: str, server: Server) -> None:
    server.sql(SHOP)
    before = processes(server)
    with holder(server, way, "LOCK TABLES shop.t WRITE") as running:
        number = int(line(running))
        assert line(running) == "done"
        assert not writable(server)
        running.kill()
        assert soon(lambda: number not in sessions(server), 1)
        assert soon(lambda: writable(server))
    assert soon(lambda: processes(server) <= before), processes(server) - before


ENDLESS = f"SELECT COUNT(*) FROM {', '.join(f'{DIGITS} AS t{number}' for number in range(12))} WHERE t0.n + t11.n > 17"


@pytest.mark.parametrize("statement", ["FLUSH TABLES WITH READ LOCK", "SELECT SLEEP(600)", ENDLESS])
@pytest.mark.parametrize("way", WAYS)
def test_when_we_are_killed_at_work_the_session_goes(
    way: str, statement: str, server: Server, containers: Containers, targets: Targets
) -> None:
    """The first waits for a lock, and everybody who writes waits behind it."""
    server.sql(SHOP)
    before = processes(server)
    locking = ClientConnection(containers, targets(server))
    locking.query("LOCK TABLES shop.t WRITE")
    with holder(server, way, statement) as running:
        number = int(line(running))
        assert soon(lambda: statement[:20] in server.sql("SHOW FULL PROCESSLIST"))
        running.kill()
        assert soon(lambda: number not in sessions(server), 2)
    locking.close()
    assert soon(lambda: processes(server) <= before), processes(server) - before


class Cable(Forwarder):
    """To the engine; it can be cut."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
        self._ends: list[socket.socket] = []

    def connection(self, client: socket.socket, engine: socket.socket) -> Wires:
        self._ends += [client, engine]
        return Wires(client, engine)

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Wires:
    def __init__(self, client: socket.socket, engine: socket.socket) -> None:
        self._client, self._engine = client, engine

    def requests(self) -> None:
        pass_on(self._client, self._engine)

    def answers(self) -> None:
        pass_on(self._engine, self._client)


def pass_on(source: socket.socket, drain: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            drain.sendall(data)
        drain.shutdown(socket.SHUT_WR)


@pytest.fixture
def cable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    cable = Cable(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", cable.host)
    yield cable
    cable.close()


@pytest.mark.parametrize("statement", ["SELECT SLEEP(600)", "FLUSH TABLES WITH READ LOCK", ""])
@pytest.mark.parametrize("way", WAYS)
def test_when_the_stream_is_cut_the_session_goes(
    way: str, statement: str, server: Server, containers: Containers, targets: Targets, cable: Cable
) -> None:
    server.sql(SHOP)
    target = targets(server)
    before = processes(server)
    locking = ClientConnection(containers, targets(server))
    locking.query("LOCK TABLES shop.t WRITE")
    connection = WAYS[way](Containers.connect(), target)
    cutting = threading.Timer(0.5, cable.cut)
    cutting.start()
    if not statement:
        cutting.join()
    began = time.monotonic()
    with pytest.raises(SessionLost):
        connection.query(statement or "SELECT 1")
    assert time.monotonic() - began < 3
    assert soon(lambda: connection.number not in sessions(server), 2)
    connection.close()
    locking.close()
    assert soon(lambda: processes(server) <= before), processes(server) - before


# --- when the server goes ---


@pytest.fixture(params=KINDS)
def doomed(request: pytest.FixtureRequest, fresh: Fresh) -> Server:
    return fresh(request.param)


def until_it_fails(connection: Connection, statement: str) -> None:
    while True:
        connection.query(statement)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_goes_takes_its_sessions_along(
    way: str, doomed: Server, containers: Containers, targets: Targets
) -> None:
    """One container for all ways to go: they take long to start."""
    for gone in (["restart", "--time", "20"], ["kill"]):
        target = targets(doomed)
        with WAYS[way](containers, target) as idle, WAYS[way](containers, target) as working:
            idle.query("SELECT 1")
            going = threading.Timer(0.5, docker, [*gone, doomed.container])
            going.start()
            for connection, statement in ((working, "SELECT SLEEP(50)"), (idle, "SELECT 1")):
                began = time.monotonic()
                with pytest.raises(SessionLost):
                    until_it_fails(connection, statement)
                assert time.monotonic() - began < 15
            going.join()
            began = time.monotonic()
        assert time.monotonic() - began < 8
        docker("start", doomed.container)
        doomed.wait_until_ready()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_freezes_is_lost(way: str, fresh: Fresh, containers: Containers, targets: Targets) -> None:
    server = fresh("mariadb118")
    connection = WAYS[way](containers, targets(server))
    docker("pause", server.container)
    try:
        began = time.monotonic()
        with pytest.raises(SessionLost, match="no answer"):
            connection.query("SELECT 1", timeout=2)
        assert time.monotonic() - began < 3
        connection.close()
        assert time.monotonic() - began < 15
    finally:
        docker("unpause", server.container)
    assert soon(lambda: connection.number not in sessions(server), 10)


# --- which way ---


def way_to(containers: Containers, target: Target) -> tuple[str, str]:
    with connections.connect(containers, target) as connection:
        assert connection.query("SELECT 1") == [("1",)]
        return connection.way, str(getattr(connection, "why_not_tunnel", None))


def test_without_bash_there_is_no_tunnel(fresh: Fresh, containers: Containers, targets: Targets) -> None:
    server = fresh("mariadb118", image=os.environ["DBGUARD_TEST_WITHOUT_BASH"])
    way, why = way_to(containers, targets(server))
    assert way == "client"
    assert "bash" in why


def test_the_tunnel_must_see_as_much(doomed: Server, containers: Containers, targets: Targets) -> None:
    target = targets(doomed)
    assert way_to(containers, target)[0] == "tunnel"
    doomed.sql("REVOKE EVENT ON *.* FROM root@'%'")
    way, why = way_to(containers, target)
    assert (way, "EVENT" in why) == ("client", True)
    doomed.sql("GRANT EVENT ON *.* TO root@'%'; REVOKE RELOAD ON *.* FROM root@'%'")
    assert way_to(containers, target) == ("client", "that account sees less: RELOAD")
    doomed.sql("DROP USER root@'%'")
    way, why = way_to(containers, target)
    assert (way, PASSWORD in why) == ("client", False)


def test_a_closed_port_is_no_tunnel(server: Server, containers: Containers, targets: Targets) -> None:
    before = processes(server)
    with pytest.raises(SessionLost, match="onnection refused"):
        TunnelConnection(containers, targets(server), "1")
    assert soon(lambda: processes(server) <= before), processes(server) - before


def test_another_server_on_the_port_is_seen(containers: Containers, targets: Targets, fresh: Fresh) -> None:
    one, other = fresh("mariadb118"), fresh("mariadb118")
    with (
        ClientConnection(containers, targets(one)) as client,
        TunnelConnection(containers, targets(one), "3306") as tunnel,
        TunnelConnection(containers, targets(other), "3306") as stranger,
    ):
        assert connections._same_server(client, tunnel)
        assert not connections._same_server(client, stranger)


def test_another_server_is_left_alone(
    server: Server, containers: Containers, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_same_server", lambda *_: False)
    assert way_to(containers, targets(server)) == ("client", "another server listens on that port")


# --- the password ---

ODD = "p\"a\\s's $w`ord;#\N{SNOWMAN} "


def test_a_password_may_be_odd(opened: Open, server: Server) -> None:
    quoted = ODD.replace("\\", "\\\\").replace("'", "\\'")
    for host in ("%", "localhost"):
        server.sql(f"CREATE USER odd@'{host}' IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO odd@'{host}';")
    assert opened(server, Login(user="odd", password=ODD)).query("SELECT CURRENT_USER()")[0][0].startswith("odd@")


def test_a_wrong_password_is_not_told(server: Server, containers: Containers, targets: Targets) -> None:
    target = replace(targets(server), login=Login(user="root", password="wrong-and-secret"))
    tunnel: Callable[[Containers, Target], Connection] = partial(TunnelConnection, port="3306")
    for open_session in (*WAYS.values(), tunnel):
        with pytest.raises(QueryFailed, match="Access denied") as caught:
            open_session(containers, target)
        assert caught.value.number == 1045
        seen: BaseException | None = caught.value
        while seen is not None:
            assert "wrong-and-secret" not in f"{seen} {seen.args}"
            seen = seen.__cause__ or seen.__context__


def test_the_password_is_in_no_event_and_no_argv(opened: Open, server: Server) -> None:
    since = str(time.time())
    connection = opened(server)
    seen = docker("top", server.container, "-eo", "pid,args")
    connection.close()
    seen += docker("events", "--since", since, "--until", str(time.time()), "--filter", f"container={server.container}")
    assert "exec_create" in seen
    assert PASSWORD not in seen


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["root", "A"], {"A": "secret"}, b"root\0secret\0"),
        (["root", "A"], {"A_FILE": "{file}"}, b"root\0from a file\0"),
        (["root", "A"], {"A": "first", "A_FILE": "{file}"}, b"root\0first\0"),
        (["root", ""], {}, b"root\0\0"),
        (["root", "A"], {}, b"root\0\0"),
        (["$U", "A"], {"U": "me", "A": 'it\'s "$(odd)" \\n `x` '}, b'me\0it\'s "$(odd)" \\n `x` \0'),
        (["$U", "A"], {"U_FILE": "{file}", "A": "secret"}, b"from a file\0secret\0"),
    ],
)
def test_the_login_is_read_as_the_wrapper_reads_it(
    words: list[str], environment: dict[str, str], expected: bytes, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    variables = {name: value.replace("{file}", str(tmp_path / "secret")) for name, value in environment.items()}
    argv = ["sh", "-c", _LOGIN, "login", *words]
    done = subprocess.run(argv, env={"PATH": os.environ["PATH"]} | variables, capture_output=True, check=True)
    assert done.stdout == expected
