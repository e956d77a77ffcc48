"""The script around every program in a container, run here by the shells that containers have."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dbguard.command import OPTION_FILE, Command
from dbguard.errors import ConfigError
from dbguard.model import Login

SHELLS = {
    "dash": ["dash"],  # Debian, Ubuntu: the mariadb images
    "bash": ["bash", "--posix"],  # Oracle Linux, under the name sh: the mysql images
    "busybox": ["busybox", "sh"],  # Alpine
}
PATH = {"PATH": os.environ["PATH"]}
NOBODY = Login(user="root")
READ_LOGIN = ("cat", OPTION_FILE.removeprefix("--defaults-file="))
"""In place of a MySQL program: shows what one would read."""


PRESENT = [name for name, words in SHELLS.items() if shutil.which(words[0])]


@pytest.fixture(params=PRESENT)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return SHELLS[request.param]


def test_there_are_shells_to_test_with() -> None:
    assert {"dash", "bash"} <= set(PRESENT)


@dataclass(frozen=True, kw_only=True)
class Ended:
    stdout: bytes
    stderr: str
    code: int
    pid: int

    def said(self, command: Command) -> list[str]:
        """The script's own lines, without their tag."""
        return [line.removeprefix(f"dbguard:{command.tag}:") for line in self.stderr.splitlines()]


def argv(shell: list[str], command: Command) -> list[str]:
    called, *rest = command.exec_argv
    assert called == "sh"
    return [*shell, *rest]


def start(words: list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """As the engine starts an exec: in a session of its own."""
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=env, start_new_session=True, stdin=pipe, stdout=pipe, stderr=pipe)


def write_login(process: subprocess.Popen[bytes], command: Command) -> None:
    assert process.stdin is not None
    process.stdin.write(command.first_line)
    process.stdin.flush()


def run(shell: list[str], command: Command, *, env: Mapping[str, str] = PATH, stdin: bytes = b"") -> Ended:
    """To the end. Our end of stdin stays open so long, unless the program is fed from it."""
    with start(argv(shell, command), env) as process:
        write_login(process, command)
        if command.feed:
            stdout, stderr = process.communicate(stdin, timeout=20)
        else:
            assert process.stdout is not None
            assert process.stderr is not None
            stdout, stderr = process.stdout.read(), process.stderr.read()
        return Ended(stdout=stdout, stderr=stderr.decode(), code=process.wait(20), pid=process.pid)


