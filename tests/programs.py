"""Random programs and values that hold any line: whatever a client, a dump or a scanner could take for its own.

hypothesis builds them, and a server takes them as they are, from no client that would read them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import mysql.connector
from hypothesis import strategies as st

from tests.compare import quoted
from tests.load import connected
from tests.servers import Server

LINES = (
    "DELIMITER ;", "DELIMITER ;;", "delimiter //", "-- Dump completed on 2026-01-01  1:00:00", "-- Dump completed",
    "INSERT INTO `t` VALUES (1,'x');", "REPLACE INTO `t` VALUES (1)", "/*!50003 CREATE*/", "/*!", "/*M!100100 ", "/*+",
    "/*!999999\\- enable the sandbox mode */", "*/", "*/;", "*/ ;;", "/*", ";", ";;", "; ;", "$$", "\\! touch /pwned",
    "\\. /etc/passwd", "\\g", "\\G", "\\u mysql", "\\C", "\\d ;;", "source /x", "system touch /pwned", "USE `mysql`;",
    "CREATE DATABASE `fake`;", "-- Current Database: `fake`", "CREATE TABLE `fake` (a INT);", "DROP TABLE `t`;",
    "LOCK TABLES `t` WRITE;", "COMMIT;", "SET autocommit=0;", "SET GLOBAL x = 1;", "SET sql_mode = 'ANSI_QUOTES';",
    "/*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */ ;", "END ;;", "--", "-- ", "--\t", "---", "#", "'", "''", '"',
    '""', "`", "``", "\\", "\\\\", "\\'", '\\"', "\\`", "\\n", "\r", "\t", "", " ", "é", "表ソ", "😀", "%s",
    "ERROR 1064 at line 1",
)  # fmt: skip
MODES = ("", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT,IGNORE_SPACE")
NAMES = (
    "p",
    "it's",
    '"q"',
    "b`t",
    ";;",
    "-- c",
    "/*!50003 x",
    "*/",
    "#",
    "back\\",
    "DELIMITER ;",
    "line\nDELIMITER ;\n;",
)
DATABASES = ("fuzz one", "fuzz`;two")

texts = st.lists(st.sampled_from(LINES), min_size=1, max_size=4).flatmap(
    lambda lines: st.sampled_from(("\n", "\n", " ", "")).map(lambda between: between.join(lines))
)


@dataclass(frozen=True, kw_only=True)
class Program:
    database: str
    mode: str
    create: str


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Of a server. `refused` is filled by `make`."""

    them: Sequence[Program]
    values: Sequence[str]
    refused: list[str] = field(default_factory=list)

    def make(self, server: Server) -> None:
        """On an empty server."""
        server.empty()
        with connected(server) as connection:
            cursor = connection.cursor()
            for name in DATABASES:
                cursor.execute(f"CREATE DATABASE {quoted(name)} CHARACTER SET utf8mb4")
                cursor.execute(f"CREATE TABLE {quoted(name)}.t (id INT AUTO_INCREMENT PRIMARY KEY, x TEXT, KEY (x(9)))")
                for value in self.values:
                    cursor.execute(f"INSERT INTO {quoted(name)}.t (x) VALUES (%s)", (value,))
            for program in self.them:
                cursor.execute(f"USE {quoted(program.database)}")
                cursor.execute(f"SET sql_mode = '{program.mode}'")
                try:
                    connection.cmd_query(program.create)  # unread: a cursor knows DELIMITER
                except mysql.connector.Error as error:
                    self.refused.append(f"{error}: {program.mode}: {program.create}")


def _literal(text: str, mode: str, quote: str) -> str:
    escaped = text if "NO_BACKSLASH_ESCAPES" in mode else text.replace("\\", "\\\\")
    return quote + escaped.replace(quote, 2 * quote) + quote


def _fragment(draw: st.DrawFn, mode: str, event: bool) -> str:
    """A statement or a comment, which holds some lines."""
    text = draw(texts)
    if event:
        text = text.replace(";;", "; ")  # mysqldump cannot carry it: see e2e/test_undumpable
    kind = draw(st.sampled_from(("'", '"', "`", "/*", "--", "#", "/*!", "code")))
    line = text.replace("\n", " ").replace("\r", " ")
    match kind:
        case "'":
            return f"SET @a = {_literal(text, mode, kind)};"
        case '"' if "ANSI_QUOTES" not in mode:
            return f"SET @a = {_literal(text, mode, kind)};"
        case '"' | "`":
            return f"SELECT 1 AS {_literal((text or 'x')[:60].rstrip() + '.', 'NO_BACKSLASH_ESCAPES', '`')};"
        case "/*":
            return f"/* {text.replace('*/', '* /').replace('/*', '/ *')} */"
        case "--":
            return f"-- {line}\n"
        case "#":
            return f"#{line}\n"
        case "/*!":
            return f"/*!50001 SET @a = {_literal(line.replace('*/', '').replace('/*', ''), mode, chr(39))}; */"
    return draw(
        st.sampled_from(("SET @a = 1--1;", "SET @a = 4/2*3;", "SET @a = 1-- 1\n;", "SET @a = 1/*;*/+1;", "BEGIN END;"))
    )


@st.composite
def _program(draw: st.DrawFn, number: int) -> Program:
    mode, name = draw(st.sampled_from(MODES)), quoted(f"{draw(st.sampled_from(NAMES))}{number}")
    head = draw(
        st.sampled_from(
            (
                f"CREATE PROCEDURE {name}()",
                f"CREATE FUNCTION {name}() RETURNS INT DETERMINISTIC",
                f"CREATE TRIGGER {name} BEFORE INSERT ON t FOR EACH ROW",
                f"CREATE EVENT {name} ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO",
                f"CREATE VIEW {name} AS",
            )
        )
    )
    database = draw(st.sampled_from(DATABASES))
    if "VIEW" in head:
        alias, text = draw(texts), draw(texts)
        shown = _literal(text, mode, "'")
        return Program(
            database=database, mode=mode, create=f"{head} SELECT {shown} AS {quoted(f'{alias[:60]}.')} FROM t"
        )
    event = "EVENT" in head
    fragments = [_fragment(draw, mode, event) for _ in range(draw(st.integers(1, 6)))]
    if "FUNCTION" in head or "TRIGGER" in head:  # they may return nothing
        fragments = [one if not one.startswith("SELECT") else "SET @b = 1;" for one in fragments]
    end = "RETURN 1;\nEND" if "FUNCTION" in head else "END"
    if event:
        head = head.replace(";;", "; ")
    between = draw(st.sampled_from(("\n", " ")))
    return Program(database=database, mode=mode, create=f"{head}\nBEGIN\n{between.join(fragments)}\n{end}")


@st.composite
def programs(draw: st.DrawFn, *, count: int) -> Programs:
    values = draw(st.lists(texts, min_size=count // 3, max_size=count // 3))
    return Programs(them=[draw(_program(number)) for number in range(count)], values=values)
