"""Makes up dumps as mysqldump writes them, with names and bodies as hostile as can be, and knows what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle

from hypothesis import strategies as st

from dbguard.archive import Database, ObjectKind, Table

HEAD = b"-- MySQL dump 10.13  Distrib 9.7.0, for Linux (x86_64)\n--\n\n/*!40101 SET NAMES utf8mb4 */;\n"
TRAILER = b"\n-- Dump completed on 2026-11-23  1:30:00\n"

HOSTILE_LINES = (
    "DELIMITER ;", "DELIMITER ;;", "\nDELIMITER ;\n", "-- Dump completed", "\n-- Dump completed on 2026-01-01\n",
    "-- Current Database: `fake`", "\nUSE `fake`;\n", "\nCREATE DATABASE `fake`;\n", "CREATE TABLE `fake` (a INT);",
    ";\nINSERT INTO `fake` VALUES (1);\n", ";;\nCREATE TABLE `fake` (a INT);\n", ";", ";;", "*/", "/*", "/*!50003",
    "--", "-- ", "#", "'", '"', "`", "\\", "\\'", "''", "\n", "\r\n", "☃", "🐬", "", " ",
)  # fmt: skip

text = st.lists(st.sampled_from(HOSTILE_LINES) | st.text(max_size=5), max_size=4).map("".join)
names = text.filter(lambda name: name and "\0" not in name).map(lambda name: name[:64])
chunk_sizes = st.lists(st.integers(1, 400), min_size=1, max_size=5)


def chunked(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cuts `data` into pieces of these sizes, over and over again."""
    pieces: list[bytes] = []
    at = 0
    for size in cycle(sizes):
        if at >= len(data):
            return pieces
        pieces.append(data[at : at + size])
        at += size
    raise AssertionError("sizes is empty")


def quoted(name: str, quote: str = "`") -> str:
    return quote + name.replace(quote, 2 * quote) + quote


def in_comment(name: str) -> str:
    """As fix_identifier_with_newline() in mysqldump.cc does it."""
    return quoted(name).replace("\n", "\n-- ")


def value(content: str) -> str:
    """A string as mysql_real_escape_string() writes it in an INSERT."""
    escapes = {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\0": "\\0", "\x1a": "\\Z"}
    return "'" + "".join(escapes.get(char, char) for char in content) + "'"


def literal(content: str, quote: str, *, backslash: bool) -> str:
    """A string as a person may have written it in a routine, newlines and all."""
    return quoted(content.replace("\\", "\\\\") if backslash else content, quote)


@st.composite
def bodies(draw: st.DrawFn, *, backslash: bool) -> str:
    """Statements that a routine, trigger or event may hold, in any order."""
    fragment = st.one_of(
        st.sampled_from(["SET @a = 1;", "SELECT 1--1;", "CREATE TABLE `fake` (a INT);", "SELECT a/2*3;", "BEGIN END;"]),
        text.map(lambda t: "SELECT " + literal(t, "'", backslash=backslash) + ";"),
        text.map(lambda t: "SELECT " + literal(t, '"', backslash=backslash) + ";"),
        text.map(lambda t: "SELECT " + quoted(t or "x") + ";"),
        text.map(lambda t: "/* " + t.replace("*/", "* /") + " */"),
        text.map(lambda t: "-- " + t.replace("\n", " ") + "\n"),
        text.map(lambda t: "#" + t.replace("\n", " ") + "\n"),
    )
    return " ".join(draw(st.lists(fragment, max_size=5)))


@dataclass(frozen=True, kw_only=True)
class DumpText:
    data: bytes
    databases: tuple[Database, ...]

    @property
    def objects(self) -> set[tuple[str, ObjectKind, str]]:
        return {(database.name, kind, name) for database in self.databases for kind, name in database.named()}


@st.composite
def dump_texts(draw: st.DrawFn) -> DumpText:
    wanted = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    databases, parts = [], []
    for name in wanted:
        kinds = draw(st.lists(st.sampled_from(sorted(WRITERS)), max_size=4, unique=True))
        content = {kind: draw(st.lists(names, min_size=1, max_size=2, unique=True)) for kind in kinds}
        parts.append(f"--\n-- Current Database: {in_comment(name)}\n--\n\nCREATE DATABASE /*!32312 IF NOT EXISTS*/ ")
        parts.append(f"{quoted(name)} /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n\nUSE {quoted(name)};\n\n")
        parts += [draw(WRITERS[kind](item)) for kind in kinds for item in content[kind]]
        parts += [f"\n/*!50001 {FINAL_VIEW} VIEW {quoted(item)} AS SELECT 1 */;\n" for item in content.get("view", ())]
        databases.append(database(name, content))
    return DumpText(data=HEAD + "".join(parts).encode() + TRAILER, databases=tuple(databases))


def database(name: str, content: dict[ObjectKind, list[str]]) -> Database:
    return Database(
        name=name,
        create="",
        tables=tuple(Table(name=item, kind="BASE TABLE", engine="InnoDB") for item in content.get("table", ())),
        objects={kind: tuple(items) for kind, items in content.items() if kind != "table"},
    )


FINAL_VIEW = "CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n/*!50001"


@st.composite
def _table(draw: st.DrawFn, name: str) -> str:
    note, values = value(draw(text)), draw(st.lists(text.map(value), max_size=3))
    columns = draw(st.sampled_from(["", " (`a`)", " (`a``;\nb`, row_start, row_end)", " (row_start)"]))
    rows = [f"INSERT INTO {quoted(name)}{columns} VALUES {','.join(f'({v})' for v in values)};\n"] if values else []
    return (
        f"--\n-- Table structure for table {in_comment(name)}\n--\n\nDROP TABLE IF EXISTS {quoted(name)};\n"
        f"CREATE TABLE {quoted(name)} (\n  `a` text COMMENT {note}\n) ENGINE=InnoDB COMMENT={note};\n"
        f"LOCK TABLES {quoted(name)} WRITE;\n{''.join(rows)}UNLOCK TABLES;\n"
    )


def _view(name: str) -> st.SearchStrategy[str]:
    """The stand-in; the view itself comes at the end of its database."""
    return st.just(f"/*!50001 CREATE VIEW {quoted(name)} AS SELECT\n 1 AS `a`*/;\n")


def _sequence(name: str) -> st.SearchStrategy[str]:
    return st.just(f"CREATE SEQUENCE {quoted(name)} start with 1 increment by 1;\nDO SETVAL({quoted(name)}, 5, 0);\n")


@st.composite
def _routine(draw: st.DrawFn, name: str, head: str, tail: str = "") -> str:
    backslash = draw(st.booleans())
    mode = "STRICT_TRANS_TABLES" if backslash else "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"
    return (
        f"/*!50003 SET @saved_sql_mode = @@sql_mode */ ;\n/*!50003 SET sql_mode = '{mode}' */ ;\nDELIMITER ;;\n"
        f"{head.format(quoted(name))} BEGIN\n{draw(bodies(backslash=backslash))}\nEND {tail};;\nDELIMITER ;\n"
        "/*!50003 SET sql_mode = @saved_sql_mode */ ;\n"
    )


_DEFINER = "DEFINER=`root`@`localhost`"

WRITERS: dict[ObjectKind, Callable[[str], st.SearchStrategy[str]]] = {
    "table": _table,
    "view": _view,
    "sequence": _sequence,
    "procedure": lambda name: _routine(name, f"CREATE {_DEFINER} PROCEDURE {{}}()"),
    "function": lambda name: _routine(name, f"CREATE {_DEFINER} FUNCTION {{}}() RETURNS int"),
    "trigger": lambda name: _routine(
        name,
        f"/*!50003 CREATE*/ /*!50017 {_DEFINER}*/ /*!50003 TRIGGER {{}} BEFORE INSERT ON `t` FOR EACH ROW",
        "*/",
    ),
    "event": lambda name: _routine(
        name,
        f"/*!50106 CREATE*/ /*!50117 {_DEFINER}*/ /*!50106 EVENT {{}} ON SCHEDULE EVERY 1 DAY DO",
        "*/ ",
    ),
}
"""Every kind of object, and how mysqldump and mariadb-dump write one of a given name."""
