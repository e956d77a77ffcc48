"""The fingerprint of all that is defined: the same where the same was restored, another where anything was changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from dbguard import discover, sql
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.definitions import definitions
from dbguard.model import Target
from tests import hostile
from tests.conftest import Dbguard, Fresh
from tests.servers import Server

pytestmark = pytest.mark.docker
Found = Mapping[str, Mapping[str, str]]


@cache
def _containers() -> Containers:
    return Containers.connect()


@cache
def _target(container: str) -> Target:
    return discover.reachable(discover.sighting(_containers(), Settings(), _containers().inspect(container)))


def defined(server: Server) -> Found:
    """Of all databases."""
    target = _target(server.container)
    return definitions(sql.session(_containers(), target), target.server, server.databases())


def changed(before: Found, after: Found) -> dict[str, list[str]]:
    """The keys by database that differ."""
    return {
        name: keys
        for name in before.keys() | after.keys()
        if (keys := sorted(key for key, _ in set(before.get(name, {}).items()) ^ set(after.get(name, {}).items())))
    }


def test_hostile_schema_comes_back_with_the_same(server: Server, dbguard: Dbguard, fresh: Fresh) -> None:
    hostile.load(server)
    before = defined(server)
    assert changed(before, defined(server)) == {}
    dbguard("backup", "now", server.target).succeeded()
    manifest = {one["name"]: one["definitions"] for one in dbguard.manifest()["databases"]}
    assert manifest.keys() == set(server.databases())
    assert changed({name: keys for name, keys in manifest.items() if keys}, before) == {}
    other = fresh(server.kind)
    dbguard("restore", server.target, "--latest", "--into", other.target, "--yes").succeeded()
    assert changed(before, defined(other)) == {}


SHOP = """
CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4; USE shop;
CREATE TABLE parent (id INT PRIMARY KEY, other INT UNIQUE) ENGINE=InnoDB;
CREATE TABLE t (
  id INT PRIMARY KEY AUTO_INCREMENT, a INT NOT NULL DEFAULT 1, b VARCHAR(20) COMMENT 'before', c VARCHAR(20),
  d INT, e INT AS (a + 1) VIRTUAL, g TIMESTAMP NULL,
  KEY by_a (a), KEY by_b (b, c),
  CONSTRAINT to_parent FOREIGN KEY (d) REFERENCES parent (id) ON DELETE CASCADE,
  CONSTRAINT positive CHECK (a > 0)
) ENGINE=InnoDB COMMENT 'before';
CREATE TABLE p (id INT) ENGINE=InnoDB PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10),
  PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE VIEW v AS SELECT a FROM t;