def group_is_gone(group: int) -> bool:
    """Of its processes none runs; zombies wait only for this machine's process 1."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group, *_ = file.read_text().rpartition(")")[2].split()
            states += [state] if int(of_group) == group else []
    return all(state in "ZX" for state in states)


def soon(happened: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
    return happened()


# --- the login ---


def options_in(text: str) -> dict[str, str]:
    """As the MySQL programs read an option file: mysys/my_default.cc, search_default_file_with_ext()."""
    found = {}
    for line in text.splitlines():
        key, equals, value = _without_comment(line).strip(" \t").partition("=")
        value = value.strip(" \t")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if equals:
            found[key.rstrip()] = re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), value)
    return found


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "s": " ", '"': '"', "'": "'", "\\": "\\"}


def _without_comment(line: str) -> str:
    quote = ""
    escape = False
    for at, char in enumerate(line):
        if char in "'\"" and not escape:
            quote = char if not quote else "" if quote == char else quote
        if char == "#" and not quote:
            return line[:at]
        escape = bool(quote) and char == "\\" and not escape
    return line


SPECIAL = "'\"\\$`#;&|<>(){}[]*?!~=%@^ \t"
secrets = st.text(st.sampled_from(SPECIAL) | st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30)
hostile = [
    "", " ", " leading and trailing ", "\ttab\t", "#hash", "a#b", "a'b", 'a"b', "'", '"', '"quoted"', "'quoted'", "\\",
    "ends in\\", "\\n\\t\\s\\\\", '\\"', "$HOME", "${HOME}", "$(id)", "`id`", "$'x'", "%s%n%d", "-n", "-e \\x41",
    "password=x", "[client]", "X", "é☃🐬", "*", "a=b", "!include /etc/passwd", "a  b", "\\$x", "$$", "\\\\\\",
]  # fmt: skip
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def with_examples(test: Callable[..., None]) -> Callable[..., None]:
    for text in hostile:
        test = example(text)(test)
    return test


@few
@with_examples
@given(secrets)
def test_a_given_password_arrives_as_it_is(shell: list[str], password: str) -> None:
    login = Login(user=password or "root", password=password)
    ended = run(shell, Command(argv=READ_LOGIN, login=login))
    assert options_in(ended.stdout.decode()) == {"user": password or "root", "password": password}


@few
@with_examples
@given(secrets)
def test_a_password_of_the_container_arrives_as_it_is(shell: list[str], password: str) -> None:
    login = Login(user_variable="MYSQL_USER", variable="MYSQL_PASSWORD")
    env = {**PATH, "MYSQL_USER": password, "MYSQL_PASSWORD": password}
    ended = run(shell, Command(argv=READ_LOGIN, login=login), env=env)
    assert options_in(ended.stdout.decode()) == {"user": password, "password": password}


@few
@with_examples
@given(secrets)
def test_a_password_in_a_file_of_the_container_arrives_as_it_is(
    shell: list[str], tmp_path: Path, password: str
) -> None:
    file = tmp_path / "a $secret; file"
    file.write_text(f"{password}\n")
    login = Login(user="root", variable="MARIADB_ROOT_PASSWORD")
    ended = run(shell, Command(argv=READ_LOGIN, login=login), env={**PATH, "MARIADB_ROOT_PASSWORD_FILE": str(file)})
    assert options_in(ended.stdout.decode()) == {"user": "root", "password": password}


@pytest.mark.parametrize("env", [{}, {"MYSQL_ROOT_PASSWORD": ""}])
def test_no_password_is_an_empty_one(shell: list[str], env: dict[str, str]) -> None:
    command = Command(argv=READ_LOGIN, login=Login(user="root", variable="MYSQL_ROOT_PASSWORD"))
    ended = run(shell, command, env={**PATH, **env})
    assert options_in(ended.stdout.decode()) == {"user": "root", "password": ""}


def test_without_a_password_none_is_named(shell: list[str]) -> None:
    """So that a login by the socket's owner works."""
    ended = run(shell, Command(argv=READ_LOGIN, login=Login(user="root")))
    assert options_in(ended.stdout.decode()) == {"user": "root"}


def test_a_secret_file_that_cannot_be_read_fails(shell: list[str]) -> None:
    command = Command(argv=("true",), login=Login(user="root", variable="SECRET"))
    ended = run(shell, command, env={**PATH, "SECRET_FILE": "/nonexistent"})
    assert ended.code == 96
    assert "exit program" not in ended.stderr


@pytest.mark.parametrize("bad", ["a\nb", "a\n", "\n", "a\rb", "a\0b"])
@pytest.mark.parametrize("field", ["user", "password"])
def test_a_line_break_in_a_login_is_refused(field: str, bad: str) -> None:
    login = replace(Login(user="root", password="secret"), **{field: bad})
    with pytest.raises(ConfigError) as caught:
        _ = Command(argv=("true",), login=login).first_line
    assert bad not in str(caught.value), "it may be a password"


def test_the_secret_is_in_no_argv_and_no_environment(shell: list[str]) -> None:
    command = Command(
        argv=("cat", "/proc/self/cmdline", "/proc/self/environ"), login=Login(user="u", password="hunter2")
    )
    ended = run(shell, command)
    assert b"cat" in ended.stdout
    for seen in (ended.stdout.decode(), ended.stderr, " ".join(command.exec_argv), repr(command)):
        assert "hunter2" not in seen


def test_the_secret_does_not_slip_out_through_a_variable_of_the_same_name(shell: list[str]) -> None:
    """What a container exports stays exported when the script uses the same name."""
    names = ("value", "login", "options", "secret", "keys", "user", "file")
    command = Command(argv=("env",), login=Login(user="root", variable="THE_PASSWORD"))
    env = {**PATH, **dict.fromkeys(names, "x"), "THE_PASSWORD": "hunter2"}
    lines = run(shell, command, env=env).stdout.decode().splitlines()
    assert [line for line in lines if "hunter2" in line] == ["THE_PASSWORD=hunter2"]
    given = replace(command, login=Login(user="root", password="hunter2"))
    assert "hunter2" not in run(shell, given, env={**env, "THE_PASSWORD": ""}).stdout.decode()


def test_no_login_in_a_file_of_its_own_is_read_instead(shell: list[str]) -> None:
    """~/.mylogin.cnf is read even with --defaults-file, and would win."""
    ended = run(shell, Command(argv=("env",), login=NOBODY))
    assert b"MYSQL_TEST_LOGIN_FILE=/nonexistent\n" in ended.stdout


