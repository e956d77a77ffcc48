"""Accounts, roles and grants move to another server: everybody can log in there, and may do what they might before."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dbguard import accounts, sql
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import ArchiveDamaged
from dbguard.model import Login, Programs
from dbguard.model import Server as Answered
from tests.servers import KINDS, PASSWORD, Server, Servers, remove_container

pytestmark = pytest.mark.docker

OTHER = "another'root\\\"password"
SIMPLE = "SET SESSION sql_mode = '';\n"
DATA = """
CREATE DATABASE d; CREATE TABLE d.t (a INT, b INT); CREATE PROCEDURE d.p() SELECT 1;
CREATE FUNCTION d.f() RETURNS INT DETERMINISTIC NO SQL RETURN 1; CREATE DATABASE `b``q`; CREATE DATABASE `x;\ny`;
"""
NAMES = r"""
CREATE USER 'o''b\\r`i"en'@'%' IDENTIFIED BY 'x'; CREATE USER 'a;\nDROP USER b'@'%' IDENTIFIED BY 'x';
CREATE USER 'h'@'ho\ns`t''s' IDENTIFIED BY 'x'; CREATE USER 'ü❤ sp'@'10.0.0.0/255.0.0.0' IDENTIFIED BY 'x';
CREATE USER ''@'elsewhere'; CREATE USER '%'@'%.example.com' IDENTIFIED BY 'x'; CREATE USER 'p'@'192.168.1.%';
CREATE USER '12345678901234567890123456789012'@'%' IDENTIFIED BY 'x'; CREATE USER 'select'@'::1' IDENTIFIED BY 'x';
CREATE USER '-- x'@'%' IDENTIFIED BY 'x'; CREATE USER 'c\r\tr'@'%' IDENTIFIED BY 'x';
CREATE USER 'it''s -- accounts completed\n'@'%';
CREATE USER twin@'%' IDENTIFIED BY 'one'; CREATE USER twin@localhost IDENTIFIED BY 'two';
"""
BOTH = (
    NAMES
    + r"""
CREATE USER cert@'%' REQUIRE SUBJECT '/CN=O''Reilly\\x' AND ISSUER '/C=a"b' AND CIPHER 'AES''256';
CREATE USER x509@'%' REQUIRE X509; CREATE USER locked@'%' IDENTIFIED BY 'x' ACCOUNT LOCK;
CREATE USER expired@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE; CREATE USER never@'%' PASSWORD EXPIRE NEVER;
CREATE USER limited@'%' IDENTIFIED BY 'x' REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 3 MAX_USER_CONNECTIONS 2;
CREATE USER dates@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE INTERVAL 3 DAY;
CREATE USER app@'%' IDENTIFIED BY 'x'; CREATE USER rolled@'%' IDENTIFIED BY 'x';
CREATE ROLE reader, `wri'te``r`, chief; GRANT reader TO chief; GRANT chief TO `wri'te``r` WITH ADMIN OPTION;
GRANT reader TO rolled@'%'; GRANT `wri'te``r` TO rolled@'%'; GRANT chief TO app@'%' WITH ADMIN OPTION;
GRANT SELECT (a), INSERT (b, a), UPDATE ON d.t TO reader; GRANT EXECUTE ON PROCEDURE d.p TO chief WITH GRANT OPTION;
GRANT EXECUTE, ALTER ROUTINE ON FUNCTION d.f TO app@'%'; GRANT SELECT ON `my\_db%`.* TO app@'%';
GRANT ALL ON `b``q`.* TO 'o''b\\r`i"en'@'%' WITH GRANT OPTION; GRANT ALL ON `x;\ny`.* TO 'a;\nDROP USER b'@'%';
GRANT RELOAD, PROCESS ON *.* TO limited@'%' WITH GRANT OPTION; GRANT USAGE ON *.* TO '-- x'@'%' WITH GRANT OPTION;
GRANT PROXY ON app@'%' TO 'o''b\\r`i"en'@'%' WITH GRANT OPTION; GRANT PROXY ON 'not there'@'h' TO twin@'%';
CREATE TABLE d.gone (a INT); GRANT SELECT ON d.gone TO app@'%';
"""
)
MYSQL = r"""
SET DEFAULT ROLE reader, `wri'te``r` TO rolled@'%';
CREATE ROLE 'r 2'@'x'; GRANT 'r 2'@'x' TO limited@'%';
CREATE USER note@'%' IDENTIFIED BY 'x' FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 COMMENT 'it''s \\ "q"\n;\nDROP';
CREATE USER attribute@'%' ATTRIBUTE '{"a": "o''b\\"c"}'; CREATE USER nowhere@''; CREATE USER sha@'%' IDENTIFIED WITH
sha256_password BY 'x'; CREATE USER old@'%' PASSWORD HISTORY 3 PASSWORD REUSE INTERVAL 4 DAY PASSWORD REQUIRE CURRENT;
CREATE USER random@'%' IDENTIFIED BY RANDOM PASSWORD;
GRANT BACKUP_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO app@'%' WITH GRANT OPTION; GRANT ROLE_ADMIN ON *.* TO chief;
GRANT SELECT, INSERT ON *.* TO twin@'%'; REVOKE INSERT ON d.* FROM twin@'%'; GRANT UPDATE ON d.* TO twin@'%';
"""
MARIADB = r"""
SET DEFAULT ROLE `wri'te``r` FOR rolled@'%';
CREATE ROLE stranger WITH ADMIN app@'%'; CREATE ROLE lower WITH ADMIN reader;
CREATE USER via@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR unix_socket;
CREATE USER invalid@'%' IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket;
CREATE USER socket@'%' IDENTIFIED VIA unix_socket; CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('x');
CREATE USER slow@'%' IDENTIFIED BY 'x' WITH MAX_STATEMENT_TIME 1.5 PASSWORD EXPIRE INTERVAL 3 DAY ACCOUNT LOCK;
CREATE SEQUENCE d.s; GRANT SELECT, INSERT ON d.s TO app@'%'; GRANT BINLOG ADMIN ON *.* TO app@'%' WITH GRANT OPTION;
GRANT INSERT ON d.* TO PUBLIC;
"""
SINCE_118 = "GRANT SHOW CREATE ROUTINE ON d.* TO app@'%';"
SHOWS = """
SELECT CONCAT('SHOW GRANTS FOR ', IF(ROLE, IF(user = 'PUBLIC', user, CONCAT('`', REPLACE(user, '`', '``'), '`')),
  CONCAT(QUOTE(user), '@', QUOTE(host))), ';',
  IF(ROLE, '', CONCAT('SHOW CREATE USER ', QUOTE(user), '@', QUOTE(host), ';')))
  FROM mysql.user WHERE user NOT LIKE 'mysql.%' AND user <> 'mariadb.sys' ORDER BY user, host;
