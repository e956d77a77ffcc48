"""The judge itself: two snapshots of one state are equal, and each small harm is named, and nothing else with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import compare
from tests.servers import PASSWORD, Server

pytestmark = pytest.mark.docker
ONE_SERVER = pytest.mark.parametrize("server", ["mariadb1011"], indirect=True)

BEFORE = r"""
CREATE DATABASE `a``b` DEFAULT CHARACTER SET latin1;
USE `a``b`;
CREATE TABLE bytes (b BLOB);            INSERT INTO bytes VALUES (x'0001FF');
CREATE TABLE hidden (a INT, b INT INVISIBLE); INSERT INTO hidden (a, b) VALUES (1, 1);
CREATE TABLE empties (v VARCHAR(9));    INSERT INTO empties VALUES (NULL);
CREATE TABLE choice (e ENUM('', 'x'));  INSERT INTO choice VALUES ('');
CREATE TABLE rows_lost (a INT);         INSERT INTO rows_lost VALUES (1), (2);
CREATE TABLE pair_lost (a INT);         INSERT INTO pair_lost VALUES (1), (1);
CREATE TABLE pair_new (a INT);          INSERT INTO pair_new VALUES (1);
CREATE TABLE swapped (a INT, b INT);    INSERT INTO swapped VALUES (1, 2);
CREATE TABLE T (a INT);
CREATE TABLE t (a INT);
CREATE TABLE commented (a INT);
CREATE VIEW defined AS SELECT 1 AS x;
CREATE PROCEDURE p() SELECT 1;
CREATE PROCEDURE moded() SELECT 1;
CREATE TRIGGER gone BEFORE INSERT ON t FOR EACH ROW SET @a = 1;
CREATE TRIGGER first_ BEFORE INSERT ON hidden FOR EACH ROW SET @a = 1;
CREATE TRIGGER second_ BEFORE INSERT ON hidden FOR EACH ROW SET @a = 2;
CREATE EVENT changed ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1;
CREATE DATABASE converted DEFAULT CHARACTER SET latin1;
"""
HARM = r"""
USE `a``b`;
SET @mode = @@SESSION.sql_mode, SESSION sql_mode = '';
UPDATE bytes SET b = x'0001FE';
UPDATE hidden SET b = 2;
UPDATE empties SET v = '';
UPDATE choice SET e = 'not in the list';
DELETE FROM rows_lost WHERE a = 1;
DELETE FROM pair_lost;
INSERT INTO pair_new VALUES (3), (3);
UPDATE swapped SET a = 2, b = 1;
DROP TABLE T;
ALTER TABLE commented COMMENT = 'new';
ALTER DEFINER = somebody@elsewhere VIEW defined AS SELECT 1 AS x;
DROP PROCEDURE p;
DROP PROCEDURE moded;
CREATE PROCEDURE moded() SELECT 1;
SET SESSION sql_mode = @mode;
DROP TRIGGER gone;
DROP TRIGGER first_;
CREATE TRIGGER first_ BEFORE INSERT ON hidden FOR EACH ROW SET @a = 1;
ALTER EVENT changed DISABLE;
CREATE VIEW added AS SELECT 1;
ALTER DATABASE converted DEFAULT CHARACTER SET utf8mb4;
"""
NAMED = """
database `converted`
event `a``b`.`changed`
procedure `a``b`.`moded`
procedure `a``b`.`p`
rows of `a``b`.`T`
rows of `a``b`.`bytes`
rows of `a``b`.`choice`
rows of `a``b`.`empties`
rows of `a``b`.`hidden`
rows of `a``b`.`pair_lost`
rows of `a``b`.`pair_new`
rows of `a``b`.`rows_lost`
rows of `a``b`.`swapped`
table `a``b`.`T`
table `a``b`.`commented`
trigger `a``b`.`first_`
trigger `a``b`.`gone`
trigger `a``b`.`second_`
view `a``b`.`added`
view `a``b`.`defined`
"""
MARIADB_BEFORE = r"""
CREATE SEQUENCE `a``b`.s NOCACHE;
CREATE TABLE `a``b`.past (a INT) WITH SYSTEM VERSIONING;
INSERT INTO `a``b`.past VALUES (1), (2);
DELETE FROM `a``b`.past WHERE a = 1;
"""
MARIADB_HARM = r"""
DO NEXTVAL(`a``b`.s);
DELETE HISTORY FROM `a``b`.past;
"""
MARIADB_NAMED = """
rows of `a``b`.`past`
state of sequence `a``b`.`s`
"""


def named(before: compare.Snapshot, after: compare.Snapshot) -> list[str]:
    return [line.partition(": ")[0] for line in compare.differences(before, after)]


def test_every_harm_is_named_and_nothing_else(server: Server) -> None:
    mariadb = server.family == "mariadb"
    server.sql(BEFORE + MARIADB_BEFORE * mariadb)
    before = compare.snapshot(server.container, PASSWORD)
    assert not compare.differences(before, compare.snapshot(server.container, PASSWORD))
    server.sql(HARM + MARIADB_HARM * mariadb)
    after = compare.snapshot(server.container, PASSWORD)
    assert named(before, after) == sorted(filter(None, (NAMED + MARIADB_NAMED * mariadb).split("\n")))
    assert not compare.losses(before, after)


def test_rounded_float_is_a_known_loss(server: Server) -> None:
    server.sql("CREATE DATABASE a; CREATE TABLE a.t (f FLOAT); INSERT INTO a.t VALUES (1.2345678), (NULL)")
    before = compare.snapshot(server.container, PASSWORD)
    server.sql("UPDATE a.t SET f = 1.23457 WHERE f > 1")
    rounded = compare.snapshot(server.container, PASSWORD)
    assert not compare.differences(before, rounded)
    assert compare.losses(before, rounded) == ["FLOAT column `a`.`t`.`f`: rounded"]
    server.sql("UPDATE a.t SET f = 1.23458 WHERE f > 1")
    assert named(before, compare.snapshot(server.container, PASSWORD)) == ["rows of `a`.`t`"]


@ONE_SERVER
def test_server_that_refuses_is_an_error(server: Server) -> None:
    with pytest.raises(RuntimeError, match="failed"):
        compare.snapshot(server.container, "not the password")


@ONE_SERVER
def test_command_line(server: Server, tmp_path: Path) -> None:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, compare.__file__, *words]
        return subprocess.run(argv, env=os.environ | {"MYSQL_PWD": PASSWORD}, capture_output=True, text=True)

    before, after = tmp_path / "before", tmp_path / "after"
    server.sql("CREATE DATABASE a; CREATE TABLE a.t (a INT)")
    assert run("save", server.container, before).returncode == 0
    assert run("diff", before, before).returncode == 0
    server.sql("INSERT INTO a.t VALUES (1)")
    assert run("save", server.container, after).returncode == 0
    assert json.loads(after.read_text())["things"]
    done = run("diff", before, after)
    assert (done.returncode, done.stdout.partition(":")[0]) == (1, "rows of `a`.`t`")
    assert run().returncode == 2


def test_knows_nothing_of_dbguard() -> None:
    assert not re.search(r"^\s*(import|from) +dbguard", Path(compare.__file__).read_text(), re.MULTILINE)
