"""A load by several sessions: what comes of it is what was saved, and whatever goes wrong in one is told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Dbguard
from tests.e2e.test_verify import rewritten
from tests.servers import Server, docker
from tests.stack import wait_until

pytestmark = pytest.mark.docker
ONE_KIND = pytest.mark.parametrize("server", ["mysql97"], indirect=True)

LARGE = """
CREATE DATABASE large; USE large;
CREATE TABLE digits (d INT PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE VIEW number AS SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d AS n
    FROM digits a, digits b, digits c, digits d, digits e;
CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT, placed DATETIME, note VARCHAR(200),
    UNIQUE KEY once (note), KEY (customer), KEY `by``placed` (placed, customer));
INSERT INTO orders
    SELECT n + 1, n % 97, '2020-01-01' + INTERVAL n SECOND, CONCAT(REPEAT(n, 20), '; -- '';') FROM number;
CREATE TABLE child (id INT PRIMARY KEY, parent INT, note VARCHAR(100), FOREIGN KEY (parent) REFERENCES orders (id),
    KEY (note));
INSERT INTO child SELECT n, n + 1, REPEAT('child;\n', 12) FROM number WHERE n < 60000;
CREATE TABLE a_child_first (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES child (id));
CREATE TABLE loose (a INT, note VARCHAR(100), KEY (a));
INSERT INTO loose SELECT n % 10, REPEAT(n, 12) FROM number;
CREATE TABLE old (a INT, note VARCHAR(100), KEY (a), KEY (note)) ENGINE=MyISAM;
INSERT INTO old SELECT n, REPEAT(n, 12) FROM number;
CREATE TABLE counted (n INT); INSERT INTO counted VALUES (0);
CREATE VIEW z_total AS SELECT COUNT(*) AS n FROM orders;
DELIMITER $$
CREATE TRIGGER orders_counted AFTER INSERT ON orders FOR EACH ROW UPDATE counted SET n = n + 1$$
CREATE TRIGGER loose_counted AFTER INSERT ON loose FOR EACH ROW UPDATE counted SET n = n + 1$$
CREATE FUNCTION one() RETURNS INT DETERMINISTIC RETURN 1$$
DELIMITER ;
CREATE DATABASE second; CREATE TABLE second.t (a INT PRIMARY KEY); INSERT INTO second.t VALUES (1);
"""


@pytest.fixture
def saved(server: Server, dbguard: Dbguard) -> Dbguard:
    server.sql(LARGE)
    dbguard.environment |= {"DBGUARD_CHECKSUMS": "true", "DBGUARD_LOAD_SESSIONS": "4"}
    dbguard("backup", "now", server.target).succeeded()
    return dbguard


@pytest.fixture
def lost(server: Server, saved: Dbguard) -> Dbguard:
    server.sql("DROP DATABASE large")
    return saved


def clients(server: Server) -> int:
    """Sessions that load."""
    return int(server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'large'"))


def test_several_sessions_bring_back_what_was_saved(server: Server, saved: Dbguard) -> None:
    """Contents, definitions, the order of the indexes: all is compared."""
    saved("verify").succeeded()
    before = server.sql("SHOW CREATE TABLE large.orders")
    server.sql("DROP DATABASE large; DROP DATABASE second")
    with subprocess.Popen(
        [sys.executable, "-m", "dbguard", "restore", server.target, "--latest", "--yes"],
        cwd=saved.folder,
        env=saved.environment,
        stderr=subprocess.PIPE,
    ) as process:
        most = 0
        while process.poll() is None:
            most = max(most, clients(server))
    assert (process.returncode, most) == (0, 4)
    assert server.sql("SHOW CREATE TABLE large.orders") == before
    assert server.sql("SELECT n FROM large.z_total") == "100000\n"
    assert server.sql("SELECT n FROM large.counted") == "0\n"


@ONE_KIND
def test_one_session_is_enough(server: Server, saved: Dbguard) -> None:
    saved("verify", environment={"DBGUARD_LOAD_SESSIONS": "1"}).succeeded()


def test_a_statement_that_fails_in_any_session_is_named(server: Server, lost: Dbguard) -> None:
    rewritten(lost.archives()[0], "(99997,86,", "(99996,86,")
    done = lost("restore", server.target, "--latest", "--database", "large", "--yes")
    assert (done.code, "table large.orders" in done.err, "Duplicate entry" in done.err) == (1, True, True), done.err
    assert server.databases() == ["second"]


@pytest.fixture
def loading(server: Server, lost: Dbguard) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "dbguard", "restore", server.target, "--latest", "--yes", "--database", "large"],
        cwd=lost.folder,
        env=lost.environment,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: clients(server) == 4, "four sessions")
        yield process


@ONE_KIND
@pytest.mark.parametrize("which", [0, 3])
def test_a_client_that_is_killed(server: Server, loading: subprocess.Popen[bytes], which: int) -> None:
    program = "mysql" if server.family == "mysql" else "mariadb"
    found = docker("exec", server.container, "sh", "-c", f"pidof {program}").split()
    docker("exec", server.container, "sh", "-c", f"kill -s KILL {found[which]}")
    _, said = loading.communicate(timeout=60)
    assert (loading.returncode, b"exit code 137" in said) == (1, True), said
    assert server.databases() == ["second"]
    assert clients(server) == 0


@ONE_KIND
def test_a_connection_that_the_server_ends(server: Server, loading: subprocess.Popen[bytes]) -> None:
    [session, *_] = server.sql("SELECT id FROM information_schema.processlist WHERE db = 'large'").split()
    server.sql(f"KILL {session}")
    _, said = loading.communicate(timeout=60)
    assert (loading.returncode, b"ERROR" in said) == (1, True), said
    assert server.databases() == ["second"]


@ONE_KIND
def test_an_interrupt_leaves_nothing(server: Server, loading: subprocess.Popen[bytes]) -> None:
    loading.terminate()
    _, said = loading.communicate(timeout=60)
    assert loading.returncode == 143, said
    assert (server.databases(), clients(server)) == (["second"], 0)
    time.sleep(1)
    assert server.databases() == ["second"]
