"""What a restore refuses, asks and leaves alone."""

from __future__ import annotations

import re

import pytest

from tests import compare
from tests.conftest import Dbguard
from tests.servers import PASSWORD, Server

pytestmark = pytest.mark.docker
ONE_SERVER = pytest.mark.parametrize("server", ["mariadb1011"], indirect=True)

SHOP = """
CREATE DATABASE shop; USE shop;
CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(90));
INSERT INTO item VALUES (1, 'tea'), (2, 'coffee');
CREATE VIEW names AS SELECT name FROM item;
"""
OTHER = "CREATE DATABASE other; CREATE TABLE other.t (a INT); INSERT INTO other.t VALUES (1);"


@pytest.mark.fault(49)
@ONE_SERVER
def test_refuses_to_drop_what_is_there(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    server.sql("USE shop; DELETE FROM item; CREATE TABLE newer (a INT); CREATE PROCEDURE newer() SELECT 1;")
    changed = compare.snapshot(server.container, PASSWORD)

    done = dbguard("restore", server.target, "--latest", "--yes")
    assert (done.code, "shop" in done.err, "--replace" in done.err) == (1, True, True)
    assert compare.differences(changed, compare.snapshot(server.container, PASSWORD)) == []

    dbguard("restore", server.target, "--latest", "--yes", "--replace").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


@ONE_SERVER
def test_other_databases_are_left_alone(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP + OTHER)
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    server.sql("DROP DATABASE shop; UPDATE other.t SET a = 2;")
    dbguard("restore", server.target, "--latest", "--database", "shop", "--yes").succeeded()
    after = compare.snapshot(server.container, PASSWORD)
    assert [line.partition(": ")[0] for line in compare.differences(before, after)] == ["rows of `other`.`t`"]


@ONE_SERVER
def test_dry_run_prints_the_plan_and_changes_nothing(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    done = dbguard("restore", server.target, "--latest", "--dry-run").succeeded()
    assert "shop" in done.err
    assert server.databases() == []
    plan = dbguard("restore", server.target, "--latest", "--dry-run", "--json").succeeded().json
    assert plan["schema_version"]
    assert server.databases() == []


@ONE_SERVER
def test_asks_before_it_loads(server: Server, dbguard: Dbguard) -> None:
    """Without a terminal there is nobody to ask, and without --yes nothing happens."""
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    assert dbguard("restore", server.target, "--latest").code != 0
    assert server.databases() == []


@ONE_SERVER
def test_what_does_not_exist_is_named(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    for words, name in (
        (("--latest", "--database", "shopp"), "shopp"),
        (("--id", "20001231T000000Z-000000"), "20001231T000000Z-000000"),
        (("--latest", "--into", "nobody/db"), "nobody/db"),
    ):
        done = dbguard("restore", server.target, *words, "--yes")
        assert (done.code, name in done.err) == (1, True), done.err
    assert dbguard("restore", server.target, "--yes").code == 2


@ONE_SERVER
def test_id_of_an_older_archive(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    server.sql("DELETE FROM shop.item")
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    oldest, _ = dbguard.archives()
    dbguard("restore", server.target, "--id", oldest.name, "--yes").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


@pytest.mark.fault(50, 52)
@pytest.mark.parametrize("server", ["mysql97", "mariadb118"], indirect=True)
def test_failing_statement_is_named_with_its_place_but_not_its_values(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP + "INSERT INTO shop.item VALUES (3, 'a secret value');")
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    server.sql("CREATE USER no_rows@localhost IDENTIFIED BY 'x'; GRANT ALL ON *.* TO no_rows@localhost")
    server.sql("REVOKE INSERT ON *.* FROM no_rows@localhost")
    account = {"DBGUARD_USER": "no_rows", "DBGUARD_PASSWORD": "x"}
    done = dbguard("restore", server.target, "--latest", "--yes", environment=account)
    assert done.code == 1
    assert re.search(r"INSERT command denied .*\bline \d+|\bline \d+.*INSERT command denied", done.err), done.err
    assert "shop.item" in done.err
    assert "a secret value" not in done.err + done.out


@pytest.mark.fault(33, 34)
@ONE_SERVER
def test_damaged_archive_does_not_reach_the_server(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    [archive] = dbguard.archives()
    data = archive / "data.sql.zst"
    whole = data.read_bytes()
    data.chmod(0o600)
    for broken in (whole[:-1], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b""):
        data.write_bytes(broken)
        done = dbguard("restore", server.target, "--id", archive.name, "--yes")
        assert (done.code, archive.name in done.err) == (4, True), done.err
        done = dbguard("restore", server.target, "--latest", "--yes")
        assert (done.code != 0, archive.name in done.err) == (True, True), done.err
        assert server.databases() == []
