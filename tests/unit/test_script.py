"""The statements of an archive: all of them, those of one database, or under another name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbguard.archive import Archive, Blob
from dbguard.errors import ArchiveDamaged
from dbguard.loading.places import Places
from dbguard.script import Script
from dbguard.sqldump import Piece, Scanner
from tests.unit.stored import DUMPS, Stored

DATABASES = ("hollow", "odd`name; ☃", "shop")
real = pytest.mark.parametrize("name", ["mysql97", "mariadb118", "mariadb1011"])


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def script(stored: Stored, made: Archive, **names: str) -> Script:
    return Script(made, names or {name: name for name in DATABASES}, stored.catalog)


def pieces(sql: bytes) -> list[Piece]:
    scanner = Scanner()
    return [*scanner.feed(sql), *scanner.close()]


def objects(sql: bytes) -> set[tuple[object, ...]]:
    return {(piece.database, *piece.object) for piece in pieces(sql) if piece.object}


@real
def test_all_databases_are_the_dump_byte_for_byte(stored: Stored, name: str) -> None:
    sql = (DUMPS / f"{name}.sql").read_bytes()
    assert b"".join(script(stored, stored.put(sql, *DATABASES))) == sql


@real
@pytest.mark.parametrize("database", DATABASES)
def test_one_database_is_all_of_it_and_nothing_else(stored: Stored, name: str, database: str) -> None:
    sql = (DUMPS / f"{name}.sql").read_bytes()
    part = b"".join(Script(stored.put(sql, *DATABASES), {database: database}, stored.catalog))
    assert objects(part) == {one for one in objects(sql) if one[0] == database}
    assert {piece.database for piece in pieces(part)} <= {None, database}
    assert b"SET NAMES utf8mb4" in part, "what holds for all of them"


@real
def test_one_database_under_another_name(stored: Stored, name: str) -> None:
    sql = (DUMPS / f"{name}.sql").read_bytes()
    part = b"".join(Script(stored.put(sql, *DATABASES), {"shop": "co`py"}, stored.catalog))
    assert {one[1:] for one in objects(part)} == {one[1:] for one in objects(sql) if one[0] == "shop"}
    assert {one[0] for one in objects(part)} == {"co`py"}
    assert b"CREATE DATABASE `co``py` /*!40100 */;\n" in part
    assert b"USE `shop`" not in part


def test_what_comes_after_a_long_statement_is_not_lost(stored: Stored) -> None:
    """The scanner holds back what may be unfinished; at the end it must let go."""
    long = b"CREATE VIEW `v` AS SELECT '" + b"x" * (3 << 20) + b"';\n"
    sql = b"CREATE DATABASE `a`;\nUSE `a`;\n" + long + b"CREATE TABLE `t` (a int);\n"
    part = b"".join(Script(stored.put(sql, "a", "b"), {"a": "a"}, stored.catalog))
    assert part == sql


def test_the_place_of_an_error_is_told(stored: Stored) -> None:
    sql = (DUMPS / "mysql97.sql").read_bytes()
    made = script(stored, stored.put(sql, *DATABASES))
    places = Places()
    for _, data, what in made.pieces():
        places.note(data, what)
    lines = b"".join(made).split(b"\n")
    at = next(number for number, line in enumerate(lines, start=1) if line.startswith(b"INSERT INTO `orders`"))
    assert places.of(f"ERROR 1062 (23000) at line {at}: Duplicate entry at line 1") == "table shop.orders"
    assert places.of("ERROR 2013 (HY000): Lost connection") == ""


def test_a_plain_text_that_is_another_is_damage(stored: Stored) -> None:
    """The stored bytes are right, and yet they unpack to something else than was dumped."""
    made = stored.put(b"SELECT 1;\n", *DATABASES)
    other = Blob(**{**{slot: getattr(made.blobs["data"], slot) for slot in Blob.__slots__}, "plain_sha256": "0" * 64})
    lying = Archive(**{**{slot: getattr(made, slot) for slot in Archive.__slots__}, "blobs": {"data": other}})
    with pytest.raises(ArchiveDamaged):
        b"".join(script(stored, lying))