"""


def alphabet() -> str:
    return string.ascii_letters + string.digits + string.punctuation + " äß❤中😀"


def passwords() -> dict[str, str]:
    """Always the same hundred. A client takes no password that starts or ends with a space from its environment."""
    dice = random.Random(7)
    return {f"user{n}": "p" + "".join(dice.choices(alphabet(), k=dice.randint(1, 28))) + "." for n in range(100)}


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def asked(server: Server, user: str = "root", password: str = PASSWORD) -> tuple[sql.Session, Answered]:
    containers = Containers.connect()
    login = Login(user=user, password=password)
    programs = Programs(dump="", dump_version="", client=server.family, zstd=False)
    socket = "/run/mysqld/mysqld.sock"
    answered = sql.connect(containers, containers.inspect(server.container), programs, socket, login)
    argv = ENGINES[answered.engine].client(server.family, socket)
    return sql.Session(containers=containers, container=server.container, argv=argv, login=login), answered


def shows(server: Server, *options: str) -> list[str]:
    """What the server says of all accounts, one line each, but no hash of root's. Nothing goes through dbguard."""
    role = "is_role = 'Y'" if server.family == "mariadb" else "FALSE"
    questions = server.client(SIMPLE + SHOWS.replace("ROLE", role), "--raw", *options).decode()
    hexadecimal = "SET SESSION print_identified_with_as_hex = ON;\n" if server.family == "mysql" else ""
    lines = server.client(SIMPLE + hexadecimal + questions, *options).decode().splitlines()
    return sorted(line for line in lines if "`root`" not in line or not ("AS " in line or "PASSWORD '" in line))


def root_hash(server: Server, *options: str) -> bytes:
    return server.client("SELECT host, authentication_string FROM mysql.user WHERE user = 'root' ORDER BY 1", *options)


@dataclass(frozen=True)
class Moved:
    source: Server
    target: Server
    before: list[str]
    root: bytes
    read: accounts.Accounts
    loaded: accounts.Loaded

    def on_target(self, text: str, user: str = "root", password: str = OTHER) -> str:
        return self.target.client(text, f"--password={password}", user=user).decode()


