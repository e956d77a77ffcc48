"""What a restore must never do to data that is there."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.conftest import Dbguard, Fresh
from tests.servers import PASSWORD, Server, Servers

pytestmark = pytest.mark.docker

SHOP = "CREATE DATABASE Shop; CREATE TABLE Shop.orders (a INT PRIMARY KEY); INSERT INTO Shop.orders VALUES (1);"


@pytest.fixture
def mariadb(servers: Servers) -> Server:
    return servers.get("mariadb118")


@pytest.mark.fault(49)
def test_a_server_that_folds_case_keeps_its_database(mariadb: Server, fresh: Fresh, dbguard: Dbguard) -> None:
    mariadb.sql(SHOP)
    dbguard("backup", "now", mariadb.target).succeeded()
    folding = fresh("mariadb118", "--lower-case-table-names=1")
    folding.sql("CREATE DATABASE shop; CREATE TABLE shop.invoices (a INT); INSERT INTO shop.invoices VALUES (7);")
    result = dbguard("restore", mariadb.target, "--latest", "--into", folding.target, "--yes")
    assert result.code == 1
    assert "lower_case_table_names" in result.err
    assert folding.sql("SELECT a FROM shop.invoices") == "7\n"


@pytest.mark.parametrize("name", ["Shop:mysql", "Shop:information_schema", ":everything"])
def test_no_new_name_that_is_taken_by_the_server(mariadb: Server, dbguard: Dbguard, name: str) -> None:
    mariadb.sql(SHOP + "CREATE DATABASE other; CREATE TABLE other.t (a INT);")
    dbguard("backup", "now", mariadb.target).succeeded()
    result = dbguard("restore", mariadb.target, "--latest", "--database", name, "--yes")
    assert result.code == 2, result.err
    assert mariadb.sql("SELECT COUNT(*) > 0 FROM mysql.user") == "1\n"
    assert set(mariadb.databases()) == {"Shop", "other"}


def test_a_replaced_database_in_use_is_not_dropped_later(servers: Servers, dbguard: Dbguard) -> None:
    mysql = servers.get("mysql97")
    mysql.sql(SHOP)
    dbguard("backup", "now", mysql.target).succeeded()
    argv = ["docker", "exec", "-i", "-e", f"MYSQL_PWD={PASSWORD}", mysql.container, "mysql", "-uroot"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as application:
        assert application.stdin is not None
        application.stdin.write(b"BEGIN; SELECT * FROM Shop.orders; SELECT SLEEP(600);\n")
        application.stdin.flush()
        time.sleep(1)
        words = ("restore", mysql.target, "--latest", "--in-place", "--no-safety-backup", "--yes")
        result = dbguard(*words, environment={"DBGUARD_STALL": "5s"})
        assert result.code == 1
        assert "could not be dropped" in result.err
        assert "another session" in result.err
        held = mysql.sql("SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)'").split()
        mysql.sql("".join(f"KILL {connection};" for connection in held))
        application.stdin.close()
    time.sleep(2)
    assert mysql.sql("SELECT a FROM Shop.orders") == "1\n"


def test_latest_prefers_a_complete_archive_and_names_what_it_skips(mariadb: Server, dbguard: Dbguard) -> None:
    mariadb.sql(SHOP + "CREATE DATABASE other; CREATE TABLE other.t (a INT);")
    dbguard("backup", "now", mariadb.target).succeeded()
    time.sleep(1.1)  # ids sort by the second
    dbguard("backup", "now", mariadb.target, "--database", "Shop").succeeded()
    plan = dbguard("restore", mariadb.target, "--latest", "--dry-run", "--json").succeeded()
    assert {pair["from"] for pair in plan.json["databases"]} == {"Shop", "other"}
    assert "skipped" in plan.err
    assert "partial" in plan.err


def test_output_that_nobody_reads_or_that_is_full(mariadb: Server, dbguard: Dbguard) -> None:
    mariadb.sql(SHOP)
    dbguard("backup", "now", mariadb.target).succeeded()
    archive = dbguard.archives()[-1].name
    for target, words in (("head -c 10", ""), ("cat > /dev/full", "")):
        script = f"{sys.executable} -m dbguard cat {archive} | {target}; exit 0"
        done = shell(dbguard, script)
        assert "Traceback" not in done.stderr, words
    script = f"{sys.executable} -m dbguard cat {archive} > /dev/full"
    done = shell(dbguard, script)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def shell(dbguard: Dbguard, script: str) -> subprocess.CompletedProcess[str]:
    """In a folder that no Compose project works in."""
    return subprocess.run(
        ["sh", "-c", script], cwd=dbguard.folder, env=dbguard.environment, capture_output=True, text=True
    )
