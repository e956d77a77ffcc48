"""`restore --table`: one table comes back, and nothing else is touched."""

from __future__ import annotations

import pytest

from tests import compare
from tests.conftest import Dbguard
from tests.e2e.test_swap import in_use
from tests.e2e.test_verify import rewritten
from tests.servers import PASSWORD, Server

pytestmark = pytest.mark.docker
BOTH = pytest.mark.parametrize("server", ["mysql97", "mariadb118"], indirect=True)
ONE_KIND = pytest.mark.parametrize("server", ["mariadb118"], indirect=True)

SHOP = """
CREATE DATABASE shop CHARACTER SET latin1; USE shop;
CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), KEY by_name (name));
INSERT INTO customer VALUES (1, 'Ada'), (2, 'Grace');
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, before_it INT, CONSTRAINT plus CHECK (id > 0),
    CONSTRAINT who FOREIGN KEY (customer) REFERENCES customer (id),
    CONSTRAINT chain FOREIGN KEY (before_it) REFERENCES orders (id));
INSERT INTO orders VALUES (10, 1, NULL), (11, 2, 10);
CREATE TABLE counted (n INT); INSERT INTO counted VALUES (0);
CREATE VIEW seen AS SELECT customer FROM orders;
CREATE TRIGGER orders_counted AFTER INSERT ON orders FOR EACH ROW UPDATE counted SET n = n + 1;
CREATE TRIGGER orders_added AFTER INSERT ON orders FOR EACH ROW UPDATE counted SET n = n + 10;
ALTER DATABASE shop CHARACTER SET utf8mb4;
CREATE PROCEDURE greet() SELECT 'hello';
CREATE EVENT nightly ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO SET @night = 1;
"""
DAMAGE = """
USE shop; DELETE FROM orders ORDER BY id DESC; ALTER TABLE orders ADD later INT;
INSERT INTO orders VALUES (12, 1, NULL, 5);
DROP TRIGGER orders_counted; UPDATE counted SET n = 7; DROP PROCEDURE greet; ALTER DATABASE shop CHARACTER SET ascii;
"""


def state(server: Server) -> compare.Snapshot:
    return compare.snapshot(server.container, PASSWORD)


def changed(before: compare.Snapshot, after: compare.Snapshot) -> list[str]:
    return [line.partition(": ")[0] for line in compare.differences(before, after)]


@pytest.fixture
def saved(server: Server, dbguard: Dbguard) -> compare.Snapshot:
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    return state(server)


def restore(server: Server, dbguard: Dbguard, table: str, *words: str) -> tuple[str, ...]:
    return ("restore", server.target, "--id", dbguard.archives()[0].name, "--table", table, "--yes", *words)


@BOTH
@pytest.mark.parametrize("how", ["--replace", "--in-place", "gone"])
def test_a_table_comes_back(server: Server, dbguard: Dbguard, saved: compare.Snapshot, how: str) -> None:
    server.sql(DAMAGE)
    if how == "gone":
        server.sql("DROP TABLE shop.orders")
    damaged = state(server)
    words = () if how == "gone" else (how,)
    if words:
        plan = dbguard(*restore(server, dbguard, "shop.orders"), "--dry-run").succeeded()
        assert "shop.orders is there" in plan.err
        done = dbguard(*restore(server, dbguard, "shop.orders"))
        assert (done.code, "--replace" in done.err, changed(damaged, state(server))) == (1, True, []), done.err
    done = dbguard(*restore(server, dbguard, "shop.orders", *words)).succeeded()
    assert changed(saved, state(server)) == ["database `shop`", "procedure `shop`.`greet`", "rows of `shop`.`counted`"]
    touched = {line for line in changed(damaged, state(server)) if "orders" not in line and "seen" not in line}
    assert not touched, done.err
    assert len(dbguard.archives()) == 1 + len(words)
    server.sql("INSERT INTO shop.orders VALUES (13, 2, 11)")
    assert server.sql("SELECT n FROM shop.counted") == "18\n"


