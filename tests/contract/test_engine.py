"""The promise in engines.Engine, kept by every engine in ENGINES. Whether a server agrees, tests/e2e proves."""

from __future__ import annotations

import pytest

from dbguard.archive import Database, Table
from dbguard.command import OPTION_FILE
from dbguard.engines import ENGINES, Engine, engine_of
from dbguard.engines.mysql import version_number
from dbguard.errors import UsageError
from dbguard.model import Server

VERSIONS = {"mysql": ("5.7.44", "8.0.36", "8.4.2", "9.7.0", "26.1.0"), "mariadb": ("10.6.18", "10.11.18", "11.8.9")}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


def server(engine: Engine, version: str) -> Server:
    return Server(
        engine=engine.name, version=version, identity="x", started=None, socket="/run/my sql.sock", datadir="/d",
        settings={}, account="root@localhost", blind_spots=(),
    )  # fmt: skip


HOSTILE = ("shop", "--result-file=/x", "-rf", "a b", "`", "☃", "new\nline", "--", "mysql")


def dump(engine: Engine, version: str, *names: str, skip: tuple[tuple[str, str], ...] = ()) -> tuple[str, ...]:
    table = Table(name="t", kind="SYSTEM VERSIONED", engine="InnoDB")
    databases = [Database(name=name, create="", tables=(table,)) for name in names]
    return engine.dump("the-dump", server(engine, version), databases, skip)


def each(engine: Engine) -> list[tuple[str, ...]]:
    return [dump(engine, version, *HOSTILE) for version in VERSIONS[engine.name]]


def test_every_engine_has_versions_here() -> None:
    assert VERSIONS.keys() == ENGINES.keys()


def test_an_engine_is_found_under_its_own_name(engine: Engine) -> None:
    assert ENGINES[engine.name] is engine


# --- dump ---


def test_the_login_comes_first(engine: Engine) -> None:
    """MySQL's programs read --defaults-file only there, and else the container's own option files."""
    for argv in [*each(engine), engine.client("the-dump", "/s")]:
        assert argv[:2] == ("the-dump", OPTION_FILE)
        assert not [word for word in argv if "password" in word or word.startswith(("-p", "--user"))]


@pytest.mark.fault(44)
def test_names_of_databases_are_no_options(engine: Engine) -> None:
    for argv in each(engine):
        at = argv.index("--databases")
        assert argv[at + 1 :] == ("--", *HOSTILE)


def test_one_consistent_snapshot_of_everything(engine: Engine) -> None:
    wanted = {"--single-transaction", "--routines", "--events", "--triggers", "--hex-blob", "--tz-utc", "--opt"}
    for argv in each(engine):
        assert wanted <= set(argv)
        assert "--default-character-set=utf8mb4" in argv
        assert "--socket=/run/my sql.sock" in argv


def test_nothing_that_hides_a_failure_or_the_last_line(engine: Engine) -> None:
    for argv in [*each(engine), engine.client("c", "/s")]:
        before = argv[: argv.index("--")] if "--" in argv else argv
        assert not {"--force", "-f", "--skip-comments", "--compact", "--skip-opt", "--flush-logs", "-F"} & set(before)


def test_views_can_be_left_out(engine: Engine) -> None:
    argv = dump(engine, VERSIONS[engine.name][-1], "shop", skip=(("shop", "a view"), ("shop", "b.c")))
    assert {"--ignore-table=shop.a view", "--ignore-table=shop.b.c"} <= set(argv[: argv.index("--")])


def test_a_view_that_cannot_be_named_is_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match=r"my\.shop"):
        dump(engine, VERSIONS[engine.name][-1], "my.shop", skip=(("my.shop", "v"),))


@pytest.mark.parametrize(
    ("name", "version", "option", "expected"),
    [
        ("mysql", "8.0.36", "--column-statistics=0", True),
        ("mysql", "5.7.44", "--column-statistics=0", False),
        ("mysql", "9.7.0", "--set-gtid-purged=OFF", True),
        ("mariadb", "11.8.9", "--set-gtid-purged=OFF", False),
        ("mariadb", "11.8.9", "--column-statistics=0", False),
        ("mariadb", "11.8.9", "--dump-history", True),
        ("mariadb", "10.6.18", "--dump-history", False),
        ("mysql", "9.7.0", "--dump-history", False),
    ],
)
def test_options_that_only_some_know(name: str, version: str, option: str, expected: bool) -> None:
    """One that a program does not know ends it with code 2 or 7."""
    assert (option in dump(ENGINES[name], version, "shop")) is expected


# --- client ---


def test_the_client_takes_every_byte_as_it_is(engine: Engine) -> None:
    argv = engine.client("mysql", "/run/s")
    assert {"--binary-mode", "--comments", "--batch", "--skip-column-names", "--socket=/run/s"} <= set(argv)
    assert "--default-character-set=utf8mb4" in argv


