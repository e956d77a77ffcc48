"""`restore --replace`: live data is exchanged for an archive's, wholly or not at all, whatever comes in between."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests import compare, hostile
from tests.conftest import Dbguard, Fresh
from tests.e2e.test_verify import rewritten
from tests.servers import PASSWORD, Server
from tests.stack import wait_until

pytestmark = pytest.mark.docker
ONE_KIND = pytest.mark.parametrize("server", ["mariadb118"], indirect=True)

OLD = """
CREATE DATABASE shop CHARACTER SET latin1; USE shop;
CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), KEY by_name (name));
INSERT INTO customer VALUES (1, 'Ada'), (2, 'Grace');
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, CONSTRAINT who FOREIGN KEY (customer) REFERENCES customer (id));
INSERT INTO orders VALUES (10, 1), (11, 2);
CREATE TABLE counted (n INT); INSERT INTO counted VALUES (0);
CREATE TABLE ancient (n INT, KEY (n)) ENGINE=MyISAM; INSERT INTO ancient VALUES (7);
CREATE VIEW names AS SELECT name FROM customer;
DELIMITER $$
CREATE TRIGGER orders_counted AFTER INSERT ON orders FOR EACH ROW BEGIN UPDATE counted SET n = n + 1; END$$
CREATE EVENT nightly ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO SET @night = 1$$
CREATE PROCEDURE greet() BEGIN SELECT 'old;'; END$$
CREATE FUNCTION shop() RETURNS VARCHAR(9) DETERMINISTIC RETURN 'old'$$
DELIMITER ;
CREATE DATABASE second; CREATE TABLE second.t (a INT PRIMARY KEY); INSERT INTO second.t VALUES (1);
"""
NEW = """
USE shop; INSERT INTO orders VALUES (12, 1); INSERT INTO customer VALUES (3, 'Edsger');
CREATE TABLE later (a INT); INSERT INTO later VALUES (5);
DROP VIEW names; CREATE VIEW names AS SELECT 'new' AS name; CREATE VIEW newer AS SELECT 2;
DROP PROCEDURE greet; CREATE PROCEDURE greeting() SELECT 'new'; DROP EVENT nightly;
CREATE TRIGGER later_counted AFTER INSERT ON later FOR EACH ROW UPDATE counted SET n = n + 100;
ALTER DATABASE shop CHARACTER SET utf8mb4; UPDATE second.t SET a = 2;
"""
STATE = """
SELECT * FROM shop.orders ORDER BY id; SELECT * FROM shop.ancient; SELECT * FROM shop.counted;
SELECT * FROM shop.names; SELECT * FROM second.t;
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY 1;
SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'shop' ORDER BY 1;
SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'shop' ORDER BY 1;
SELECT event_name, status FROM information_schema.events WHERE event_schema = 'shop';
SELECT table_name, unique_constraint_schema, referenced_table_name
    FROM information_schema.referential_constraints WHERE constraint_schema = 'shop';
SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'shop';
SHOW CREATE TABLE shop.orders;
"""


@pytest.fixture
def old(server: Server, dbguard: Dbguard) -> str:
    """The state that was saved."""
    server.sql(before(server))
    dbguard("backup", "now", server.target).succeeded()
    return server.sql(STATE)


@pytest.fixture
def new(server: Server, old: str) -> str:
    """The state that is there since."""
    server.sql(NEW)
    changed = server.sql(STATE)
    assert changed != old
    return changed


def before(server: Server) -> str:
    """MySQL cannot exchange a table of MyISAM."""
    return OLD.replace("ENGINE=MyISAM", "ENGINE=InnoDB") if server.family == "mysql" else OLD


def replace(server: Server, dbguard: Dbguard, *words: str) -> tuple[str, ...]:
    return ("restore", server.target, "--id", dbguard.archives()[0].name, "--replace", "--yes", *words)


@contextmanager
def replacing(server: Server, dbguard: Dbguard) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "dbguard", *replace(server, dbguard, "--no-safety-backup")]
    environment = dbguard.environment
    with subprocess.Popen(argv, cwd=dbguard.folder, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def in_use(server: Server, table: str) -> Iterator[None]:
    """By a transaction that does not end."""
    client = "mysql" if server.family == "mysql" else "mariadb"
    argv = ["docker", "exec", "-i", "-e", f"MYSQL_PWD={PASSWORD}", server.container, client, "-uroot"]
    sleeping = "FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)'"
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as application:
        assert application.stdin is not None
        application.stdin.write(f"BEGIN; SELECT * FROM {table}; SELECT SLEEP(600);\n".encode())
        application.stdin.flush()
        wait_until(lambda: server.sql(f"SELECT COUNT(*) {sleeping}") == "1\n", "the application")
        try:
            yield
        finally:
            server.sql("".join(f"KILL {connection};" for connection in server.sql(f"SELECT id {sleeping}").split()))
            application.stdin.close()


@pytest.mark.fault(49)
def test_live_data_is_exchanged(server: Server, dbguard: Dbguard, old: str, new: str) -> None:
    done = dbguard(*replace(server, dbguard)).succeeded()
    assert server.sql(STATE) == old
    assert server.databases() == ["second", "shop"]
    assert "exchanged in" in done.err
    server.sql("INSERT INTO shop.orders VALUES (13, 1)")
    assert server.sql("SELECT n FROM shop.counted; CALL shop.greet()") == "1\nold;\n"
    [kept, _] = dbguard("list", "--json").succeeded().json["archives"]
    assert kept["held"]
    dbguard("restore", server.target, "--id", kept["id"], "--replace", "--yes", "--no-safety-backup").succeeded()
    assert server.sql(STATE) == new
    assert len(dbguard.archives()) == 2


def test_in_place(server: Server, dbguard: Dbguard, old: str, new: str) -> None:
    dbguard("restore", server.target, "--latest", "--in-place", "--yes").succeeded()
    assert server.sql(STATE) == old
    assert len(dbguard.archives()) == 2


@ONE_KIND
def test_hostile_schema(server: Server, dbguard: Dbguard) -> None:
    hostile.load(server)
    refused = "foreign key ruled_by of Hostile.country refers to hostile.person"
    dbguard("backup", "now", server.target).succeeded()
    done = dbguard(*replace(server, dbguard, "--no-safety-backup"))
    assert (done.code, refused in done.err) == (1, True), done.err
    shutil.rmtree(dbguard.archives()[0])
    server.sql(
        "ALTER TABLE hostile.person DROP FOREIGN KEY lives_in; ALTER TABLE Hostile.country DROP FOREIGN KEY ruled_by"
    )
    was = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    server.sql("USE hostile; CREATE TABLE newer (a INT); DELETE FROM big WHERE id = 1; CREATE VIEW newest AS SELECT 1")
    dbguard(*replace(server, dbguard, "--no-safety-backup")).succeeded()
    assert compare.differences(was, compare.snapshot(server.container, PASSWORD)) == []


@ONE_KIND
def test_a_dry_run_says_so_and_does_nothing(server: Server, dbguard: Dbguard, new: str) -> None:
    done = dbguard(*replace(server, dbguard), "--dry-run").succeeded()
    assert "shop holds data" in done.err
    assert (server.sql(STATE), len(dbguard.archives())) == (new, 1)


@ONE_KIND
def test_one_database_of_several(server: Server, dbguard: Dbguard, old: str, new: str) -> None:
    dbguard(*replace(server, dbguard, "--database", "shop")).succeeded()
    assert server.sql(STATE).replace("\n1\n", "\n2\n") == old.replace("\n1\n", "\n2\n")
    assert server.sql("SELECT a FROM second.t") == "2\n"


@ONE_KIND
def test_a_database_that_is_gone_comes_back_with_one_that_is_not(
    server: Server, dbguard: Dbguard, old: str, new: str
) -> None:
    server.sql("DROP DATABASE second")
    dbguard(*replace(server, dbguard)).succeeded()
    assert server.sql(STATE) == old


# --- what fails leaves everything as it was ---


@pytest.mark.fault(50)
def test_a_load_that_fails(server: Server, dbguard: Dbguard, new: str) -> None:
    rewritten(dbguard.archives()[0], "(11,2)", "(10,2)")
    done = dbguard(*replace(server, dbguard))
    assert (done.code, "table shop.orders" in done.err) == (1, True), done.err
    assert (server.sql(STATE), server.databases()) == (new, ["second", "shop"])


def test_a_program_that_cannot_be_made(server: Server, dbguard: Dbguard, new: str) -> None:
    """It is found out beside the live data."""
    rewritten(dbguard.archives()[0], "RETURN 'old'", "RETURN old(")
    done = dbguard(*replace(server, dbguard))
    assert (done.code, "function shop.shop" in done.err) == (1, True), done.err
    assert (server.sql(STATE), server.databases()) == (new, ["second", "shop"])


def test_rows_that_are_missing(server: Server, dbguard: Dbguard, new: str) -> None:
    rewritten(dbguard.archives()[0], ",(11,2)" if server.family == "mysql" else ",\n(11,2)", "")
    done = dbguard(*replace(server, dbguard))
    assert (done.code, "orders has 1 rows instead of 2" in done.err) == (1, True), done.err
    assert (server.sql(STATE), server.databases()) == (new, ["second", "shop"])


def test_a_table_in_use(server: Server, dbguard: Dbguard, old: str, new: str) -> None:
    """The exchange does not wait for ever, and the triggers that were dropped for it are there again."""
    with in_use(server, "shop.later"):
        done = dbguard(*replace(server, dbguard, "--no-safety-backup"))
        assert (done.code, "could not be exchanged" in done.err) == (1, True), done.err
    assert (server.sql(STATE), server.databases()) == (new, ["second", "shop"]), done.err
    dbguard(*replace(server, dbguard, "--no-safety-backup")).succeeded()
    assert server.sql(STATE) == old


@ONE_KIND
@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt(server: Server, dbguard: Dbguard, old: str, new: str, what: signal.Signals) -> None:
    with replacing(server, dbguard) as process:
        wait_until(lambda: any(name.startswith("dbguard_swap") for name in server.databases()), "the side database")
        process.send_signal(what)
        process.communicate(timeout=60)
    assert process.returncode in {128 + what, 0}
    assert server.sql(STATE) == (old if process.returncode == 0 else new)
    assert server.databases() == ["second", "shop"]


# --- what is cut short is brought to its end by the next command ---


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    ("server", "share"),
    [("mysql97", 0.5), ("mysql97", 0.75), ("mariadb118", 0.6), ("mariadb118", 0.9), ("mariadb1011", 0.8)],
    indirect=["server"],
)
def test_a_kill(server: Server, dbguard: Dbguard, old: str, new: str, share: float) -> None:
    """By the share of the time that a whole one takes."""
    began = time.monotonic()
    dbguard(*replace(server, dbguard)).succeeded()
    whole = time.monotonic() - began
    held = dbguard.archives()[1].name
    dbguard("restore", server.target, "--id", held, "--replace", "--yes", "--no-safety-backup").succeeded()
    assert server.sql(STATE) == new
    with replacing(server, dbguard) as process:
        time.sleep(whole * share)
        process.kill()
    dbguard("backup", "now", server.target).succeeded()
    assert server.sql(STATE) in {old, new}
    assert server.databases() == ["second", "shop"]


# --- what is refused ---


def test_foreign_keys_between_databases(server: Server, dbguard: Dbguard) -> None:
    server.sql(before(server) + "CREATE TABLE second.c (a INT, FOREIGN KEY (a) REFERENCES shop.customer (id));")
    dbguard("backup", "now", server.target).succeeded()
    done = dbguard(*replace(server, dbguard))
    assert (done.code, "refers to shop.customer" in done.err, "--in-place" in done.err) == (1, True, True), done.err
    assert server.databases() == ["second", "shop"]


@pytest.mark.parametrize("server", ["mysql97"], indirect=True)
def test_tables_that_are_not_renamed_at_once(server: Server, dbguard: Dbguard) -> None:
    server.sql(OLD)
    dbguard("backup", "now", server.target).succeeded()
    done = dbguard(*replace(server, dbguard, "--no-safety-backup"))
    assert (done.code, "shop.ancient is of MyISAM" in done.err) == (1, True), done.err
    dbguard("restore", server.target, "--latest", "--in-place", "--no-safety-backup", "--yes").succeeded()
    assert server.sql("SELECT n FROM shop.ancient") == "7\n"


@pytest.mark.parametrize("server", ["mysql97", "mariadb118"], indirect=True)
def test_what_belongs_to_the_things_that_are_made_again(server: Server, dbguard: Dbguard) -> None:
    """A database of another character set than its triggers', rights on routines, triggers in their order."""
    server.sql(before(server))
    server.sql(
        "CREATE USER app@'%' IDENTIFIED BY 'a'; GRANT EXECUTE ON PROCEDURE shop.greet TO app@'%';"
        "ALTER DATABASE second CHARACTER SET utf8mb4; USE second; SET NAMES latin1;"
        "CREATE TRIGGER first BEFORE INSERT ON t FOR EACH ROW SET @said = CONCAT(@said, 'aé');"
        "CREATE TRIGGER other BEFORE INSERT ON t FOR EACH ROW SET @said = CONCAT(@said, 'b');"
        "ALTER DATABASE second CHARACTER SET latin1".encode("latin1")
    )
    triggers = (
        "SET NAMES utf8mb4; SELECT trigger_name, action_order, HEX(action_statement) FROM information_schema.triggers"
    )
    asked = f"{triggers} ORDER BY 1, 2; SHOW GRANTS FOR app@'%'; SHOW CREATE DATABASE second"
    was = server.sql(asked)
    dbguard("backup", "now", server.target).succeeded()
    dbguard(*replace(server, dbguard, "--no-safety-backup")).succeeded()
    assert server.sql(asked) == was
    with in_use(server, "shop.customer"):
        done = dbguard(*replace(server, dbguard, "--no-safety-backup"))
        assert (done.code, "the live data is as it was" in done.err) == (1, True), done.err
    assert server.sql(asked) == was


