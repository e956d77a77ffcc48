"""Dumps of other tools: how they are packed, whether they are whole, and which databases they name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ArchiveDamaged, NotFound
from dbguard.foreign import examine, statements
from dbguard.stream import Packer

HEAD = b"-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)\n--\n"
BODY = b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop`;\nUSE `shop`;\nCREATE TABLE `t` (a INT);\n"
ROWS = b"INSERT INTO `t` VALUES (1);\n"
END = b"-- Dump completed on 2026-11-26  8:00:00\n"
WHOLE = HEAD + BODY + ROWS + END


def zstd(data: bytes) -> bytes:
    packer = Packer(1)
    return packer.pack(data) + packer.finish()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def loaded(path: Path) -> bytes:
    return b"".join(data for data, _ in statements(examine(path)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_dump_by_any_name(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    big = HEAD + BODY + ROWS * 20000 + END
    path.write_bytes(PACKINGS[packing](big))
    dump = examine(path)
    assert (dump.size, dump.databases, dump.ended) == (len(big), ("shop",), True)
    assert loaded(path) == big
    path.write_bytes(PACKINGS[packing](big[:100]) + PACKINGS[packing](big[100:]))
    assert loaded(path) == big


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("harm", ["cut", "turned over", "something behind"])
def test_a_damaged_packing_is_never_a_short_dump(packing: str, harm: str, tmp_path: Path) -> None:
    whole = PACKINGS[packing](WHOLE * 500)
    middle = len(whole) // 2
    path = tmp_path / "dump"
    path.write_bytes(
        {
            "cut": whole[:-3],
            "turned over": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
            "something behind": whole + b"and more",
        }[harm]
    )
    with pytest.raises(ArchiveDamaged):
        examine(path)


def test_a_dump_without_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    for text, ended in ((HEAD + BODY + ROWS, False), (WHOLE, True), (BODY + ROWS, None)):
        path.write_bytes(text)
        assert examine(path).ended is ended
    with pytest.raises(NotFound):
        examine(tmp_path / "none")


NAMING = {
    b"USE `a b`;": "a b",
    b"use shop;": "shop",
    b"USE `back``tick`;": "back`tick",
    b"CREATE SCHEMA IF NOT EXISTS one;": "one",
    b"DROP DATABASE IF EXISTS `two`;": "two",
    b"ALTER DATABASE `three` CHARACTER SET utf8mb4;": "three",
}


@pytest.mark.parametrize("line", NAMING)
def test_databases_that_are_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    for before in (b"", b"\n" * 65530):
        path.write_bytes(before + line + b"\n")
        assert examine(path).databases == (NAMING[line],)


SERVER_WIDE = (
    b"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\nSET @@SESSION.SQL_LOG_BIN= 0;\n"
    b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '9bdcd79d-e960-11f1-ace3-0242ac110004:1-3,\n"
    b"ffffffff-e960-11f1-ace3-0242ac110004:1';\n"
)


@pytest.mark.parametrize(
    "first", [b"/*!999999\\- enable the sandbox mode */ \n", b"/*M!999999\\- enable the sandbox mode */\n"]
)
def test_what_is_meant_for_whole_servers_is_left_out(first: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(first + HEAD + SERVER_WIDE + BODY)
    assert loaded(path) == HEAD + b"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\n" + BODY


@given(st.binary(max_size=300), st.integers(0, 70000))
def test_every_byte_arrives(data: bytes, padding: int) -> None:
    text = b"-" * padding + b"\n" + data + b"\nINSERT INTO `t` VALUES (1);\n"
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        assert loaded(Path(file.name)) == text


def test_pieces_know_their_table(tmp_path: Path) -> None:
    path = tmp_path / "dump.sql"
    path.write_bytes(HEAD + b"".join(b"CREATE TABLE `t%d` (a INT);\n" % n + ROWS for n in range(3)))
    assert [what for data, what in statements(examine(path)) if b"CREATE TABLE `t2`" in data] == ["table t2"]
