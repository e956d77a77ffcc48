"""The command line: words in, words out, and an exit code that says what happened."""

from __future__ import annotations

import gc
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import dbguard
from dbguard.cli import dbguard as program
from dbguard.cli import main, output
from dbguard.errors import DbguardError, Interrupted
from tests.unit.stored import DUMPS, Stored

SECRET = "hunter2-not-to-be-seen"
DATABASES = ("hollow", "odd`name; ☃", "shop")


@dataclass(frozen=True, kw_only=True)
class Said:
    code: int
    out: str
    err: str


class Run:
    """Calls the program as the console script does, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._patch = monkeypatch
        self._captured = capfdbinary

    def __call__(self, *arguments: str) -> Said:
        self._patch.setattr(sys, "argv", ["dbguard", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        seen = self._captured.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Said(code=code, out=seen.out.decode(), err=seen.err.decode())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Run:
    """Nothing is configured, no engine answers."""
    for name in [name for name in os.environ if name.startswith(("DBGUARD_", "XDG_", "COMPOSE_", "DOCKER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    monkeypatch.chdir(tmp_path)
    return Run(monkeypatch, capfdbinary)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Stored:
    """Archives, in the storage that the program will use."""
    assert run
    made = Stored(tmp_path)
    monkeypatch.setenv("DBGUARD_STATE", str(made.state))
    monkeypatch.setenv("DBGUARD_STORAGE", made.catalog.url)
    monkeypatch.setenv("DBGUARD_ANSWERING", dbguard.__version__)  # as in the sidecar: ask no other
    return made


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


COMMANDS = dict(commands(program))
VERBATIM = {("compose",), ("docker",), ("docker-compose",)}  # whose --help is of those programs
READABLE = [path for path in COMMANDS if path not in VERBATIM]


# --- help ---


@pytest.mark.parametrize("path", [(), *READABLE], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(run: Run, path: tuple[str, ...], flag: str) -> None:
    said = run(*path, flag)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: dbguard {' '.join(path)}".rstrip())


@pytest.mark.parametrize("path", [p for p in COMMANDS if not isinstance(COMMANDS[p], click.Group)], ids=" ".join)
def test_every_command_shows_an_example(path: tuple[str, ...]) -> None:
    text = COMMANDS[path].help or ""
    examples = [line for line in text.splitlines() if f"dbguard {' '.join(path)}" in line]
    assert examples
    assert "\b" in text, "else click joins the lines"


def test_the_overview_lists_every_command(run: Run) -> None:
    listed = re.findall(r"^  ([\w-]+)  ", run("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert [(name,) for name in listed] == [path for path in COMMANDS if len(path) == 1]


def test_the_version_is_told(run: Run) -> None:
    assert dbguard.__version__ in run("--version").out


# --- wrong usage ---


@pytest.mark.parametrize(
    "line",
    [
        "no-such-command", "--no-such-option", "list --no-such-option", "cat", "cat a b", "backup no-such-command",
        "backup now --database", "completion tcsh",
        "restore a b --latest", "config no-such-command", "discover --project",
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2(run: Run, line: str) -> None:
    said = run(*line.split())
    assert said.code == 2
    assert said.out == ""
    assert said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("line", ["restore shop/db", "restore shop/db --latest --id 2026"])
def test_a_restore_must_be_told_what_to_restore(run: Run, stored: Stored, line: str) -> None:
    stored.put(b"SELECT 1;\n", "shop")
    said = run(*line.split())
    assert said.code == 2
    assert is_one_clear_error(said), said.err


# --- errors ---


def is_one_clear_error(said: Said) -> bool:
    return re.fullmatch(r"dbguard: [^\n]+\n(hint: [^\n]+\n)?", said.err) is not None and said.out == ""


# docker-py drops the socket that it could not connect; it shall be noticed while the warning is off
no_engine = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@no_engine
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list", 69), ("backup now", 69), ("discover", 69), ("run", 69), ("restore shop/db --latest --yes", 69),
        ("--storage ftp://x list", 78), ("--storage file:///nonexistent/dbguard list", 69),
        ("--config missing.toml list", 78),
    ],
)  # fmt: skip
def test_errors_have_their_code_and_one_line(run: Run, line: str, code: int) -> None:
    said = run(*line.split())
    gc.collect()
    assert said.code == code
    assert is_one_clear_error(said), said.err


@no_engine
def test_an_engine_that_does_not_answer_says_so(run: Run) -> None:
    said = run("discover")
    gc.collect()
    assert "Docker Engine does not answer" in said.err
    assert "hint: " in said.err


@pytest.mark.parametrize("line", ["cat 20990101", "list nobody/db", "cat 2026 --database x"])
def test_what_is_not_there_exits_with_1(run: Run, stored: Stored, line: str) -> None:
    stored.put(b"SELECT 1;\n", "shop")
    said = run(*line.split())
    assert said.code == 1
    assert is_one_clear_error(said), said.err


def test_damage_exits_with_4(run: Run, stored: Stored) -> None:
    made = stored.put(b"SELECT 1;\n", "shop")
    stored.data(made).write_bytes(stored.data(made).read_bytes()[:-1] + b"!")
    said = run("cat", made.id)
    assert said.code == 4
    assert "not what was stored" in said.err or "damaged" in said.err
    assert "Traceback" not in said.err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """A command that raises what the list holds."""
    errors: list[BaseException] = []

    def fail() -> None:
        raise errors[0]

    monkeypatch.setattr(type(program), "get_command", lambda *_: click.Command("fail", callback=fail))
    return errors  # type: ignore[return-value]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (Interrupted(15), 143), (click.Abort(), 130)])
def test_a_signal_exits_as_shells_do(run: Run, failing: list[BaseException], error: BaseException, code: int) -> None:
    failing.append(error)
    said = run("fail")
    assert said.code == code
    name = {130: "SIGINT", 143: "SIGTERM"}[code]
    assert said.err.removeprefix("\n") == f"dbguard: stopped by {name}: no unfinished backup was published\n"


def test_an_error_shows_its_hint_and_hides_what_a_terminal_obeys(run: Run, failing: list[BaseException]) -> None:
    failing.append(DbguardError("table \x1b[31m`a\x07b` broke", hint="mend \x1b]0;it"))
    said = run("fail")
    assert said.err == "dbguard: table \\x1b[31m`a\\x07b` broke\nhint: mend \\x1b]0;it\n"


def test_a_traceback_is_shown_on_request_only(
    run: Run, failing: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBGUARD_DEBUG", "")  # so that it is put back after the test
    monkeypatch.delenv("DBGUARD_DEBUG")
    failing.append(DbguardError("it broke"))
    assert "Traceback" not in run("fail").err
    said = run("--debug", "fail")
    assert "Traceback" in said.err
    assert said.err.endswith("dbguard: it broke\n")


# --- list ---


def test_archives_are_listed(run: Run, stored: Stored) -> None:
    older, newer = stored.put(b"SELECT 1;\n", "shop"), stored.put(b"SELECT 2;\n", "shop", "blog", number=1)
    bad = stored.put(b"SELECT 3;\n", number=2, complete=False)
    stored.data(bad).unlink()
    said = run("list")
    assert (said.code, said.err) == (0, "")
    head, *rows = said.out.splitlines()
    assert head.split() == ["ID", "TARGET", "AGE", "SIZE", "SERVER", "STATE", "DATABASES"]
    assert [row.split()[0] for row in rows] == [newer.id, older.id, bad.id]
    assert "complete" in rows[0]
    assert rows[0].endswith("shop, blog")
    assert re.search("damaged +data.sql.zst is missing$", rows[2])


def test_names_cannot_command_the_terminal(run: Run, stored: Stored) -> None:
    stored.put(b"SELECT 1;\n", "\x1b[2J\nfake  row")
    said = run("list")
    assert "\x1b" not in said.out
    assert len(said.out.splitlines()) == 2


def test_a_list_for_programs(run: Run, stored: Stored) -> None:
    made = stored.put(b"SELECT 1;\n", "\x1b☃")
    said = run("list", "--json")
    assert said.err == ""
    answer = json.loads(said.out)
    assert answer["schema_version"] == 1
    assert answer["storages"] == [stored.catalog.url]
    assert (answer["damaged"], answer["unreadable"]) == ([], {})
    [listed] = answer["archives"]
    assert (listed["id"], listed["target"], listed["complete"]) == (made.id, "shop/db", True)
    assert listed["snapshot"] == "2026-11-23T01:30:00Z"
    assert listed["databases"] == ["\x1b☃"]
    assert (listed["copies"], listed["suspicious"]) == ([stored.catalog.url], [])
    assert (listed["held"], listed["confirmed"], listed["verified"]) == (False, False, None)


def test_a_list_of_one_target(run: Run, stored: Stored) -> None:
    stored.put(b"SELECT 1;\n", "shop")
    assert run("list", "shop/db").out == run("list", "db").out == run("list").out


def test_an_empty_storage_is_no_error(run: Run, stored: Stored) -> None:
    assert stored
    said = run("list")
    assert (said.code, said.out) == (0, "")
    assert "no archives" in said.err
    assert json.loads(run("list", "--json").out)["archives"] == []


# --- cat ---


def test_an_archive_is_written_byte_for_byte(run: Run, stored: Stored) -> None:
    sql = (DUMPS / "mysql97.sql").read_bytes()
    made = stored.put(sql, *DATABASES)
    said = run("cat", made.id[:10])
    assert (said.code, said.err) == (0, "")
    assert said.out.encode() == sql


def test_one_database_of_an_archive(run: Run, stored: Stored) -> None:
    made = stored.put((DUMPS / "mysql97.sql").read_bytes(), *DATABASES)
    said = run("cat", made.id, "--database", "odd`name; ☃")
    assert said.code == 0
    assert "CREATE TABLE `t`" in said.out
    assert "`customers`" not in said.out


# --- config and completion ---


def test_settings_are_shown_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dbguard.toml").write_text(f'level = 9\n[targets."shop/db"]\nuser = "u"\npassword = "{SECRET}"\n')
    monkeypatch.setenv("DBGUARD_PASSWORD", SECRET)
    for command in ("show", "check", "schema"):
        said = run("config", command)
        assert said.code == 0
        assert SECRET not in said.out + said.err
    assert json.loads(run("config", "show").out)["settings"]["level"] == 9
    assert "keep_last" in json.loads(run("config", "schema").out)["schema"]["properties"]


def test_a_wrong_setting_exits_with_78(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dbguard.toml").write_text("levle = 9")
    said = run("config", "check")
    assert said.code == 78
    assert said.err.startswith(f"dbguard: {tmp_path}/dbguard.toml: levle: unknown key\nhint: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    said = run("completion", shell)
    assert said.code == 0
    assert "_DBGUARD_COMPLETE" in said.out


# --- numbers and words ---


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.0 GiB"), (2 << 40, "2.0 TiB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert output.size(count) == shown


@pytest.mark.parametrize("text", ["shop", "naïve ☃ 🐬", "a`b\"c'd"])
def test_what_can_be_printed_is_printed_as_it_is(text: str) -> None:
    assert output.printable(text) == text


@pytest.mark.parametrize("text", ["\x1b[31m", "\n", "\t", "\r", "\0", "\x7f", "\x9b", "\u202e", "\udcff", "\u2028"])
def test_what_a_terminal_would_obey_is_not(text: str) -> None:
    assert all(char.isprintable() for char in output.printable(text))
