"""Questions to a server: how rows come back, what names become, and what an account cannot see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import sql
from dbguard.command import Command
from dbguard.containers import Completed, Containers
from dbguard.errors import ExecFailed, QueryFailed
from dbguard.model import Login, Programs, Server
from dbguard.sql import Session, quoted
from tests.unit.nouns import container

Rows = list[tuple[str, ...]]
PROGRAMS = Programs(dump="mysqldump", dump_version="", client="mysql", zstd=False)


def batch(value: str) -> str:
    """A value as `mysql --batch` prints it: safe_put_field() in client/mysql.cc."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\0", "\\0")


class Answering:
    """Containers whose server answers each statement with these rows."""

    def __init__(self, *answers: Rows, files: dict[str, bytes] | None = None) -> None:
        self.asked: list[str] = []
        self._answers = answers
        self._files = files or {}

    def run(self, name: str, command: Command, *, stdin: bytes, timeout: float) -> Completed:
        assert name
        assert timeout
        assert command.feed
        fence = f"fence-{command.tag}"
        self.asked = [one.strip() for one in stdin.decode().split(f"SELECT '{fence}';")]
        lines = [line for rows in self._answers for line in [*("\t".join(map(batch, row)) for row in rows), fence]]
        return Completed(stdout="".join(f"{line}\n" for line in lines).encode(), messages=())

    def read_file(self, name: str, path: str) -> bytes | None:
        assert name
        return self._files.get(path)


def session(containers: object) -> Session:
    return Session(containers=cast(Containers, containers), container="c", argv=("mysql",), login=Login(user="root"))


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.lists(st.lists(texts, min_size=2, max_size=2).map(tuple), max_size=3), min_size=1, max_size=3))
def test_every_row_comes_back_as_it_was(answers: list[Rows]) -> None:
    assert session(Answering(*answers)).query(*["SELECT 1"] * len(answers)) == answers


def test_an_empty_value_is_a_value() -> None:
    assert session(Answering([("",), ("x",)], [])).query("SELECT a", "SELECT b") == [[("",), ("x",)], []]


def test_nothing_asked_is_nothing_answered() -> None:
    assert session(None).query() == []
    assert session(None).failures([]) == {}


def test_each_statement_ends() -> None:
    server = Answering([], [])
    session(server).query("SELECT ';'", "SELECT 2 -- x\n")
    assert server.asked == ["SELECT ';';", "SELECT 2 -- x\n;", ""]


def test_an_answer_that_is_no_text_is_refused() -> None:
    class Odd(Answering):
        def run(self, name: str, command: Command, *, stdin: bytes, timeout: float) -> Completed:
            return Completed(stdout=b"half a pair: \xed\xa0\x80\n" + f"fence-{command.tag}\n".encode(), messages=())

    with pytest.raises(QueryFailed, match="half a pair") as caught:
        session(Odd()).query("SELECT 1")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("mysql ended with exit code 1: ERROR 1045 (28000): Access denied for 'x'", "Access denied for 'x' (1045)"),
        ("mysql ended: ERROR 1064 (42000) at line 3: You have an error", "You have an error (1064)"),
        ("mysql never ended", "mysql never ended"),
    ],
)
def test_a_failure_is_told_in_the_servers_words(said: str, expected: str) -> None:
    class Failing(Answering):
        def run(self, name: str, command: Command, *, stdin: bytes, timeout: float) -> Completed:
            raise ExecFailed(said)

    with pytest.raises(QueryFailed) as caught:
        session(Failing()).query("SELECT 1")
    assert str(caught.value) == expected


# --- names ---


@pytest.mark.parametrize(("name", "text"), [("a", "`a`"), ("a`b", "`a``b`"), ("`", "````"), ("a\nb", "`a\nb`")])
def test_a_name_is_quoted(name: str, text: str) -> None:
    assert quoted(name) == text


@given(texts.filter(lambda name: "\0" not in name))
def test_no_name_ends_its_own_quotes(name: str) -> None:
    text = quoted(name)
    assert text[0] == text[-1] == "`"
    assert text[1:-1].replace("``", "") == name.replace("`", "")


def test_a_name_with_nul_is_refused() -> None:
    with pytest.raises(QueryFailed):
        quoted("a\0b")


# --- who is it ---

ALL = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "PROCESS"]


def connected(
    version: str = "9.7.0",
    *,
    account: str = "root@localhost",
    privileges: list[str] | None = None,
    grants: tuple[str, ...] = (),
    files: dict[str, bytes] | None = None,
    uptime: Rows | None = None,
    schemas: tuple[str, ...] = ("mysql", "shop", "dbguard_swap_test"),
) -> Server:
    user, _, host = account.rpartition("@")
    server = Answering(
        [(version, "/var/lib/mysql/", account, "2026-11-23 12:00:00")],
        [("SQL_MODE", "STRICT"), ("max_allowed_packet", "67108864")],
        [(privilege, f"'{user}'@'{host}'") for privilege in (ALL if privileges is None else privileges)],
        [("Uptime", "3600")] if uptime is None else uptime,
        [(grant,) for grant in grants],
        [(name,) for name in schemas],
        files=files,
    )
    return sql.connect(cast(Containers, server), container(), PROGRAMS, "/s", Login(user="root"))


def test_a_server_says_who_it_is() -> None:
    server = connected(files={"/var/lib/mysql/auto.cnf": b"server-uuid=150dbefa-e738-11f1-8c2a-0242ac110003\n"})
    assert (server.engine, server.version) == ("mysql", "9.7.0")
    assert server.identity == "150dbefa-e738-11f1-8c2a-0242ac110003"
    assert server.started == datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert server.settings == {"sql_mode": "STRICT", "max_allowed_packet": "67108864"}
    assert server.blind_spots == ()


def test_a_restore_that_was_cut_short_is_known_by_its_journal() -> None:
    assert connected().unfinished == ()
    left = ("dbguard_swap_0a1b2c3d", "dbguard_swap_0a1b2c3d_0", "dbguard_swap_0a1b2c3d_old_0")
    assert connected(schemas=("shop", *left)).unfinished == left[:1]


def test_mariadb_keeps_its_identity_elsewhere() -> None:
    server = connected(
        "11.8.9-MariaDB", files={"/var/lib/mysql/aria_log_control": b"\xfe\xfe\x0c\x01" + b"\x07" * 16 + bytes(9)}
    )
    assert (server.engine, server.identity) == ("mariadb", "07" * 16)


def test_an_identity_that_cannot_be_read_is_empty() -> None:
    assert connected().identity == ""


def test_a_start_that_the_server_does_not_tell_is_unknown() -> None:
    assert connected(uptime=[]).started is None


@pytest.mark.parametrize("missing", ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"])
def test_an_account_that_lacks_a_privilege_has_a_blind_spot(missing: str) -> None:
    server = connected(privileges=[one for one in ALL if one != missing])
    assert server.blind_spots == (f"GRANT {missing} ON *.* TO 'root'@'localhost' is missing",)


def test_the_privileges_of_another_account_do_not_count() -> None:
    assert connected(account="a@%", privileges=[]).blind_spots
    assert not connected(account="with@at@10.0.0.%").blind_spots


def test_a_partial_revoke_is_a_blind_spot() -> None:
    server = connected(grants=("GRANT SELECT ON *.* TO `a`@`%`", "REVOKE SELECT ON `secret`.* FROM `a`@`%`"))
    assert len(server.blind_spots) == 1
    assert "revoked" in server.blind_spots[0]