@ONE_KIND
def test_two_at_once(server: Server, dbguard: Dbguard, new: str) -> None:
    argv = ["docker", "exec", "-i", "-e", f"MYSQL_PWD={PASSWORD}", server.container, "mariadb", "-uroot"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
        assert other.stdin is not None
        other.stdin.write(b"SELECT GET_LOCK('dbguard_swap', 0); SELECT SLEEP(60);\n")
        other.stdin.flush()
        wait_until(lambda: server.sql("SELECT IS_FREE_LOCK('dbguard_swap')") == "0\n", "the lock")
        done = dbguard(*replace(server, dbguard))
        server.sql("KILL " + server.sql("SELECT IS_USED_LOCK('dbguard_swap')"))
        other.stdin.close()
    assert (done.code, "somebody else" in done.err) == (75, True), done.err
    assert server.sql(STATE) == new


def test_no_room_for_both(fresh: Fresh, dbguard: Dbguard) -> None:
    server = fresh("mariadb118", options=("--tmpfs=/var/lib/mysql:size=330m",))
    server.sql(
        "CREATE DATABASE large; USE large; CREATE TABLE t (a INT PRIMARY KEY, b LONGBLOB);"
        "INSERT INTO t SELECT seq, REPEAT(CHAR(65 + seq), 4000000) FROM seq_1_to_20"
    )
    dbguard("backup", "now", server.target).succeeded()
    done = dbguard(*replace(server, dbguard, "--no-safety-backup"))
    assert (done.code, "MiB left" in done.err) == (1, True), done.err
    assert server.databases() == ["large"]
    dbguard(*replace(server, dbguard, "--no-safety-backup", "--in-place")).succeeded()
    assert server.sql("SELECT COUNT(*) FROM large.t") == "20\n"


@pytest.mark.fault(49)
def test_an_older_server(fresh: Fresh, dbguard: Dbguard) -> None:
    newer, older = fresh("mariadb118"), fresh("mariadb1011")
    newer.sql("CREATE DATABASE shop CHARACTER SET latin1; CREATE TABLE shop.t (a INT PRIMARY KEY)")
    dbguard("backup", "now", newer.target).succeeded()
    words = ("restore", newer.target, "--latest", "--into", older.target, "--no-accounts", "--yes")
    done = dbguard(*words)
    assert (done.code, "is older" in done.err, older.databases()) == (1, True, []), done.err
    dbguard(*words, "--force-version").succeeded()
    assert older.databases() == ["shop"]


# --- an archive by its time ---


@ONE_KIND
def test_the_last_archive_before_a_time(server: Server, dbguard: Dbguard, old: str, new: str) -> None:
    between = datetime.now(UTC)
    time.sleep(1.1)
    dbguard("backup", "now", server.target).succeeded()
    plans = [
        dbguard("restore", server.target, "--at", at, "--dry-run", "--json").succeeded().json["archive"]
        for at in (between.isoformat(), f"{between:%Y-%m-%dT%H:%M:%S.%f}", (between + timedelta(hours=1)).isoformat())
    ]
    first, second = (folder.name for folder in dbguard.archives())
    assert plans == [first, first, second]
    early = dbguard("restore", server.target, "--at", "2001-01-01T00:00", "--dry-run")
    assert (early.code, "or before" in early.err) == (1, True), early.err
    wrong = dbguard("restore", server.target, "--at", "yesterday", "--dry-run")
    assert wrong.code == 2