@pytest.mark.parametrize(("line", "code"), [(b"", 97), (b"nonsense\n", 95), (b"given not-base-64!\n", 96)])
def test_nothing_runs_without_a_login(shell: list[str], line: bytes, code: int) -> None:
    with start(argv(shell, Command(argv=("echo", "ran"), login=NOBODY)), PATH) as process:
        stdout, stderr = process.communicate(line, timeout=20)
    assert (process.returncode, stdout) == (code, b"")
    assert b"exit program" not in stderr


# --- how it ended ---


def sh(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


@pytest.mark.parametrize("feed", [False, True])
@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("true",), 0), (("false",), 1), (sh("exit 2"), 2), (sh("exit 255"), 255), (sh("kill -9 $$"), 137),
        (sh("kill -15 $$"), 143), (("no-such-program",), 127), (("/etc/passwd",), 126),
    ],
)  # fmt: skip
def test_a_program_reports_its_own_status(shell: list[str], argv: tuple[str, ...], status: int, feed: bool) -> None:
    command = Command(argv=argv, login=NOBODY, feed=feed)
    ended = run(shell, command)
    said = ended.said(command)
    assert (said[0], said[-1], ended.code) == (f"pid {ended.pid}", f"exit program {status}", 0)


@pytest.mark.parametrize("program", [0, 2, 137])
@pytest.mark.parametrize("pipe", [0, 1, 143])
def test_each_end_of_a_pipe_reports_its_own_status(shell: list[str], tmp_path: Path, program: int, pipe: int) -> None:
    script = tmp_path / "pipe"
    script.write_text(f"cat; exit {pipe}")
    command = Command(argv=sh(f"printf dump; exit {program}"), pipe=("sh", str(script)), login=NOBODY)
    ended = run(shell, command)
    assert ended.stdout == b"dump"
    assert ended.code == 0
    assert sorted(ended.said(command)) == [f"exit pipe {pipe}", f"exit program {program}", f"pid {ended.pid}"]


def test_a_pipe_that_is_missing_is_told(shell: list[str]) -> None:
    command = Command(argv=("true",), pipe=("no-such-zstd", "-3"), login=NOBODY)
    assert "exit pipe 127" in run(shell, command).said(command)


@pytest.mark.parametrize("command", [
    Command(argv=("true",), login=NOBODY),
    Command(argv=("true",), login=Login(user="root", password="secret")),
    Command(argv=("true",), login=Login(user_variable="SOME_USER", variable="SOME_PASSWORD")),
    Command(argv=("true",), pipe=("cat",), login=NOBODY),
    Command(argv=("true",), login=NOBODY, feed=True),
])  # fmt: skip
def test_the_script_says_nothing_else(shell: list[str], command: Command) -> None:
    """A line that nobody knows fails a backup: no `Killed`, no `Hangup` of its own helpers. A race, so often."""
    for _ in range(20):
        ended = run(shell, command)
        expected = {f"pid {ended.pid}", "exit program 0"} | ({"exit pipe 0"} if command.pipe else set())
        assert set(ended.said(command)) == expected
        assert len(ended.said(command)) == len(expected)


def test_arguments_arrive_as_they_are(shell: list[str]) -> None:
    names = ["", "a b", "-rf", "--result-file=/x", "`id`", "$(id)", '"', "'", "\\", "new\nline", "☃", "*"]
    ended = run(shell, Command(argv=("printf", "%s\\0", *names), login=NOBODY))
    assert ended.stdout.decode().split("\0") == [*names, ""]


# --- what goes in ---


def test_what_is_fed_arrives_byte_for_byte(shell: list[str]) -> None:
    """The shell must read its own line and not one byte more."""
    data = bytes(range(256)) * 4096
    command = Command(argv=("cat",), login=Login(user="root", password="secret"), feed=True)
    assert run(shell, command, stdin=data).stdout == data


def test_one_that_is_not_fed_reads_nothing(shell: list[str]) -> None:
    assert run(shell, Command(argv=("cat",), login=NOBODY)).stdout == b""


# --- how it is stopped ---

Begin = Callable[[Command], subprocess.Popen[bytes]]