# --- messages ---


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-- Warning: column statistics not supported by the server.",
        "mysqldump: Deprecated program name. It will be removed in a future release, use 'mariadb-dump' instead",
        "mysqldump: [Warning] --opt is deprecated and will be removed in a future version.",
    ],
)
def test_messages_that_mean_no_harm(engine: Engine, line: str) -> None:
    assert engine.known_message(line)


@pytest.mark.parametrize(
    "line",
    [
        "mysqldump: Got error: 1045: Access denied for user 'root'@'localhost' when trying to connect",
        "mysqldump: Error 2013: Lost connection to server during query when dumping table `t` at row: 7",
        "mysqldump: Couldn't execute 'SHOW FUNCTION STATUS': View 'a.b' references invalid table(s)",
        "mysqldump: [ERROR] unknown option '--tz-utcx'.",
        "mysqldump: Error: 'Access denied; you need the PROCESS privilege' when trying to dump tablespaces",
        "Killed",
        "sh: 1: mysqldump: not found",
        "zstd: error 25 : Write error : cannot write block : No space left on device",
        "Warning",
        "x",
    ],
)
def test_every_other_message_fails_a_backup(engine: Engine, line: str) -> None:
    assert not engine.known_message(line)


# --- identity ---

FILES = {
    "mysql": (
        b"[auto]\nserver-uuid=150dbefa-e738-11f1-8c2a-0242ac110003\n",
        "150dbefa-e738-11f1-8c2a-0242ac110003",
    ),
    "mariadb": (b"\xfe\xfe\x0c\x01" + bytes(range(16)) + bytes(32), bytes(range(16)).hex()),
}


def test_a_data_directory_is_known_by_its_file(engine: Engine) -> None:
    data, identity = FILES[engine.name]
    assert engine.identity(data) == identity


def test_a_file_of_something_else_identifies_nothing(engine: Engine) -> None:
    data, _ = FILES[engine.name]
    others = [file for name, (file, _) in FILES.items() if name != engine.name]
    for other in [b"", b"\n", data[:15], b"\0" * 100, b"server-uuid=short\n", *others]:
        assert engine.identity(other) == ""


# --- which engine ---


@pytest.mark.parametrize(
    ("version", "name", "number"),
    [
        ("9.7.0", "mysql", (9, 7, 0)),
        ("8.0.36-0ubuntu0.22.04.1", "mysql", (8, 0, 36)),
        ("8.0.36-28", "mysql", (8, 0, 36)),
        ("26.1.0", "mysql", (26, 1, 0)),
        ("11.8.9-MariaDB-ubu2404", "mariadb", (11, 8, 9)),
        ("5.5.5-10.6.1-MariaDB-1:10.6.1+maria~focal", "mariadb", (10, 6, 1)),
        ("10.11.18-MariaDB-0+deb12u1-log", "mariadb", (10, 11, 18)),
        ("nonsense", "mysql", ()),
    ],
)
def test_a_server_is_known_by_its_own_words(version: str, name: str, number: tuple[int, ...]) -> None:
    assert engine_of(version).name == name
    assert version_number(version) == number


# --- what does not come back ---


@pytest.mark.parametrize("text", ["BEGIN END", "SELECT ';'; -- comment\n", "SELECT '-- text'", "/* -- */", "SELECT 1"])
def test_most_texts_are_no_obstacle(engine: Engine, text: str) -> None:
    for version in VERSIONS[engine.name]:
        assert engine.obstacle(server(engine, version), "procedure", text, "") is None


@pytest.mark.parametrize(
    ("name", "version", "kind", "text", "mode", "why"),
    [
        ("mysql", "9.7.4", "event", "BEGIN SELECT ';;'; END", "", "';;'"),
        ("mysql", "9.7.4", "procedure", "BEGIN SELECT ';;'; END", "", None),
        ("mysql", "9.7.4", "trigger", "SET @a = 1 -- done", "", "line comment"),
        ("mysql", "9.7.4", "trigger", "SET @a = 1 # done", "", "line comment"),
        ("mysql", "9.7.4", "trigger", "SET @a = '-- done'", "", None),
        ("mysql", "9.7.4", "trigger", "SET @a = 1-- done\n", "", None),
        ("mysql", "9.7.4", "trigger", r"SET @a = '\' -- done", "NO_BACKSLASH_ESCAPES", "line comment"),
        ("mariadb", "10.11.18", "event", "SELECT ';;'", "", "';;'"),
        ("mariadb", "11.8.9", "event", "SELECT ';;'", "", None),
        ("mariadb", "11.8.9", "trigger", "SET @a = 1 -- done", "", None),
    ],
)
def test_texts_that_a_dump_program_cannot_carry(
    name: str, version: str, kind: str, text: str, mode: str, why: str | None
) -> None:
    found = ENGINES[name].obstacle(server(ENGINES[name], version), kind, text, mode)  # type: ignore[arg-type]
    assert (found is None) == (why is None)
    assert why is None or why in str(found)