DELIMITER $$
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1$$
CREATE EVENT ev ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO SET @a = 1$$
CREATE PROCEDURE pr(x INT) SET @a = 1$$
CREATE FUNCTION fn(x INT) RETURNS INT DETERMINISTIC RETURN 1$$
DELIMITER ;
"""
TABLE, PARENT = "table t", "table parent"
EDITS: dict[str, tuple[str, str]] = {
    "column": ("ALTER TABLE t ADD COLUMN f INT", TABLE),
    "column's type": ("ALTER TABLE t MODIFY c VARCHAR(21)", TABLE),
    "column's name": ("ALTER TABLE t CHANGE g h TIMESTAMP NULL", TABLE),
    "column's place": ("ALTER TABLE t MODIFY g TIMESTAMP NULL AFTER id", TABLE),
    "default": ("ALTER TABLE t ALTER a SET DEFAULT 2", TABLE),
    "default '' instead of NULL": ("ALTER TABLE t ALTER c SET DEFAULT ''", TABLE),
    "null allowed": ("ALTER TABLE t MODIFY a INT NULL DEFAULT 1", TABLE),
    "comment of a column": ("ALTER TABLE t MODIFY b VARCHAR(20) COMMENT 'after'", TABLE),
    "comment of a table": ("ALTER TABLE t COMMENT 'after'", TABLE),
    "generated": ("ALTER TABLE t MODIFY e INT AS (a + 2) VIRTUAL", TABLE),
    "stored": ("ALTER TABLE t DROP e, ADD e INT AS (a + 1) STORED AFTER d", TABLE),
    "on update": ("ALTER TABLE t MODIFY g TIMESTAMP NULL ON UPDATE CURRENT_TIMESTAMP", TABLE),
    "index": ("CREATE INDEX by_c ON t (c)", TABLE),
    "index gone": ("DROP INDEX by_a ON t", TABLE),
    "index longer": ("ALTER TABLE t DROP INDEX by_b, ADD INDEX by_b (b, c, a)", TABLE),
    "index turned round": ("ALTER TABLE t DROP INDEX by_b, ADD INDEX by_b (c, b)", TABLE),
    "index of a prefix": ("ALTER TABLE t DROP INDEX by_b, ADD INDEX by_b (b(5), c)", TABLE),
    "index unique": ("ALTER TABLE t DROP INDEX by_a, ADD UNIQUE by_a (a)", TABLE),
    "index descending": ("ALTER TABLE t DROP INDEX by_a, ADD INDEX by_a (a DESC)", TABLE),
    "index's comment": ("ALTER TABLE t DROP INDEX by_a, ADD INDEX by_a (a) COMMENT 'after'", TABLE),
    "foreign key gone": ("ALTER TABLE t DROP FOREIGN KEY to_parent", TABLE),
    "foreign key to another": (
        "ALTER TABLE t DROP FOREIGN KEY to_parent; ALTER TABLE t ADD CONSTRAINT to_parent FOREIGN KEY (d) "
        "REFERENCES parent (other) ON DELETE CASCADE",
        TABLE,
    ),
    "foreign key's rule": (
        "ALTER TABLE t DROP FOREIGN KEY to_parent; ALTER TABLE t ADD CONSTRAINT to_parent FOREIGN KEY (d) "
        "REFERENCES parent (id) ON DELETE SET NULL",
        TABLE,
    ),
    "check": ("ALTER TABLE t DROP CONSTRAINT positive; ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 1)", TABLE),
    "check gone": ("ALTER TABLE t DROP CONSTRAINT positive", TABLE),
    "collation of a column": ("ALTER TABLE t MODIFY c VARCHAR(20) COLLATE utf8mb4_bin", TABLE),
    "collation of a table": ("ALTER TABLE t COLLATE utf8mb4_bin", TABLE),
    "row format": ("ALTER TABLE t ROW_FORMAT=COMPACT", TABLE),
    "engine": ("ALTER TABLE parent DROP INDEX other; ALTER TABLE t DROP FOREIGN KEY to_parent; "
               "ALTER TABLE parent ENGINE=MyISAM", PARENT),
    "table": ("CREATE TABLE more (a INT)", "table more"),
    "table gone": ("DROP TABLE p", "table p"),
    "partition": ("ALTER TABLE p REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (20), "
                  "PARTITION p2 VALUES LESS THAN MAXVALUE)", "table p"),
    "partition's bound": ("ALTER TABLE p REORGANIZE PARTITION p0, p1 INTO (PARTITION p0 VALUES LESS THAN (5), "
                          "PARTITION p1 VALUES LESS THAN MAXVALUE)", "table p"),
    "partitions gone": ("ALTER TABLE p REMOVE PARTITIONING", "table p"),
    "view": ("CREATE OR REPLACE VIEW v AS SELECT b FROM t", "view v"),
    "view's definer": ("CREATE OR REPLACE DEFINER=someone@localhost VIEW v AS SELECT a FROM t", "view v"),
    "view's security": ("CREATE OR REPLACE SQL SECURITY INVOKER VIEW v AS SELECT a FROM t", "view v"),
    "view's algorithm": ("CREATE OR REPLACE ALGORITHM=TEMPTABLE VIEW v AS SELECT a FROM t", "view v"),
    "view's check": ("CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE a > 1 WITH CHECK OPTION", "view v"),
    "trigger": ("DROP TRIGGER tr; CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 2", "trigger tr"),
    "trigger's time": ("DROP TRIGGER tr; CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW SET @a = 1", "trigger tr"),
    "trigger's event": ("DROP TRIGGER tr; CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW SET @a = 1", "trigger tr"),
    "trigger's table": ("DROP TRIGGER tr; CREATE TRIGGER tr BEFORE INSERT ON p FOR EACH ROW SET @a = 1", "trigger tr"),
    "trigger's definer": ("DROP TRIGGER tr; CREATE DEFINER=someone@localhost TRIGGER tr BEFORE INSERT ON t "
                          "FOR EACH ROW SET @a = 1", "trigger tr"),
    "trigger's mode": ("DROP TRIGGER tr; SET sql_mode='ANSI'; CREATE TRIGGER tr BEFORE INSERT ON t "
                       "FOR EACH ROW SET @a = 1", "trigger tr"),
    "trigger gone": ("DROP TRIGGER tr", "trigger tr"),
    "event": ("ALTER EVENT ev DO SET @a = 2", "event ev"),
    "event's time": ("ALTER EVENT ev ON SCHEDULE EVERY 2 YEAR STARTS '2037-01-01'", "event ev"),
    "event's state": ("ALTER EVENT ev DISABLE", "event ev"),
    "event's end": ("ALTER EVENT ev ON COMPLETION PRESERVE", "event ev"),
    "event's comment": ("ALTER EVENT ev COMMENT 'after'", "event ev"),
    "event's definer": ("ALTER DEFINER=someone@localhost EVENT ev ENABLE", "event ev"),
    "event's zone": ("SET time_zone='+03:00'; ALTER EVENT ev ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01 03:00:00'",
                     "event ev"),
    "routine": ("DROP PROCEDURE pr; CREATE PROCEDURE pr(x INT) SET @a = 2", "routine pr"),
    "routine's parameter": ("DROP PROCEDURE pr; CREATE PROCEDURE pr(x BIGINT) SET @a = 1", "routine pr"),
    "routine's parameter's name": ("DROP PROCEDURE pr; CREATE PROCEDURE pr(y INT) SET @a = 1", "routine pr"),
    "routine's parameter's way": ("DROP PROCEDURE pr; CREATE PROCEDURE pr(OUT x INT) SET @a = 1", "routine pr"),
    "routine's result": ("DROP FUNCTION fn; CREATE FUNCTION fn(x INT) RETURNS BIGINT DETERMINISTIC RETURN 1",
                         "routine fn"),
    "routine's comment": ("ALTER PROCEDURE pr COMMENT 'after'", "routine pr"),
    "routine's security": ("ALTER PROCEDURE pr SQL SECURITY INVOKER", "routine pr"),
    "routine's access": ("ALTER PROCEDURE pr NO SQL", "routine pr"),
    "routine's definer": ("DROP PROCEDURE pr; CREATE DEFINER=someone@localhost PROCEDURE pr(x INT) SET @a = 1",
                          "routine pr"),
    "routine's mode": ("DROP PROCEDURE pr; SET sql_mode='ANSI'; CREATE PROCEDURE pr(x INT) SET @a = 1", "routine pr"),
    "routine of the other kind": ("DROP FUNCTION fn; CREATE PROCEDURE fn(x INT) SET @a = 1", "routine fn"),
}  # fmt: skip
MYSQL_EDITS: dict[str, tuple[str, str]] = {
    "invisible column": ("ALTER TABLE t ALTER COLUMN c SET INVISIBLE", TABLE),
    "invisible index": ("ALTER TABLE t ALTER INDEX by_a INVISIBLE", TABLE),
    "index of an expression": ("ALTER TABLE t DROP INDEX by_a, ADD INDEX by_a ((a + 1))", TABLE),
    "check not enforced": ("ALTER TABLE t ALTER CHECK positive NOT ENFORCED", TABLE),
    "reference system": ("ALTER TABLE t ADD COLUMN x GEOMETRY SRID 4326", TABLE),
}
MARIADB_EDITS: dict[str, tuple[str, str]] = {
    "invisible column": ("ALTER TABLE t MODIFY c VARCHAR(20) INVISIBLE", TABLE),
    "ignored index": ("ALTER TABLE t ALTER INDEX by_a IGNORED", TABLE),
    "versions": ("ALTER TABLE p REMOVE PARTITIONING; ALTER TABLE p ADD SYSTEM VERSIONING", "table p"),
    "sequence": ("CREATE SEQUENCE s", "table s"),
}
DIRTY = """
USE shop; INSERT INTO parent VALUES (1, 1); INSERT INTO t (a, b, d) VALUES (5, 'x', 1), (6, 'y', 1);
INSERT INTO p SELECT id FROM t; DELETE FROM t WHERE a = 5; ANALYZE TABLE parent, t, p; CALL pr(1); SELECT fn(1);
"""


def edits(server: Server) -> dict[str, tuple[str, str]]:
    return EDITS | (MYSQL_EDITS if server.family == "mysql" else MARIADB_EDITS)


def test_rows_are_no_part_of_it(server: Server) -> None:
    server.sql(SHOP)
    before = defined(server)
    server.sql(DIRTY)
    assert changed(before, defined(server)) == {}


def test_every_change_is_seen(server: Server) -> None:
    """In the object that was changed; each in a database of its own."""
    todo = {f"shop{number}": (name, *edit) for number, (name, edit) in enumerate(edits(server).items())}
    account = "CREATE USER someone@localhost;"
    server.sql(account + "".join(SHOP.replace("shop", database) for database in todo))
    before = defined(server)
    assert changed(before, defined(server)) == {}
    fresh = "SET sql_mode = DEFAULT, time_zone = DEFAULT;"
    server.sql("".join(f"{fresh} USE {database}; {edit};\n" for database, (_, edit, _) in todo.items()))
    seen = changed(before, defined(server))
    unseen = {name for database, (name, _, key) in todo.items() if key not in seen.get(database, [])}
    print(server.kind, sorted(unseen))
    assert unseen == UNSEEN


UNSEEN: set[str] = set()


OLD_CLIENT = """
SET NAMES {charset};
CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4; USE shop;
CREATE TABLE t (
  id INT PRIMARY KEY, a VARCHAR(40) NOT NULL DEFAULT (CONCAT('x', 'y')), b VARCHAR(40) AS (CONCAT(a, '@x')) STORED,
  c VARCHAR(40) DEFAULT 'z', CONSTRAINT named CHECK (a <> 'never'){index}
) COMMENT 'mine';
CREATE TABLE p (a VARCHAR(10)) PARTITION BY LIST COLUMNS (a) (PARTITION p0 VALUES IN ('x', 'y'));
CREATE VIEW v AS SELECT CONCAT(a, 'v') AS av FROM t WHERE a <> 'w';
"""


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "utf8mb4", "ascii", "cp1251"])
def test_the_character_set_of_the_client_that_made_it_is_no_part_of_it(
    server: Server, dbguard: Dbguard, charset: str
) -> None:
    """SHOW CREATE TABLE gives the strings in an expression that of whoever asks."""
    index = ", KEY by_expression ((CONCAT(a, 'i')))" if server.family == "mysql" else ""
    server.sql(OLD_CLIENT.format(charset=charset, index=index))
    before = defined(server)
    dbguard("backup", "now", server.target).succeeded()
    dbguard("restore", server.target, "--latest", "--in-place", "--yes", "--no-safety-backup").succeeded()
    assert changed(before, defined(server)) == {}