@pytest.fixture(scope="module", params=KINDS)
def moved(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Moved]:
    kind = request.param
    more = ("--partial-revokes=ON",) if kind.startswith("mysql") else ("--plugin-load-add=auth_ed25519",)
    source = servers.fresh(kind, *more, "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES")
    target = servers.fresh(kind, *more, "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES")
    created = "".join(f"CREATE USER {name} IDENTIFIED BY {literal(word)};\n" for name, word in passwords().items())
    own = {"mysql97": MYSQL, "mariadb118": MARIADB + SINCE_118, "mariadb1011": MARIADB}[kind]
    source.sql(SIMPLE + DATA + BOTH + own + created)
    sequence = "CREATE SEQUENCE d.s;" if kind.startswith("mariadb") else ""
    target.sql(f"{SIMPLE}{DATA}{sequence} CREATE USER app@'%' IDENTIFIED BY 'kept'; ALTER USER root@localhost "
               f"IDENTIFIED BY {literal(OTHER)};")  # fmt: skip
    root = root_hash(target, f"--password={OTHER}")
    read = accounts.read(*asked(source))
    loaded = accounts.load(*asked(target, password=OTHER), read.script)
    yield Moved(source, target, shows(source), root, read, loaded)
    for server in (source, target):
        remove_container(server.container)


GONE = "GRANT SELECT ON `d`.`gone` TO `app`@`%`"


def test_grants_are_as_they_were(moved: Moved) -> None:
    after = shows(moved.target, f"--password={OTHER}")
    kept = [line for line in moved.before if "CREATE USER `app`" not in line and line != GONE]
    changed = [line for line in after if "CREATE USER `app`" not in line]
    if moved.source.family == "mariadb":  # its SHOW GRANTS repeats the password
        kept, changed = ([x for x in y if "*.* TO `app`@" not in x] for y in (kept, changed))
    assert changed == kept
    assert len(after) > 150, "else this test compares nothing"


def test_everybody_is_named(moved: Moved) -> None:
    assert moved.read.skipped == ()
    count = moved.source.sql(
        "SELECT COUNT(*) FROM mysql.user WHERE user NOT LIKE 'm%.s%' AND user NOT IN ('PUBLIC', 'mysql.infoschema')"
    )
    assert len(moved.read.names) == int(count)
    assert {"'user7'@'%'", "'o'b\\r`i\"en'@'%'", "''@'elsewhere'"} <= {*moved.read.names}
    assert {*moved.loaded.created} | {*moved.loaded.existing} == {*moved.read.names}
    assert {*moved.loaded.existing} == {"'app'@'%'", "'root'@'localhost'", "'root'@'%'"}


def test_hashes_are_text(moved: Moved) -> None:
    """Those of MySQL hold bytes that an editor or a terminal would damage."""
    assert not re.search(r"(?:AS|BY PASSWORD|USING) '[^']*[\x00-\x1f\x7f]", moved.read.script)


def test_everybody_can_log_in(moved: Moved) -> None:
    words = passwords() | {
        "o'b\\r`i\"en": "x",
        "a;\nDROP USER b": "x",
        "twin": "two",
        "app": "kept",
        "-- x": "x",
        "c\r\tr": "x",
    }
    if moved.source.family == "mysql":
        words |= {"sha": "x"}
    for user, word in list(words.items()):
        assert moved.on_target("SELECT 1", user=user, password=word) == "1\n", user


def test_existing_accounts_keep_their_passwords(moved: Moved) -> None:
    assert root_hash(moved.target, f"--password={OTHER}") == moved.root
    assert root_hash(moved.source) != moved.root


def test_the_default_role_is_on_at_login(moved: Moved) -> None:
    roles = moved.on_target("SELECT CURRENT_ROLE()", user="rolled", password="x")
    assert "wri'te" in roles
    assert moved.on_target("SELECT a FROM d.t", user="rolled", password="x") == ""


def test_one_failure_is_named_and_keeps_nothing_else_out(moved: Moved) -> None:
    assert len(moved.loaded.failed) == 1
    assert moved.loaded.failed[0].startswith("'app'@'%': GRANT SELECT ON `d`.`gone`: ")
    assert "(1146)" in moved.loaded.failed[0]


def test_a_second_time_changes_nothing(moved: Moved) -> None:
    before = shows(moved.target, f"--password={OTHER}")
    again = accounts.load(*asked(moved.target, password=OTHER), moved.read.script)
    assert again.created == ()
    assert again.failed == moved.loaded.failed
    assert {*again.existing} == {*moved.read.names}
    assert shows(moved.target, f"--password={OTHER}") == before


def test_the_script_by_hand_harms_no_account(moved: Moved) -> None:
    """With --force, for in MariaDB root may not grant again those roles that it is not the admin of."""
    root = root_hash(moved.source)
    moved.source.run(
        "sh", "-c", f"{moved.source.family} --force --binary-mode || true", stdin=moved.read.script.encode()
    )
    assert {*shows(moved.source)} == {*moved.before}  # root's PROXY is there twice: '' and '%' are the same host
    assert root_hash(moved.source) == root