@BOTH
def test_a_copy_acts_on_nothing(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    server.sql(DAMAGE)
    damaged = state(server)
    for name in ("shop.orders_then", "`old.shop`.orders"):
        dbguard(*restore(server, dbguard, f"shop.orders:{name}")).succeeded()
        server.sql(f"INSERT INTO {name} VALUES (14, 99, 98)")
        assert server.sql(f"SELECT id FROM {name} ORDER BY id") == "10\n11\n14\n"
    assert server.sql("SELECT n FROM shop.counted") == "7\n"
    server.sql("DROP DATABASE `old.shop`; DROP TABLE shop.orders_then")
    assert changed(damaged, state(server)) == []


@BOTH
def test_foreign_keys_of_others(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    """A parent is not exchanged under its child; both together are, and over it the child keeps its key."""
    server.sql("INSERT INTO shop.customer VALUES (3, 'Edsger'); INSERT INTO shop.orders VALUES (15, 3, NULL)")
    damaged = state(server)
    done = dbguard(*restore(server, dbguard, "shop.customer", "--replace", "--no-safety-backup"))
    assert (done.code, "foreign key who of shop.orders" in done.err, "--table" in done.err) == (1, True, True), done.err
    assert (changed(damaged, state(server)), server.databases()) == ([], ["shop"])

    done = dbguard(*restore(server, dbguard, "shop.customer", "--in-place", "--no-safety-backup"))
    assert (done.code, "1 rows refer to rows of shop.customer" in done.err) == (3, True), done.err
    assert "refers" not in "".join(changed(saved, state(server)))

    both = ("--table", "shop.customer", "--replace", "--no-safety-backup")
    dbguard(*restore(server, dbguard, "shop.orders", *both)).succeeded()
    assert changed(saved, state(server)) == ["rows of `shop`.`counted`"]
    server.sql("DELETE FROM shop.orders ORDER BY id DESC; DELETE FROM shop.customer WHERE id = 2")
    done = dbguard(*restore(server, dbguard, "shop.orders", "--replace", "--no-safety-backup"))
    assert (done.code, "rows refer to rows of shop.customer that are not there" in done.err) == (1, True), done.err
    assert (server.sql("SELECT COUNT(*) FROM shop.orders"), server.databases()) == ("0\n", ["shop"])


@BOTH
def test_a_load_that_fails_leaves_the_table(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    server.sql(DAMAGE)
    damaged = state(server)
    rewritten(dbguard.archives()[0], "(11,2,10)", "(10,2,10)")
    done = dbguard(*restore(server, dbguard, "shop.orders", "--replace", "--no-safety-backup"))
    assert (done.code, "table shop.orders" in done.err) == (1, True), done.err
    assert (changed(damaged, state(server)), server.databases()) == ([], ["shop"])
    with in_use(server, "shop.orders"):
        words = ("--id", dbguard.archives()[0].name, "--table", "shop.counted", "--replace", "--no-safety-backup")
        server.sql("DROP TABLE shop.counted; CREATE TABLE shop.counted (m INT)")
        dbguard("restore", server.target, *words, "--yes").succeeded()  # nobody waits for another table


@ONE_KIND
def test_views_that_no_longer_open_are_named(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    server.sql("USE shop; ALTER TABLE orders ADD later INT; CREATE VIEW newer AS SELECT later FROM orders")
    done = dbguard(*restore(server, dbguard, "shop.orders", "--replace", "--no-safety-backup"))
    assert (done.code, "view shop.newer no longer opens" in done.err) == (3, True), done.err


@ONE_KIND
def test_what_cannot_be_a_table(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    for wanted, code, words in (
        ("shop.seen", 1, "seen is a view"),
        ("shop.orders:shop.seen", 1, "there is a view shop.seen"),
        ("shop.orders:mysql.user", 2, "system database"),
        ("orders", 2, "names no table"),
    ):
        done = dbguard(*restore(server, dbguard, wanted))
        assert (done.code, words in done.err) == (code, True), done.err
    server.sql("DROP TRIGGER shop.orders_added")
    server.sql("CREATE TRIGGER shop.orders_added AFTER INSERT ON shop.customer FOR EACH ROW SET @a = 1")
    damaged = state(server)
    done = dbguard(*restore(server, dbguard, "shop.orders", "--replace", "--no-safety-backup"))
    assert (done.code, "trigger shop.orders_added was saved with another table" in done.err) == (1, True), done.err
    assert changed(damaged, state(server)) == []