@pytest.fixture
def begin(shell: list[str]) -> Iterator[Begin]:
    """Starts a command whose program says that it runs; whatever is left of it ends with the test.

    Its patience between TERM and KILL is shorter than in earnest.
    """
    begun: list[subprocess.Popen[bytes]] = []

    def started(command: Command) -> subprocess.Popen[bytes]:
        words = [word.replace(" 1 2 3 4 5 6 7 8 9 10;", " 1;") for word in argv(shell, command)]
        assert words != argv(shell, command), "the script waits in another way now"
        process = start(words, PATH)
        begun.append(process)
        write_login(process, command)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    yield started
    for process in begun:
        if not group_is_gone(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def hang_up(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def ended_whole(process: subprocess.Popen[bytes]) -> bool:
    return soon(lambda: process.poll() is not None) and soon(lambda: group_is_gone(process.pid))


@pytest.mark.parametrize("pipe", [(), ("cat",)])
def test_when_our_end_closes_the_program_ends(begin: Begin, pipe: tuple[str, ...]) -> None:
    """dbguard was killed, or the connection broke: no dump goes on for nobody."""
    process = begin(Command(argv=sh("echo begun; sleep 60; echo more"), pipe=pipe, login=NOBODY))
    hang_up(process)
    assert ended_whole(process)


def test_one_is_asked_before_it_is_killed(begin: Begin) -> None:
    gently = "trap 'echo gently; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    process = begin(Command(argv=sh(gently), login=NOBODY))
    hang_up(process)
    assert ended_whole(process)
    assert process.stdout is not None
    assert process.stdout.read() == b"gently\n"


REAPER = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: whom nobody waits for becomes our child
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
process.stdin.write(sys.argv[1].encode())
process.stdin.flush()
if "60" in sys.argv:
    time.sleep(0.5)
    process.stdin.close()
process.wait()
time.sleep(0.1)
try:
    print("left behind:", os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) or "one that still runs")
except ChildProcessError:
    print("nothing")
"""


@pytest.mark.parametrize("argv_", [("true",), ("sleep", "60")], ids=["ended", "stopped"])
@pytest.mark.parametrize("pipe", [(), ("cat",)], ids=["alone", "piped"])
def test_it_leaves_no_process_behind(shell: list[str], argv_: tuple[str, ...], pipe: tuple[str, ...]) -> None:
    """A database server, process 1 of its container, reaps nobody: what is left stays there as a zombie."""
    command = Command(argv=argv_, pipe=pipe, login=NOBODY)
    words = [word.replace(" 1 2 3 4 5 6 7 8 9 10;", " 1;") for word in argv(shell, command)]
    done = subprocess.run(
        [sys.executable, "-c", REAPER, command.first_line.decode(), *words], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "nothing\n", done.stderr


def test_one_that_ignores_term_is_killed(begin: Begin) -> None:
    process = begin(Command(argv=sh("trap '' TERM; echo begun; sleep 60; sleep 60"), login=NOBODY))
    hang_up(process)
    assert ended_whole(process)


@pytest.mark.parametrize("feed", [False, True])
def test_the_group_that_it_names_is_all_there_is(begin: Begin, feed: bool) -> None:
    command = Command(argv=sh("echo begun; sleep 60"), pipe=() if feed else ("cat",), feed=feed, login=NOBODY)
    process = begin(command)
    assert process.stderr is not None
    assert process.stderr.readline().decode() == f"dbguard:{command.tag}:pid {process.pid}\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert ended_whole(process)


def test_one_that_is_told_to_stop_still_says_how_it_ended(begin: Begin) -> None:
    command = Command(argv=sh("echo begun; sleep 60"), login=NOBODY)
    process = begin(command)
    os.killpg(process.pid, signal.SIGTERM)
    assert ended_whole(process)
    assert process.stderr is not None
    assert f"dbguard:{command.tag}:exit program 143\n".encode() in process.stderr.read()


def test_nothing_is_left_of_one_that_ended_well(shell: list[str]) -> None:
    ended = run(shell, Command(argv=("true",), login=NOBODY))
    assert soon(lambda: group_is_gone(ended.pid), 1.0)


def test_the_group_of_whoever_called_is_not_killed(shell: list[str]) -> None:
    """Where the script does not lead its process group, the group is not its own to kill."""
    command = Command(argv=sh("echo begun; sleep 60"), login=NOBODY)
    caller = ["sh", "-c", 'sleep 60 & "$@"; wait', "caller", *argv(shell, command)]
    with start(caller, PATH) as process:
        write_login(process, command)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        hang_up(process)
        time.sleep(0.3)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
