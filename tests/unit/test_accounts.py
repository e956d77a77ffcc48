"""Accounts as statements: what odd and old servers say of them, and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import accounts
from dbguard.accounts import statements
from dbguard.errors import ArchiveDamaged, QueryFailed
from dbguard.model import Server
from dbguard.sql import Row, Session, quoted

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    ["';\n", "`;\n", "\\", "\\'", "-- accounts completed\n", " TO `x`", "''", "``", '"']
)
PLAIN = " PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT"
HASH = "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"


def server(version: str) -> Server:
    return Server(
        engine="mariadb" if "MariaDB" in version else "mysql", version=version, identity="x", started=None, socket="/s",
        datadir="/d", settings={}, account="root@localhost", blind_spots=(),
    )  # fmt: skip


class Telling:
    """A session whose server tells these texts of each account: its SHOW CREATE USER, and its grants."""

    def __init__(self, *told: tuple[str, str, list[str]], subject: str = "") -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[Row] | Exception] = {}
        self._users: list[Row] = []
        for user, create, grants in told:
            name = statements.named(user, "%") if create else f"`{user}`"
            kind = "N" if create else "Y"
            self._users.append(tuple(part.encode().hex() for part in (user, "%" * bool(create), kind, "", "", subject)))
            self.answers[f"SHOW CREATE USER {name}"] = [(create,)]
            self.answers[f"SHOW GRANTS FOR {name}"] = [(grant,) for grant in grants]

    def query(self, *statements: str, timeout: float = 0) -> list[list[Row]]:
        self.asked += statements
        return [self._answer(one) for one in statements]

    def _answer(self, statement: str) -> list[Row]:
        if "FROM mysql.user ORDER BY" in statement:
            return self._users
        answer = self.answers.get(statement, [])
        if isinstance(answer, Exception):
            raise answer
        return answer


def read(telling: Telling, version: str) -> accounts.Accounts:
    return accounts.read(cast(Session, telling), server(version))


def loadable(found: accounts.Accounts) -> Sequence[str]:
    return [one for one in statements.parsed(found.script) if not one.startswith("SET ")]


# --- the script ---


@given(st.lists(st.tuples(names, names)), st.data())
def test_a_script_is_read_as_it_was_written_or_not_at_all(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    written = [f"CREATE USER IF NOT EXISTS {statements.named(*pair)} COMMENT 'a''; \\'b'" for pair in pairs]
    script = "-- a head; 'with all\n" + "".join(f"{one};\n" for one in written) + "-- accounts completed\n"
    assert statements.parsed(script) == written
    with pytest.raises(ArchiveDamaged):
        statements.parsed(script[: data.draw(st.integers(0, len(script) - 1))])
    with pytest.raises(ArchiveDamaged):
        statements.parsed(f"{script}DROP USER root;\n")


@given(names, names, names)
def test_whom_a_statement_is_about(database: str, user: str, host: str) -> None:
    name, what = statements.named(user, host), f"GRANT SELECT (`a`) ON {quoted(database)}.*"
    assert statements.owner(f"{what} TO {name} WITH GRANT OPTION") == name
    assert statements.owner(f"REVOKE INSERT ON {quoted(database)}.* FROM {name}") == name
    assert statements.owner(f"GRANT {quoted(database)} TO {name}") == name
    assert statements.owner(f"SET DEFAULT ROLE {quoted(database)} FOR {name}") == name
    assert statements.owner(f"CREATE USER IF NOT EXISTS {name} COMMENT ' TO `x`'") == name
    assert statements.displayed(name) == f"'{user}'@'{host}'"


def test_hashes_are_not_shown_by_accident() -> None:
    found = read(Telling(("u", f"CREATE USER `u`@`%` IDENTIFIED BY PASSWORD '{HASH}'", [])), "11.8.9-MariaDB")
    assert HASH in found.script
    assert HASH not in repr(found)


# --- what servers say ---


def test_mysql_57_quotes_no_name_and_has_no_roles() -> None:
    create = f"CREATE USER 'o'brien'@'%' IDENTIFIED WITH 'mysql_native_password' AS '{HASH}' REQUIRE NONE"
    telling = Telling(
        ("o'brien", create, ["GRANT USAGE ON *.* TO 'o'brien'@'%'", "GRANT ALL ON `d`.* TO 'o'brien'@'%'"])
    )
    assert loadable(read(telling, "5.7.44-log")) == [
        f"CREATE USER IF NOT EXISTS `o'brien`@`%` IDENTIFIED WITH 'mysql_native_password' AS '{HASH}' REQUIRE NONE",
        "GRANT ALL ON `d`.* TO `o'brien`@`%`",
    ]
    assert not [one for one in telling.asked if "role" in one or "as_hex" in one or "user_attributes" in one]
    assert "SET SESSION sql_mode = 'NO_AUTO_CREATE_USER'" in telling.asked


@pytest.mark.parametrize("name", ["'root'@'%'", "`root`@`%`"])
def test_no_grant_of_mariadb_carries_a_password(name: str) -> None:
    """It would become that of the root who is there."""
    rest = f"IDENTIFIED BY PASSWORD '{HASH}' REQUIRE SUBJECT 'WITH GRANT OPTION'"
    grants = [f"GRANT ALL PRIVILEGES ON *.* TO {name} {rest} WITH GRANT OPTION MAX_QUERIES_PER_HOUR 3"]
    found = read(Telling(("root", f"CREATE USER {name}", grants)), "10.3.39-MariaDB")
    assert loadable(found)[1:] == ["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"]
    found = read(Telling(("root", f"CREATE USER {name}", [f"GRANT SELECT ON *.* TO {name} {rest}"])), "10.3.39-MariaDB")
    assert loadable(found)[1:] == ["GRANT SELECT ON *.* TO `root`@`%`"]


EVIL = "x'; GRANT ALL ON *.* TO evil; -- "


def test_a_certificate_is_no_way_to_more_rights() -> None:
    """Shown without escapes by MySQL 9.7 and MariaDB 10.11."""
    telling = Telling(("u", f"CREATE USER `u`@`%` REQUIRE SUBJECT '{EVIL}' ACCOUNT LOCK", []), subject=EVIL)
    [create] = loadable(read(telling, "10.11.18-MariaDB"))
    escaped = EVIL.replace("'", "\\'")
    assert create == f"CREATE USER IF NOT EXISTS `u`@`%` REQUIRE SUBJECT '{escaped}' ACCOUNT LOCK"


@pytest.mark.parametrize(
    ("create", "grants"),
    [
        (f"CREATE USER `u`@`%` REQUIRE SUBJECT '{EVIL}'", []),
        ("CREATE USER `u`@`%` COMMENT 'it's'", []),
        ("CREATE USER `other`@`%`", []),
        ("CREATE USER `u`@`%`", ["GRANT ALL ON *.* TO `other`@`%`"]),
        ("CREATE USER `u`@`%`", ["GRANT ALL ON `a;b`;.* TO `u`@`%`"]),
        ("CREATE USER `u`@`%`", ["something new"]),
    ],
)
def test_what_cannot_be_understood_is_skipped_with_a_word(create: str, grants: list[str]) -> None:
    found = read(Telling(("u", create, grants), ("v", "CREATE USER `v`@`%`", [])), "11.8.9-MariaDB")
    assert found.names == ("'v'@'%'",)
    assert found.skipped == ("'u'@'%': the server shows it as no server could load it",)
    assert "`u`" not in found.script
    assert "evil" not in found.script


def test_a_role_of_mysql_is_made_as_a_role() -> None:
    """A password policy refuses an account without a password."""
    role = (
        f"CREATE USER `u`@`%` IDENTIFIED WITH 'caching_sha2_password' REQUIRE NONE PASSWORD EXPIRE ACCOUNT LOCK{PLAIN}"
    )
    own = "DEFAULT ROLE `a`@`%`,`b DEFAULT ROLE``c`@`x` REQUIRE NONE"
    assert loadable(read(Telling(("u", role, [])), "8.4.2")) == ["CREATE ROLE IF NOT EXISTS `u`@`%`"]
    altered = read(Telling(("u", f"{role} COMMENT ' DEFAULT ROLE `r`@`%`'", [])), "8.4.2")
    assert loadable(altered)[0].startswith("CREATE USER IF NOT EXISTS `u`@`%` IDENTIFIED")
    assert loadable(altered)[0].endswith("COMMENT ' DEFAULT ROLE `r`@`%`'")
    assert loadable(read(Telling(("u", role.replace("REQUIRE NONE", own), [])), "8.4.2")) == [
        "CREATE ROLE IF NOT EXISTS `u`@`%`"
    ]
    assert loadable(read(Telling(("u", role, [])), "5.7.44"))[0].startswith("CREATE USER")


def test_a_mariadb_role_owns_only_its_own_grants() -> None:
    grants = ["GRANT `b` TO `a`", "GRANT SELECT ON `d`.* TO `a`", "GRANT INSERT ON `d`.* TO `b`"]
    found = read(Telling(("a", "", grants)), "11.8.9-MariaDB")
    assert loadable(found) == ["CREATE ROLE IF NOT EXISTS `a`", "GRANT SELECT ON `d`.* TO `a`"]


def test_privileges_that_another_release_may_not_know_come_one_by_one_and_revokes_last() -> None:
    told = ["GRANT A_B,SYSTEM_USER ON *.* TO `u`@`%` WITH GRANT OPTION", "REVOKE INSERT ON `d`.* FROM `u`@`%`"]
    later = ["GRANT SELECT, INSERT ON *.* TO `v`@`%`"]
    found = read(Telling(("u", "CREATE USER `u`@`%`", told), ("v", "CREATE USER `v`@`%`", later)), "9.7.4")
    assert loadable(found)[2:] == [
        "GRANT A_B ON *.* TO `u`@`%` WITH GRANT OPTION",
        "GRANT SYSTEM_USER ON *.* TO `u`@`%` WITH GRANT OPTION",
        "GRANT SELECT, INSERT ON *.* TO `v`@`%`",
        "REVOKE INSERT ON `d`.* FROM `u`@`%`",
    ]


# --- failures ---


def garbled() -> QueryFailed:
    error = QueryFailed("the server's answer is not valid UTF-8: b'secret'")
    error.__cause__ = UnicodeDecodeError("utf-8", b"secret\xff", 6, 7, "invalid")
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [(garbled(), "the server's answer is no text"), (QueryFailed("gone (1141)", number=1141), "gone (1141)")],
)
def test_one_odd_account_hides_no_other(error: QueryFailed, why: str) -> None:
    telling = Telling(*((user, f"CREATE USER `{user}`@`%`", []) for user in "abcdefg"))
    telling.answers["SHOW GRANTS FOR `c`@`%`"] = error
    found = read(telling, "9.7.4")
    assert found.names == tuple(f"'{user}'@'%'" for user in "abdefg")
    assert found.skipped == (f"'c'@'%': {why}",)


@pytest.mark.parametrize("number", [None, 2002, 2013])
def test_a_server_that_is_gone_is_asked_once(number: int | None) -> None:
    telling = Telling(*((user, f"CREATE USER `{user}`@`%`", []) for user in "abc"))
    telling.answers["SHOW GRANTS FOR `a`@`%`"] = QueryFailed("lost", number=number)
    with pytest.raises(QueryFailed, match="lost"):
        read(telling, "9.7.4")
    assert telling.asked.count("SHOW GRANTS FOR `a`@`%`") == 1
