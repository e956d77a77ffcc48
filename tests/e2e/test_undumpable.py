"""What the dump programs hang on, damage, or write so that no server loads it.

All of it is named before anything is stored. What one release cannot dump and another can must come back exactly from
the other: there is no alarm where there is no fire, and nothing in between.
"""

from __future__ import annotations

import re

import pytest

from tests import compare
from tests.conftest import Dbguard
from tests.servers import PASSWORD, Server

pytestmark = pytest.mark.docker

DATABASE = "CREATE DATABASE d DEFAULT CHARACTER SET utf8mb4; USE d; CREATE TABLE t (a INT);"
LATER = "ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO"
TRAPS = {
    "semicolons": f"CREATE EVENT semicolons {LATER} SELECT ';;'",
    "commented_trigger": "CREATE TRIGGER commented_trigger BEFORE INSERT ON t FOR EACH ROW SET @z = 1 -- the end\n",
    "commented_event": f"CREATE EVENT commented_event {LATER} SELECT 1 # the end\n",
    "commented_procedure": "CREATE PROCEDURE commented_procedure() SELECT 1 -- the end\n",
    "commented_function": "CREATE FUNCTION commented_function() RETURNS INT DETERMINISTIC RETURN 1 # the end\n",
    "member": "CREATE TABLE member (e ENUM('a', '❤😀'))$$ INSERT INTO member VALUES ('❤😀')",
}
MARIADB_TRAPS = {
    "crossed": (
        "CREATE DATABASE e$$ CREATE SEQUENCE e.s$$ CREATE TABLE crossed (id INT DEFAULT NEXTVAL(e.s))$$"
        "CREATE SEQUENCE s$$ CREATE TABLE e.crossed (id INT DEFAULT NEXTVAL(d.s))"
    ),
}
REFUSED = {
    "mysql97": TRAPS.keys(),
    "mariadb118": {"member", "crossed"},
    "mariadb1011": {"member", "crossed", "semicolons"},
}
HARMLESS = [
    "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW BEGIN SET @z = 1; -- a comment\n END",
    "CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW SET @z = 1 /* ;; */",
    "CREATE PROCEDURE a() BEGIN SELECT 1; END -- after the end\n",
    "CREATE PROCEDURE b() SELECT '-- not a comment', 1--1, `#` FROM (SELECT 1 AS `#`) AS x",
    f"CREATE EVENT a {LATER} SELECT '; ;', '# not a comment'",
    "CREATE TABLE members (e ENUM('?', 'é❤'), s SET('a?', 'é'))$$ INSERT INTO members VALUES ('?', 'a?'), ('é❤', 'é')",
]


def traps(server: Server) -> dict[str, str]:
    return TRAPS | (MARIADB_TRAPS if server.family == "mariadb" else {})


def create(server: Server, statements: list[str]) -> compare.Snapshot:
    server.sql("\n".join([DATABASE, "DELIMITER $$", *(f"{statement}$$" for statement in statements)]))
    return compare.snapshot(server.container, PASSWORD)


def assert_no_dump_runs(server: Server) -> None:
    assert "dump" not in server.run("sh", "-c", "cat /proc/[0-9]*/cmdline").decode().replace("\0", " ")


def test_what_cannot_come_back_is_named_before_anything_is_stored(server: Server, dbguard: Dbguard) -> None:
    refused = REFUSED[server.kind]
    create(server, [statement for name, statement in traps(server).items() if name in refused])
    done = dbguard("backup", "now", server.target, timeout=60)
    assert (done.code, dbguard.archives()) == (1, []), done.err
    assert [name for name in refused if f".{name}" not in done.err] == [], done.err
    assert_no_dump_runs(server)


def test_what_can_comes_back(server: Server, dbguard: Dbguard) -> None:
    refused = REFUSED[server.kind]
    allowed = [statement for name, statement in traps(server).items() if name not in refused]
    before = create(server, allowed + HARMLESS)
    dbguard("backup", "now", server.target, timeout=60).succeeded()
    server.empty()
    dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


def test_event_where_the_name_needs_quotes(server: Server, dbguard: Dbguard) -> None:
    """mariadb-dump escapes the name of the database and then looks for a database of that name."""
    before = create(server, [f"CREATE DATABASE `it's`$$ USE `it's`$$ CREATE EVENT e {LATER} SELECT 1"])
    done = dbguard("backup", "now", server.target, timeout=60)
    if server.family == "mysql":
        server.empty()
        dbguard("restore", server.target, "--latest", "--yes").succeeded()
        assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []
    else:
        assert (done.code, dbguard.archives()) == (1, []), done.err
        assert re.search(r"it\\?'s", done.err), done.err


@pytest.mark.parametrize("server", ["mariadb118", "mariadb1011"], indirect=True)
def test_sequence_of_another_database(server: Server, dbguard: Dbguard) -> None:
    """A dump holds one database after the other; the sequence has to come before the table."""
    server.sql("CREATE DATABASE a; CREATE SEQUENCE a.s; CREATE DATABASE z; CREATE SEQUENCE z.s")
    tables = [f"CREATE TABLE of_{name} (id INT DEFAULT NEXTVAL({name}.s), x INT)" for name in "az"]
    before = create(server, [*tables, "INSERT INTO of_a (x) VALUES (1)", "INSERT INTO of_z (x) VALUES (1)"])
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []
