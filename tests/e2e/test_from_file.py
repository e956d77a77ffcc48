"""Dumps of other tools, loaded into real servers."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.conftest import Dbguard
from tests.servers import Server

pytestmark = pytest.mark.docker

TABLES = """
CREATE DATABASE shop;
CREATE TABLE shop.t (a INT PRIMARY KEY, b VARCHAR(100), KEY (b));
INSERT INTO shop.t VALUES (1, 'it''s'), (2, 'a;b\\\\n'), (3, NULL);
CREATE VIEW shop.v AS SELECT a FROM shop.t;
CREATE TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET NEW.b = CONCAT(NEW.b, '!');
"""
STATE = (
    "SELECT * FROM shop.t ORDER BY a; SELECT COUNT(*) FROM shop.v; "
    "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'shop'"
)
COUNT = "SELECT COUNT(*) FROM shop.t"


@pytest.fixture
def dump(server: Server, tmp_path: Path) -> Path:
    """As people take it."""
    server.sql(TABLES)
    program = "mysqldump" if server.family == "mysql" else "mariadb-dump"
    text = server.run("sh", "-c", f"exec $(command -v {program} || command -v mysqldump) -uroot --databases shop")
    file = tmp_path / "dump.sql.gz"
    file.write_bytes(gzip.compress(text))
    return file


def test_a_dump_comes_back(server: Server, dbguard: Dbguard, dump: Path) -> None:
    before = server.sql(STATE)
    server.sql("DROP DATABASE shop")
    done = dbguard("restore", server.target, "--from-file", str(dump), "--yes")
    done.succeeded()
    assert "1 table in shop" in done.err
    assert server.sql(STATE) == before


def test_what_holds_data_is_saved_before_it_is_loaded_over(server: Server, dbguard: Dbguard, dump: Path) -> None:
    server.sql("INSERT INTO shop.t VALUES (4, 'new')")
    refused = dbguard("restore", server.target, "--from-file", str(dump), "--yes")
    assert refused.code == 1
    assert "shop holds data" in refused.err
    assert server.sql(COUNT).strip() == "4"
    dbguard("restore", server.target, "--from-file", str(dump), "--yes", "--in-place").succeeded()
    assert server.sql(COUNT).strip() == "3"
    dbguard("restore", server.target, "--latest", "--in-place", "--yes", "--no-safety-backup").succeeded()
    assert server.sql(COUNT).strip() == "4"


def test_one_that_names_no_database(server: Server, dbguard: Dbguard, tmp_path: Path) -> None:
    file = tmp_path / "plain.sql"
    file.write_text("CREATE TABLE t (a INT);\nINSERT INTO t VALUES (1),\n(2)")  # the last statement is left open
    nowhere = dbguard("restore", server.target, "--from-file", str(file), "--yes")
    assert nowhere.code == 2
    assert "--database NAME" in nowhere.err
    dbguard("restore", server.target, "--from-file", str(file), "--database", "shop", "--yes").succeeded()
    assert server.sql(COUNT).strip() == "2"


def test_a_load_that_fails_says_where_and_leaves_nothing(server: Server, dbguard: Dbguard, tmp_path: Path) -> None:
    file = tmp_path / "wrong.sql"
    file.write_text("CREATE DATABASE shop;\nUSE shop;\nCREATE TABLE `t` (a INT);\nINSERT INTO `t` VALUES ('x', 1);\n")
    failed = dbguard("restore", server.target, "--from-file", str(file), "--yes")
    assert failed.code == 1
    assert "at line" in failed.err
    assert "in table t" in failed.err
    assert server.databases() == []


HOSTILE = "CREATE DATABASE shop;\n\\! touch /tmp/pwned\nsystem touch /tmp/pwned\nCREATE TABLE shop.t (a INT);\n"


def test_orders_to_the_client_are_not_obeyed(server: Server, dbguard: Dbguard, tmp_path: Path) -> None:
    file = tmp_path / "hostile.sql"
    file.write_text(HOSTILE)
    assert dbguard("restore", server.target, "--from-file", str(file), "--yes").code == 1
    assert server.run("sh", "-c", "ls /tmp/pwned 2>/dev/null || echo none") == b"none\n"
    assert server.databases() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-- MySQL dump 10.13\nUSE shop;\n", "its last line, `-- Dump completed`, is missing"),
        ("USE `mysql`;\nDELETE FROM user;\n", "would change the system database mysql"),
    ],
)
def test_what_is_refused(server: Server, dbguard: Dbguard, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "dump.sql"
    file.write_text(text)
    refused = dbguard("restore", server.target, "--from-file", str(file), "--yes")
    assert refused.code == 1
    assert said in refused.err
