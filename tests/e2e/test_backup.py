"""Which backups are refused, and which are taken but said to be partial."""

from __future__ import annotations

import json
import re

import pytest

from tests import compare
from tests.conftest import Dbguard, Fresh
from tests.servers import PASSWORD, Server

pytestmark = pytest.mark.docker
ONE_SERVER = pytest.mark.parametrize("server", ["mysql97"], indirect=True)

VIEWS = """
CREATE DATABASE shop; USE shop;
CREATE TABLE item (id INT PRIMARY KEY, price INT);
CREATE TABLE gone (a INT);
CREATE FUNCTION gone() RETURNS INT DETERMINISTIC RETURN 1;
INSERT INTO item VALUES (1, 2);
CREATE VIEW good AS SELECT id FROM item;
CREATE USER lost@localhost; GRANT ALL ON *.* TO lost@localhost;
CREATE DEFINER = lost@localhost VIEW definer_lost AS SELECT id FROM item;
CREATE DEFINER = lost@localhost FUNCTION definer_lost() RETURNS INT DETERMINISTIC RETURN 1;
"""
BROKEN = {
    "on_a_table": "CREATE VIEW on_a_table AS SELECT a FROM gone;",
    "on_a_view": "CREATE VIEW on_a_view AS SELECT a FROM on_a_table;",
    "on_a_column": "CREATE VIEW on_a_column AS SELECT price FROM item;",
    "on_a_function": "CREATE VIEW on_a_function AS SELECT gone() AS x;",
    "on_a_lost_view": "CREATE VIEW on_a_lost_view AS SELECT id FROM definer_lost;",
    "on_a_lost_function": "CREATE VIEW on_a_lost_function AS SELECT definer_lost() AS x;",
}
"""The last two open no more than the others, yet the dump programs write one and no server loads it."""

BREAK = "DROP TABLE gone; DROP FUNCTION gone; ALTER TABLE item DROP COLUMN price; DROP USER lost@localhost;"


@pytest.mark.fault(47)
def test_invalid_view_fails_loudly_or_is_left_out_on_request(server: Server, dbguard: Dbguard) -> None:
    server.sql(VIEWS + "".join(BROKEN.values()) + BREAK)
    done = dbguard("backup", "now", server.target)
    assert done.code == 1
    assert [name for name in BROKEN if f"shop.{name} " not in done.err] == [], done.err
    assert not re.search("shop.(good|definer_lost)", done.err), done.err
    assert dbguard.archives() == []

    dbguard("backup", "now", server.target, "--skip-invalid-views").succeeded()
    manifest = dbguard.manifest()
    assert manifest["complete"] is False
    assert all(any(f"shop.{name}" in line for line in manifest["warnings"]) for name in BROKEN), manifest["warnings"]
    assert sorted(manifest["databases"][0]["objects"]["view"]) == ["definer_lost", "good"]

    server.sql(f"USE shop; DROP VIEW {', '.join(BROKEN)}")
    before = compare.snapshot(server.container, PASSWORD)
    server.empty()
    dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


@pytest.mark.fault(47)
@ONE_SERVER
def test_view_that_lost_its_definer_and_then_its_table_changed(server: Server, dbguard: Dbguard) -> None:
    """MySQL can dump a view without a definer until it looks at the view anew; MariaDB always can."""
    server.sql(VIEWS + "DROP USER lost@localhost; ALTER TABLE item DROP COLUMN price")
    done = dbguard("backup", "now", server.target)
    assert (done.code, "shop.definer_lost" in done.err, "--skip-invalid-views" in done.err) == (1, True, True), done.err
    dbguard("backup", "now", server.target, "--skip-invalid-views").succeeded()
    assert dbguard.manifest()["databases"][0]["objects"]["view"] == ["good"]


TWO_DATABASES = r"""
CREATE DATABASE shop; CREATE TABLE shop.item (id INT PRIMARY KEY); INSERT INTO shop.item VALUES (1);
CREATE TRIGGER shop.count_it BEFORE INSERT ON shop.item FOR EACH ROW SET @n = 1;
CREATE VIEW shop.v AS SELECT 1 AS one;
CREATE DATABASE hidden; CREATE TABLE hidden.t (a INT);
CREATE USER limited@localhost IDENTIFIED BY 'lim';
"""
LOGIN = {"DBGUARD_USER": "limited", "DBGUARD_PASSWORD": "lim"}
LIMITS = [
    "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON shop.*",
    "ALL ON shop.*",
    "SELECT, SHOW VIEW, EVENT, LOCK TABLES ON *.*",
]


@pytest.mark.fault(47)
def test_account_that_does_not_see_everything_makes_a_partial_archive(server: Server, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    for limit in LIMITS:
        server.sql(f"REVOKE ALL, GRANT OPTION FROM limited@localhost; GRANT {limit} TO limited@localhost")
        done = dbguard("backup", "now", server.target, environment=LOGIN).succeeded()
        assert "partial" in done.err, limit
        manifest = dbguard.manifest()
        assert (manifest["complete"], bool(manifest["partial_reasons"])) == (False, True), limit
        assert '"lim"' not in json.dumps(manifest)
    assert len(dbguard.archives()) == len(LIMITS)


@pytest.mark.fault(47)
def test_missing_privilege_is_named(server: Server, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    server.sql("GRANT SELECT, SHOW VIEW, TRIGGER, LOCK TABLES ON *.* TO limited@localhost")
    done = dbguard("backup", "now", server.target, environment=LOGIN)
    assert (done.code, "GRANT EVENT" in done.err) == (1, True), done.err
    assert dbguard.archives() == []


@ONE_SERVER
def test_account_that_sees_nothing_fails(server: Server, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    assert dbguard("backup", "now", server.target, environment=LOGIN).code == 1
    done = dbguard("backup", "now", server.target, environment=LOGIN | {"DBGUARD_PASSWORD": "wrong pass"})
    assert (done.code, "limited" in done.err, "wrong pass" in done.err) == (1, True, False), done.err
    assert dbguard.archives() == []


@ONE_SERVER
def test_some_of_the_databases(server: Server, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    dbguard("backup", "now", server.target, "--database", "shop").succeeded()
    assert dbguard.manifest()["complete"] is False
    assert [one["name"] for one in dbguard.manifest()["databases"]] == ["shop"]
    done = dbguard("backup", "now", server.target, "--database", "shopp")
    assert (done.code, "shopp" in done.err) == (1, True)


@ONE_SERVER
def test_nothing_to_back_up_is_a_failure(server: Server, dbguard: Dbguard) -> None:
    assert dbguard("backup", "now", server.target).code == 1
    assert dbguard("backup", "now", "nobody/db").code == 1
    assert dbguard.archives() == []


@ONE_SERVER
def test_one_failing_target_does_not_hide_the_others(server: Server, fresh: Fresh, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    other = fresh("mariadb1011")
    other.sql("CREATE DATABASE shop; ALTER USER root@localhost IDENTIFIED BY 'x', root@'%' IDENTIFIED BY 'x'")
    done = dbguard("backup", "now", other.target, server.target)
    assert (done.code, len(dbguard.archives()), other.target in done.err) == (3, 1, True), done.err
    assert dbguard.manifest()["target"] == server.target


@ONE_SERVER
def test_json_says_what_was_made(server: Server, dbguard: Dbguard) -> None:
    server.sql(TWO_DATABASES)
    made = dbguard("backup", "now", server.target, "--json").succeeded().json
    assert made["schema_version"]
    listed = dbguard("list", "--json").succeeded().json
    assert [one["id"] for one in listed["archives"]] == [dbguard.archives()[-1].name]
