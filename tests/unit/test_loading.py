"""How a dump is shared out to several sessions: whatever their pace, the outcome is that of one session."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.loading.indexes import referenced, without_indexes
from dbguard.loading.sharing import Sharing
from dbguard.loading.steps import step_of
from dbguard.loading.table import Fence
from dbguard.sqldump import Piece, Scanner, words
from tests.unit.stored import DUMPS

real = pytest.mark.parametrize("name", ["mysql97", "mariadb118", "mariadb1011"])


def scanned(sql: bytes) -> list[Piece]:
    scanner = Scanner()
    return [*scanner.feed(sql), *scanner.close()]


# --- a server of our own, and sessions that go at their own pace ---


@dataclass
class World:
    """What a server would hold, and what no server would allow."""

    databases: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)
    indexes: dict[str, list[bytes]] = field(default_factory=dict)
    seen: dict[str, list[list[bytes]]] = field(default_factory=dict)  # indexes of a foreign key's other end
    settled: set[str] = field(default_factory=set)  # tables that must not get rows any more
    objects: list[bytes] = field(default_factory=list)

    def run(self, session: One, statement: bytes) -> None:
        said = [word.upper() for word in words(statement)]
        named = re.search(rb"`([^`]*)`", statement)
        name = named[1].decode() if named else ""
        match said[:2]:
            case [b"CREATE", kind]:
                self.create(kind, name, f"{session.database}.{name}", statement)
            case [b"USE", _]:
                session.database = name
                assert session.database in self.databases
            case [b"SET", _]:
                session.state.append(statement)
            case [b"ALTER", b"TABLE"]:
                self.settled.add(f"{session.database}.{name}")
                self.indexes[f"{session.database}.{name}"] += re.findall(rb"ADD (KEY `.*?` \(.*?\))", statement)
            case [b"INSERT", _]:
                assert f"{session.database}.{name}" not in self.settled
                self.rows[f"{session.database}.{name}"] += statement.count(b"(")
            case _:
                assert said[0] == b"DROP", statement

    def create(self, kind: bytes, name: str, full: str, statement: bytes) -> None:
        match kind:
            case b"DATABASE":
                self.databases.add(name)
            case b"TABLE":
                assert full not in self.rows
                parents = [full.replace(name, one.decode()[1:-1]) for one in referenced(statement)]
                self.seen[full] = [sorted(self.indexes[parent]) for parent in parents]
                self.rows[full] = 0
                self.indexes[full] = re.findall(rb"^ *(KEY .*?),?$", statement, re.MULTILINE)
            case b"TRIGGER":
                self.settled.add(full)
                self.objects.append(statement)
            case _:
                self.settled |= self.rows.keys()
                self.objects.append(statement + str(sorted(self.rows.items())).encode())


@dataclass
class Stop:
    session: One
    number: int

    @property
    def passed(self) -> bool:
        return self.session.answered >= self.number


class One:
    def __init__(self, world: World) -> None:
        self.world = world
        self.database = ""
        self.state: list[bytes] = []
        self.waiting: list[bytes | Stop] = []
        self.answered = self.fences = 0
        self.text = b""

    def put(self, sql: bytes, what: str = "") -> None:
        del what
        self.text += sql
        while (end := self.text.find(b";\n")) >= 0:
            self.waiting.append(self.text[: end + 2])
            self.text = self.text[end + 2 :]

    def fence(self, delimiter: bytes) -> Stop:
        assert (self.text, delimiter) == (b"", b";")
        self.fences += 1
        self.waiting.append(Stop(self, self.fences))
        return Stop(self, self.fences)

    @property
    def backlog(self) -> tuple[bool, int]:
        return self.answered < self.fences, sum(len(one) for one in self.waiting if isinstance(one, bytes))

    def step(self) -> None:
        match self.waiting.pop(0):
            case bytes() as statement:
                self.world.run(self, statement)
            case Stop():
                self.answered += 1


class Paced:
    """Between any two pieces some session does something, as `pace` has it."""

    def __init__(self, count: int, pace: Sequence[int]) -> None:
        self.world = World()
        self.sessions = [One(self.world) for _ in range(count)]
        self.pace = list(pace)

    def tick(self) -> None:
        if self.pace:
            session = self.sessions[self.pace.pop() % len(self.sessions)]
            if session.waiting:
                session.step()

    def wait(self, fence: Fence) -> None:
        while not fence.passed:
            self.tick()
            if not self.pace:
                self.advance()

    def advance(self) -> None:
        for session in self.sessions:
            if session.waiting:
                session.step()

    def load(self, sql: bytes) -> World:
        sharing = Sharing(self)
        for piece in scanned(sql):
            sharing.take(piece, piece.data, "")
            self.tick()
        sharing.close()
        while any(session.waiting for session in self.sessions):
            self.advance()
        return self.world


@st.composite
def dumps(draw: st.DrawFn) -> bytes:
    sql = [b"SET NAMES utf8mb4;\n"]
    for database in range(draw(st.integers(1, 2))):
        sql.append(b"CREATE DATABASE `d%d`;\nUSE `d%d`;\n" % (database, database))
        for table in range(draw(st.integers(0, 4))):
            parent = draw(st.sampled_from([None, *range(table)]))
            keys = [b"KEY `k%d` (`a`)" % key for key in range(draw(st.integers(0, 2)))]
            keys += [b"CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `t%d` (`a`)" % parent] if parent is not None else []
            body = b",\n  ".join([b"`a` int", *keys])
            engine = draw(st.sampled_from([b"InnoDB", b"MyISAM"]))
            sql.append(b"DROP TABLE IF EXISTS `t%d`;\nSET @s = 1;\n" % table)
            sql.append(b"CREATE TABLE `t%d` (\n  %s\n) ENGINE=%s;\nSET @s = 2;\n" % (table, body, engine))
            sql += [b"INSERT INTO `t%d` VALUES %s;\n" % (table, b"(1)" * draw(st.integers(1, 9)))] * draw(
                st.integers(0, 9)
            )
            if draw(st.booleans()):
                sql.append(b"CREATE TRIGGER `t%d` BEFORE INSERT ON `t%d` FOR EACH ROW SET @x = 1;\n" % (table, table))
            if draw(st.integers(0, 4)) == 0:
                sql.append(b"CREATE VIEW `v` AS SELECT 1;\n")
        sql.append(b"CREATE ALGORITHM=UNDEFINED VIEW `v` AS SELECT 1;\n")
    return b"".join(sql)


@given(dumps(), st.integers(2, 4), st.lists(st.integers(0, 99), max_size=200))
def test_the_outcome_is_that_of_one_session(sql: bytes, count: int, pace: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dbguard.loading.table._LARGE", 60)
        shared = Paced(count, pace)
        several = shared.load(sql)
    one = Paced(1, []).load(sql)
    assert (several.rows, several.seen) == (one.rows, one.seen)
    assert sorted(several.objects) == sorted(one.objects)
    assert {name: sorted(keys) for name, keys in several.indexes.items()} == one.indexes
    assert all(session.state == shared.sessions[0].state for session in shared.sessions)


@real
def test_every_statement_of_a_real_dump_is_known(name: str) -> None:
    steps = {step_of(piece): piece.data for piece in scanned((DUMPS / f"{name}.sql").read_bytes())}
    assert "unknown" not in steps, steps
    assert {"drop", "table", "rows", "trigger", "program"} <= steps.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "SET GLOBAL max_connections = 1;",
        "SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '';",
        "SET PASSWORD = 'x';",
        "SET @a = (SELECT 1);",
        "CREATE TEMPORARY TABLE `t` (a int);",
        "CREATE OR REPLACE TABLE `t` (a int);",
        "CREATE USER x;",
        "INSERT INTO t SELECT 1;",
        "INSERT INTO t VALUES (1);",
        "DELETE FROM t;",
        "ALTER TABLE `t` ADD KEY (a);",
        "START TRANSACTION;",
        "CALL p();",
    ],
)
def test_what_no_dump_program_writes_ends_the_sharing(statement: str) -> None:
    crew = Paced(3, [])
    sharing = Sharing(crew)
    [piece] = scanned(f"{statement}\n".encode())
    assert step_of(piece) == "unknown"
    sharing.take(piece, piece.data, "")
    for later in scanned(b"SET NAMES utf8;\nLOCK TABLES `t` WRITE;\n"):
        sharing.take(later, later.data, "")
    said = [[one for one in session.waiting if isinstance(one, bytes)] for session in crew.sessions]
    assert said == [[piece.data, b"SET NAMES utf8;\n", b"LOCK TABLES `t` WRITE;\n"], [], []]


# --- indexes ---

ORDERS = b"""CREATE TABLE `orders` (
  `id` int NOT NULL AUTO_INCREMENT,
  `note` varchar(9) DEFAULT 'KEY `x` (a,b)' COMMENT 'it''s, (so',
  `total` decimal(10,2) GENERATED ALWAYS AS ((`id` * 2)) VIRTUAL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `one` (`note`,`id`),
  KEY `by``note` (`note`(3) DESC,`id`),
  KEY `sum` ((`id` + 1)) /*!80000 INVISIBLE */
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COMMENT='a)b'
/*!50100 PARTITION BY HASH (`id`)
PARTITIONS 2 */;
"""


def test_plain_indexes_are_taken_out() -> None:
    bare, taken = without_indexes(ORDERS) or (b"", [])
    assert taken == [b"KEY `by``note` (`note`(3) DESC,`id`)", b"KEY `sum` ((`id` + 1)) /*!80000 INVISIBLE */"]
    assert bare == ORDERS.replace(b",\n  " + taken[0], b"").replace(b",\n  " + taken[1], b"")


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        (b"  KEY `by", b"  FULLTEXT KEY `by"),
        (b"  KEY `by", b"  SPATIAL KEY `by"),
        (b"  UNIQUE KEY `one` (`note`,`id`)", b"  CONSTRAINT `f` FOREIGN KEY (`id`) REFERENCES `p` (`id`)"),
        (b"  PRIMARY KEY (`id`),\n", b""),  # then another key holds the counter
        (b"ENGINE=InnoDB", b"ENGINE=MyISAM"),
        (b"it''s", b"it\\'s"),
        (b"CHARSET=utf8mb4", b"CHARSET=utf8mb4 WITH SYSTEM VERSIONING"),
        (b"  `total`", b"  row_start"),
    ],
)
def test_a_table_with_any_doubt_keeps_them(what: bytes, instead: bytes) -> None:
    assert what in ORDERS
    assert without_indexes(ORDERS.replace(what, instead)) is None


def test_the_other_ends_of_foreign_keys() -> None:
    create = (
        b"CONSTRAINT `a` FOREIGN KEY (`b`) REFERENCES `p``q` (`id`), FOREIGN KEY (`c`) REFERENCES `shop`.`r` (`id`)"
    )
    assert referenced(create) == [b"`p``q`", b"`r`"]
    assert referenced(b"CREATE TABLE `references` (`a` int)") == []
