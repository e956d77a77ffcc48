"""The scanner and the checker: nothing that stands in a value, a body or a name can mislead them."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbguard.archive import Database, ObjectKind, Table
from dbguard.checker import Checker
from dbguard.errors import IncompleteDump
from dbguard.sqldump import Piece, Scanner
from tests.unit.dump_texts import HEAD, TRAILER, DumpText, chunk_sizes, chunked, database, dump_texts

KIB, MIB = 1 << 10, 1 << 20
REAL = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "dumps").glob("*.sql")}
"""What mysqldump 9.7 and mariadb-dump 11.8 and 10.11 really wrote, with the flags that engines/ gives them."""

SHOP = {
    "table": ["customers", "orders", "nothing_in_it", "a`b; CREATE TABLE `c`"],
    "view": ["bills", "large_bills"],
    "trigger": ["before_order", "after;;order"],
    "procedure": ["fill", "no_escapes", 'an`si"; quotes'],
    "function": ["twice"],
    "event": ["tidy"],
}
ON_MARIADB = {
    **SHOP,
    "table": [*SHOP["table"], "prices"],
    "sequence": ["numbers; s"],
    "package": ["tools"],
    "package body": ["tools"],
}


def content(name: str) -> tuple[Database, ...]:
    """What is in the real dump of that name."""
    shop = database("shop", SHOP if name == "mysql97" else ON_MARIADB)  # type: ignore[arg-type]
    return database("hollow", {}), database("odd`name; ☃", {"table": ["t"]}), shop


def scanned(chunks: Iterable[bytes]) -> list[Piece]:
    scanner = Scanner()
    pieces = [piece for chunk in chunks for piece in scanner.feed(chunk)]
    return [*pieces, *scanner.close()]


def created(pieces: Iterable[Piece]) -> set[tuple[str | None, ObjectKind, str]]:
    return {(piece.database, *piece.object) for piece in pieces if piece.kind == "create" and piece.object}


def meaning(pieces: Iterable[Piece]) -> list[tuple[object, ...]]:
    """What must not depend on where the chunks end: rows in one, line ends and comments left out."""
    found: list[tuple[object, ...]] = []
    for piece in pieces:
        if piece.kind == "rows" and found and found[-1][:3] == ("rows", piece.database, piece.object):
            found[-1] = (*found[-1][:3], found[-1][3] + piece.data)  # type: ignore[operator]
        elif piece.kind != "comment":
            found.append((piece.kind, piece.database, piece.object, piece.data))
    return [(*what, data.strip()) for *what, data in found]  # type: ignore[attr-defined]


def check(data: bytes, databases: tuple[Database, ...], sizes: Iterable[int] = (64 * KIB,)) -> Checker:
    checker = Checker()
    for chunk in chunked(data, sizes):
        checker.feed(chunk)
    checker.finish(databases)
    return checker


# --- real dumps ---

real = pytest.mark.parametrize("name", sorted(REAL))


def test_there_are_real_dumps() -> None:
    assert sorted(REAL) == ["mariadb1011", "mariadb118", "mysql97"]


@real
@pytest.mark.parametrize("size", [1, 2, 7, 64, 4 * KIB, MIB])
def test_real_dumps_are_understood(name: str, size: int) -> None:
    pieces = scanned(chunked(REAL[name], [size]))
    assert b"".join(piece.data for piece in pieces) == REAL[name]
    assert created(pieces) == {(db.name, kind, item) for db in content(name) for kind, item in db.named()}
    assert meaning(pieces) == meaning(scanned([REAL[name]]))


@real
def test_real_dumps_are_whole(name: str) -> None:
    check(REAL[name], content(name))


@real
def test_a_real_dump_that_lacks_any_one_object_is_not_whole(name: str) -> None:
    pieces = scanned([REAL[name]])
    for missing in [piece for piece in pieces if piece.kind in {"create", "database"}]:
        data = b"".join(piece.data for piece in pieces if piece is not missing)
        with pytest.raises(IncompleteDump, match="lacks"):
            check(data, content(name))


@real
@given(st.data())
def test_a_real_dump_cut_anywhere_is_not_whole(name: str, data: st.DataObject) -> None:
    whole = REAL[name]
    end = data.draw(st.integers(0, whole.rindex(b"-- Dump completed") + len(b"-- Dump complete")), label="end")
    with pytest.raises(IncompleteDump):
        check(whole[:end], content(name))


@real
def test_the_rows_of_a_real_dump_belong_to_their_tables(name: str) -> None:
    rows = {piece.object for piece in scanned([REAL[name]]) if piece.kind == "rows"}
    tables = {"customers", "orders", "t", "a`b; CREATE TABLE `c`"} | ({"prices"} if name != "mysql97" else set())
    assert rows == {("table", table) for table in tables}


# --- made-up dumps ---

thorough = settings(max_examples=50)  # each is a whole dump


@thorough
@given(dump_texts(), chunk_sizes)
def test_pieces_joined_are_the_dump(dump: DumpText, sizes: list[int]) -> None:
    assert b"".join(piece.data for piece in scanned(chunked(dump.data, sizes))) == dump.data


@thorough
@given(dump_texts(), chunk_sizes)
def test_nothing_in_a_name_a_value_or_a_body_misleads(dump: DumpText, sizes: list[int]) -> None:
    pieces = scanned(chunked(dump.data, sizes))
    assert created(pieces) == dump.objects
    assert [piece.database for piece in pieces if piece.kind == "database"] == [db.name for db in dump.databases]
    rows = {(piece.database, piece.object) for piece in pieces if piece.kind == "rows"}
    assert rows <= {(db.name, ("table", table.name)) for db in dump.databases for table in db.tables}
    check(dump.data, dump.databases, sizes)


@thorough
@given(dump_texts(), chunk_sizes)
def test_where_chunks_end_changes_nothing(dump: DumpText, sizes: list[int]) -> None:
    assert meaning(scanned(chunked(dump.data, sizes))) == meaning(scanned([dump.data]))


@thorough
@given(dump_texts(), st.data())
def test_a_dump_cut_anywhere_is_not_whole(dump: DumpText, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(dump.data) - len(TRAILER) + len("\n-- Dump complete")), label="end")
    with pytest.raises(IncompleteDump):
        check(dump.data[:end], dump.databases)


@thorough
@given(dump_texts(), st.data())
def test_a_dump_that_lacks_any_one_object_is_not_whole(dump: DumpText, data: st.DataObject) -> None:
    pieces = scanned([dump.data])
    missing = data.draw(st.sampled_from([piece for piece in pieces if piece.kind in {"create", "database"}]))
    rest = b"".join(piece.data for piece in pieces if piece is not missing)
    with pytest.raises(IncompleteDump):
        check(rest, dump.databases)


@given(st.binary(max_size=300), chunk_sizes)
@example(b"DELIMITER", [1])
@example(b"DELIMITER ;;", [11])
@example(b"INSERT INTO `t` VALUES (1);", [26])
@example(b"INSERT INTO `t` VALUES (1);\n;\n;", [1])
def test_any_bytes_at_all_pass_through(data: bytes, sizes: list[int]) -> None:
    assert b"".join(piece.data for piece in scanned(chunked(data, sizes))) == data


# --- single facts ---


def objects(text: str) -> list[tuple[ObjectKind, str]]:
    return [piece.object for piece in scanned([text.encode()]) if piece.kind == "create" and piece.object]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB;\n", [("table", "t")]),
        ("CREATE TABLE IF NOT EXISTS `t` (`a` int);\n", [("table", "t")]),
        ("/*!50001 CREATE VIEW `v` AS SELECT 1 AS `a`*/;\n", []),
        ("/*!50001 CREATE ALGORITHM=MERGE */\n/*!50001 VIEW `v` AS select 1 */;\n", [("view", "v")]),
        ("CREATE SEQUENCE `s` start with 1;\n", [("sequence", "s")]),
        ("CREATE DEFINER=`TABLE`@`VIEW` PROCEDURE `p`() SELECT 1;\n", [("procedure", "p")]),
        ('CREATE DEFINER="TABLE"@"VIEW" PROCEDURE "p""q"() SELECT 1;\n', [("procedure", 'p"q')]),
        ("CREATE AGGREGATE FUNCTION `f`() RETURNS int RETURN 1;\n", [("function", "f")]),
        ("CREATE OR REPLACE PACKAGE BODY `p` AS END;\n", [("package body", "p")]),
        ("CREATE PACKAGE `p` AS END;\n", [("package", "p")]),
        ("/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`%`*/ /*!50003 TRIGGER tr BEFORE INSERT ON t SET @a=1 */;\n",
         [("trigger", "tr")]),
        ("/*M!100300 CREATE*/ /*M!100300 TABLE `t` (a int) */;\n", [("table", "t")]),
        ("create table `t` (a int);\n", [("table", "t")]),
        ("CREATE DATABASE `d`;\n", []),
        ("DROP TABLE IF EXISTS `t`;\n", []),
        ("ALTER TABLE `t` COMMENT 'CREATE TABLE `x`';\n", []),
        ("-- CREATE TABLE `x` (a int);\n", []),
        ("/* CREATE TABLE `x` (a int); */;\n", []),
        ("SET @a = 'CREATE TABLE `x` (a int);';\n", []),
    ],
)  # fmt: skip
def test_what_a_statement_creates(statement: str, expected: list[tuple[ObjectKind, str]]) -> None:
    assert objects(statement) == expected


def test_a_backslash_is_a_letter_under_no_backslash_escapes() -> None:
    text = r"SELECT '\'; CREATE TABLE `x` (a int); -- ';" + "\n"
    assert objects(text) == [], "an escaped quote: all one string"
    assert objects("SET sql_mode='NO_BACKSLASH_ESCAPES';\n" + text) == [("table", "x")], "the string ends"
    assert objects("SET sql_mode='NO_BACKSLASH_ESCAPES';\nSET sql_mode=@saved;\n" + text) == []


def test_an_insert_under_another_delimiter_is_no_rows() -> None:
    text = "DELIMITER ;;\nINSERT INTO `t` VALUES (1);\nCREATE TABLE `x` (a int);\nEND;;\nDELIMITER ;\n"
    assert [piece.kind for piece in scanned([text.encode()])] == ["client", "statement", "client"]


def test_the_name_of_a_database_is_remembered() -> None:
    text = (
        "CREATE DATABASE `a``b\nUSE c;`;\nUSE `a``b\nUSE c;`;\nCREATE TABLE `t` (a int);\nUSE `d`;\nDROP TABLE `t`;\n"
    )
    assert [piece.database for piece in scanned([text.encode()])] == [*["a`b\nUSE c;"] * 3, "d", "d"]


def test_a_name_that_is_not_utf_8_survives() -> None:
    [piece] = scanned([b"CREATE TABLE `a\xff\xed\xa0\x80` (a int);\n"])
    assert piece.object is not None
    assert piece.object[1].encode("utf-8", "surrogateescape") == b"a\xff\xed\xa0\x80"


# --- the checker ---


def a_dump(*statements: str) -> bytes:
    return HEAD + b"CREATE DATABASE `shop`;\nUSE `shop`;\n" + "".join(statements).encode() + TRAILER


def test_no_dump_at_all() -> None:
    for data in (b"", b"\n", b"mysqldump: Got error: 1045: Access denied", b"OCI runtime exec failed\r\n"):
        with pytest.raises(IncompleteDump, match="not a dump"):
            check(data, ())


def test_a_first_line_of_something_else() -> None:
    with pytest.raises(IncompleteDump, match="not a dump"):
        check(b"Warning: mysqldump says hello\n" + a_dump(), ())


@pytest.mark.parametrize(
    "line", [b"/*M!999999\\- enable the sandbox mode */ \n", b"/*!999999\\- enable the sandbox mode */\n"]
)
def test_the_sandbox_line_may_come_first(line: bytes) -> None:
    check(line + a_dump(), (database("shop", {}),), [1])


def test_a_last_line_that_is_not_the_last() -> None:
    for after in (b"CREATE TABLE `t` (a int);\n", b"mysqldump: Error: lost connection\n", b"-- one more thing\n", b"x"):
        with pytest.raises(IncompleteDump, match="no last line"):
            check(a_dump() + after, ())


def test_a_last_line_without_its_newline_is_one() -> None:
    check(a_dump().rstrip(b"\n"), ())


@pytest.mark.parametrize(
    "body",
    [
        "SELECT '\n-- Dump completed on 2026-01-01\n",
        "SELECT \"\n-- Dump completed on 2026-01-01\n",
        "/*\n-- Dump completed on 2026-01-01\n",
        "SELECT 1;\n-- Dump completed on 2026-01-01\n",
    ],
)  # fmt: skip
def test_a_last_line_within_a_body_is_none(body: str) -> None:
    """The dump was cut right after it."""
    data = HEAD + f"DELIMITER ;;\nCREATE PROCEDURE `p`() BEGIN\n{body}".encode()
    with pytest.raises(IncompleteDump, match="no last line"):
        check(data, ())


def test_a_view_whose_stand_in_is_all_there_is() -> None:
    stand_in, view = (
        "/*!50001 CREATE VIEW `v` AS SELECT 1 AS `a`*/;\n",
        "CREATE ALGORITHM=MERGE VIEW `v` AS select 1;\n",
    )
    wanted = (database("shop", {"view": ["v"]}),)
    check(a_dump(stand_in, view), wanted)
    with pytest.raises(IncompleteDump, match=r"view shop\.v"):
        check(a_dump(stand_in), wanted)


def test_the_same_name_in_another_database_does_not_count() -> None:
    wanted = (database("shop", {"table": ["t"]}), database("other", {"table": ["t"]}))
    with pytest.raises(IncompleteDump, match=r"table other\.t"):
        check(a_dump("CREATE TABLE `t` (a int);\n", "CREATE DATABASE `other`;\nUSE `other`;\n"), wanted)


def test_an_empty_database_must_be_there_too() -> None:
    with pytest.raises(IncompleteDump, match="database empty"):
        check(a_dump(), (database("shop", {}), database("empty", {})))


def test_what_came_into_being_meanwhile_does_no_harm() -> None:
    check(a_dump("CREATE TABLE `new` (a int);\n"), (database("shop", {}),))


def test_many_missing_objects_are_counted() -> None:
    tables = tuple(Table(name=f"t{number}", kind="BASE TABLE", engine=None) for number in range(12))
    with pytest.raises(IncompleteDump, match=r"shop\.t0, .* and 7 more"):
        check(a_dump(), (Database(name="shop", create="", tables=tables),))


def test_the_largest_statement_is_measured_one_by_one() -> None:
    """It decides whether a server can take the dump at all; a table of many INSERTs is no large statement."""
    insert = "INSERT INTO `t` VALUES " + ",".join(["(1,'some text')"] * 1000) + ";\n"
    checker = check(a_dump("CREATE TABLE `t` (a int, b text);\n", insert, insert, insert), (), [1000])
    assert checker.largest_statement == len(insert)


def test_what_is_now_being_dumped_can_be_told() -> None:
    checker = Checker()
    checker.feed(a_dump("CREATE TABLE `t` (a int);\n", "INSERT INTO `t` VALUES (1),"))
    assert checker.current == "shop.t"


# --- size ---


def test_a_huge_insert_takes_no_memory() -> None:
    """64 MiB of one statement."""
    checker, chunk = Checker(), b"(1,'some text; of it')," * (64 * KIB // 23)
    checker.feed(HEAD + b"CREATE DATABASE `d`;\nUSE `d`;\nCREATE TABLE `t` (a int);\nINSERT INTO `t` VALUES ")
    tracemalloc.start()
    for _ in range(1024):
        checker.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    checker.feed(b"(2,'end');\n" + TRAILER)
    checker.finish((database("d", {"table": ["t"]}),))
    assert checker.largest_statement > 63 * MIB
    assert peak < MIB


def test_a_huge_statement_takes_time_in_proportion() -> None:
    """Scanned again with each chunk, this would take minutes."""
    statement = b"CREATE TABLE `t` (\n" + b"  `column` int DEFAULT '0; x',\n" * (8 * MIB // 31) + b"  `z` int\n);\n"
    start = time.process_time()
    pieces = scanned(chunked(statement, [16 * KIB]))
    assert time.process_time() - start < 20
    assert created(pieces) == {(None, "table", "t")}
    assert b"".join(piece.data for piece in pieces) == statement


def test_an_insert_without_values_is_not_waited_for_for_ever() -> None:
    """Nothing that the dump programs write; other programs do."""
    text = b"INSERT INTO `t` SELECT 1;\n" + (b"-- " + b"filler" * 1000 + b"\n") * 900 + b"CREATE TABLE `x` (a int);\n"
    assert created(scanned(chunked(text, [MIB]))) == {(None, "table", "x")}