def test_what_was_moved_reads_the_same(moved: Moved) -> None:
    """Also to a reader with no more rights than it needs."""
    moved.source.sql(f"{SIMPLE}CREATE USER sees@'%' IDENTIFIED BY 'x'; GRANT SELECT ON mysql.* TO sees@'%';")
    try:
        seen = accounts.read(*asked(moved.source, "sees", "x"))
        assert seen == accounts.read(*asked(moved.source))
        assert set(moved.read.script.splitlines()) < set(seen.script.splitlines())
    finally:
        moved.source.sql("DROP USER sees@'%'")


@pytest.mark.parametrize("grant", ["USAGE ON *.*", "SELECT ON d.*", "SELECT (user, host) ON mysql.user"])
def test_who_may_not_read_them_gets_nothing_and_the_reason(moved: Moved, grant: str) -> None:
    moved.source.sql(f"{SIMPLE}CREATE USER blind@'%' IDENTIFIED BY 'x'; GRANT {grant} TO blind@'%';")
    try:
        seen = accounts.read(*asked(moved.source, "blind", "x"))
    finally:
        moved.source.sql("DROP USER blind@'%'")
    assert (seen.script, seen.names) == ("", ())
    assert seen.skipped[0].startswith("all accounts: SELECT command denied to user 'blind'@")


def test_a_cut_script_is_refused_before_anything_runs(moved: Moved) -> None:
    session, server = asked(moved.target, password=OTHER)
    script = moved.read.script.replace(
        "SET SESSION sql_quote", "CREATE ROLE IF NOT EXISTS `new`;\nSET SESSION sql_quote"
    )
    assert "`new`" in script
    for at in [0, 1, 50, *range(100, len(script), len(script) // 20), len(script) - 1]:
        with pytest.raises(ArchiveDamaged, match="cut or damaged"):
            accounts.load(session, server, script[:at])
    assert moved.on_target("SELECT user FROM mysql.user WHERE user = 'new'") == ""


def test_an_account_that_cannot_be_made_is_not_made_by_its_grants(moved: Moved) -> None:
    """MariaDB's GRANT would make one without a password. And a syntax error quotes the statement."""
    session, server = asked(moved.target, password=OTHER)
    word = "VIA nosuch USING" if moved.target.family == "mariadb" else "WITH nosuch AS"
    script = (
        f"CREATE USER IF NOT EXISTS `un``made`@`%` IDENTIFIED {word} 'secret-hash';\n"
        "CREATE USER IF NOT EXISTS `odd\nname`@`%` IDENTIFIED WRONGLY 'secret-hash';\n"
        "GRANT SELECT ON *.* TO `un``made`@`%`;\nGRANT SELECT ON *.* TO `odd\nname`@`%`;\n"
        "CREATE USER IF NOT EXISTS `made`@`%`;\n-- accounts completed\n"
    )
    loaded = accounts.load(session, server, script)
    assert loaded.created == ("'made'@'%'",)
    unmade, odd = loaded.failed
    assert unmade.startswith("'un`made'@'%': ")
    assert odd.startswith("'odd\nname'@'%': You have an error in your SQL syntax")
    assert "secret" not in unmade + odd
    assert moved.on_target("SELECT user FROM mysql.user WHERE user LIKE '%made' OR user LIKE 'odd%'") == "made\n"
    moved.on_target("DROP USER made@'%'")


def test_second_passwords_are_missed(moved: Moved) -> None:
    if moved.source.family != "mysql":
        pytest.skip("only MySQL has them")
    moved.source.sql("ALTER USER user1@'%' IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD")
    seen = accounts.read(*asked(moved.source))
    moved.source.sql("ALTER USER user1@'%' DISCARD OLD PASSWORD")
    assert seen.skipped == ("'user1'@'%': its second password, which MySQL does not show",)


def test_one_odd_account_hides_no_other(moved: Moved) -> None:
    """One that is in the table and not in the server's memory."""
    table = "global_priv" if moved.source.family == "mariadb" else "user"
    columns = "host, user" if table == "global_priv" else "host, user, ssl_cipher, x509_issuer, x509_subject"
    values = "'%', 'ghost'" if table == "global_priv" else "'%', 'ghost', '', '', ''"
    moved.source.sql(f"INSERT INTO mysql.{table} ({columns}) VALUES ({values})")
    try:
        seen = accounts.read(*asked(moved.source))
    finally:
        moved.source.sql(f"DELETE FROM mysql.{table} WHERE user = 'ghost'")
    assert len(seen.skipped) == 1
    assert seen.skipped[0].startswith("'ghost'@'%': ")
    assert {*moved.read.names} <= {*seen.names}
