"""The shim in front of Compose: which commands it lets through at once, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ConfigError, DbguardError, NotFound
from dbguard.shim import files, interpreter, places, script, words
from dbguard.shim.look import Found, look
from dbguard.shim.places import NAME, Surroundings
from dbguard.shim.planning import Shim, installed, plan
from dbguard.shim.script import Kind
from tests.unit.test_argv import DELETING, UNKNOWN, lines

REAL = '#!/bin/sh\n# VERSION\nprintf "real"; printf " %s" "$@"\n'
SHELLS = [shell for shell in ("/bin/sh", "/bin/bash", "/bin/dash", "/bin/busybox") if Path(shell).exists()]
FAST = """
compose ps
compose version
docker-cli-plugin-metadata
docker-cli-plugin-hooks {}
__complete compose down -
__completeNoDesc compose up -
-H tcp://a:1 compose -f x.yaml logs -f web
compose -p shop exec web sh -c 'echo down -v'
compose config --volumes
compose -f down.yaml ps
compose stop
compose
"""
SLOW = """
compose up -d
compose -f x.yaml down -v
-H tcp://a:1 -c x compose -p shop down
--debug compose rm -fsv
compose run --rm web
compose scale web=2
compose create -y
compose watch
"""


# --- what it was given ---


@pytest.mark.parametrize(
    ("line", "args", "variables"),
    [
        ("compose down -v", "down -v", {}),
        ("compose -f x -c down", "-f x -c down", {}),
        ("-H tcp://a:1 compose ps", "ps", {"DOCKER_HOST": "tcp://a:1", "DOCKER_CONTEXT": None}),
        ("--host=tcp://a:1 compose ps", "ps", {"DOCKER_HOST": "tcp://a:1", "DOCKER_CONTEXT": None}),
        ("-- compose down -v", "down -v", {}),
        ("-Dc there compose ps", "ps", {"DOCKER_CONTEXT": "there", "DOCKER_HOST": None}),
        ("-l error --config /c compose ps", "ps", {"DOCKER_CONFIG": "/c"}),
        ("--config compose compose down -v", "down -v", {"DOCKER_CONFIG": "compose"}),
    ],
)
def test_dockers_own_flags_say_which_engine(line: str, args: str, variables: dict[str, str | None]) -> None:
    call = words.of_plugin(shlex.split(line))
    assert call == words.Call(args=tuple(shlex.split(args)), variables=variables)


@pytest.mark.parametrize(
    "line", ["", "__complete compose down", "-D __complete compose up", "docker-cli-plugin-metadata"]
)
def test_no_command_of_compose(line: str) -> None:
    assert words.of_plugin(line.split()) is None


@pytest.mark.parametrize(
    "line",
    [
        "--new compose down -v",
        "--new x compose down -v",
        "--new compose compose down -v",
        "x compose down -v",
        "--tlscacert /a compose down -v",
        "--tls compose down -v",
    ],
)
def test_an_engine_that_nobody_can_name(line: str) -> None:
    call = words.of_plugin(line.split())
    assert isinstance(call, words.Unclear)
    assert ("down", "-v") in call.readings


@given(st.lists(st.text()))
def test_whatever_follows_compose_is_composes(args: list[str]) -> None:
    assert words.of_plugin(["-H", "x", "compose", *args]) == words.Call(
        args=tuple(args), variables={"DOCKER_HOST": "x", "DOCKER_CONTEXT": None}
    )


@pytest.mark.parametrize(
    ("line", "args", "host"),
    [
        ("down -v", "down -v", None),
        ("-f x.yaml down -v", "-f x.yaml down -v", None),
        ("-f -H tcp://a:1 down -v", "-f down -v", "tcp://a:1"),
        ("--host=tcp://a:1 -p shop down -v", "-p shop down -v", "tcp://a:1"),
        ("-v down -v", "version down -v", None),
        ("-h", "--help", None),
        ("--verbose --log-level debug up", "up", None),
    ],
)
def test_the_standalone_program_writes_its_words_anew(line: str, args: str, host: str | None) -> None:
    call = words.of_standalone(line.split())
    assert isinstance(call, words.Call)
    assert call.args == tuple(args.split())
    assert call.variables.get("DOCKER_HOST") == host
    assert words.of_standalone(["__complete", *line.split()]) is None


# --- the script ---


class Front:
    """A shim in front of a program that says what it was given; dbguard is a program that does so too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = program(folder / "the real" / NAME, "2.40.3")
        self.python = folder / "python"
        self.python.write_text('#!/bin/sh\nshift 3; shift; printf "dbguard"; printf " %s" "$@"\n')
        self.python.chmod(0o755)
        self.place = folder / NAME
        self.write()

    def write(self, *reals: Path, kind: Kind = "plugin", python: Path | None = None, flags: str = "-I") -> None:
        self.place.write_bytes(script.text(kind, reals or (self.real,), python or self.python, flags))
        self.place.chmod(0o755)

    def __call__(self, *args: str, shell: str = "", stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        shells = [shell, *(["sh"] if "busybox" in shell else [])] if shell else []
        return subprocess.run(
            [*shells, self.place, *args], capture_output=True, text=True, input=stdin, env={"PATH": os.defpath, **more}
        )


def program(file: Path, version: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(REAL.replace("VERSION", version))
    file.chmod(0o755)
    return file


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return Front(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_only_what_may_delete_is_looked_at(front: Front, shell: str) -> None:
    for line in FAST.strip().splitlines():
        args = shlex.split(line)
        assert front(*args, shell=shell).stdout == " ".join(["real", *args]), line
    for line in SLOW.strip().splitlines():
        args = shlex.split(line)
        assert front(*args, shell=shell).stdout == " ".join(["dbguard plugin", str(front.real), *args]), line


def test_whatever_deletes_is_looked_at(front: Front) -> None:
    for line in lines(DELETING + UNKNOWN):
        assert front("compose", *shlex.split(line)).stdout.startswith("dbguard"), line


def test_what_dbguard_calls_itself_passes(front: Front) -> None:
    front.real.write_text('#!/bin/sh\necho "real ${DBGUARD_THROUGH-none} $@"\n')
    assert front("compose", "down", "-v", DBGUARD_THROUGH="1").stdout == "real none compose down -v\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_without_dbguard_only_what_deletes_is_refused(front: Front, shell: str) -> None:
    front.python.unlink()
    for line in lines(DELETING + UNKNOWN):
        refused = front("compose", *shlex.split(line), shell=shell)
        assert refused.returncode == 77, line
        assert "dbguard: refused: dbguard itself cannot run" in refused.stderr
        assert f"{front.python} is gone" in refused.stderr
        assert not refused.stdout
    for line in (
        "up -d",
        "down",
        "down -t 0 --remove-orphans",
        "run --rm -v a:/b web",
        "--verbose down",
        "ps",
        "rm -fs",
    ):
        assert front("compose", *shlex.split(line), shell=shell).stdout == f"real compose {line}", line


def test_without_dbguard_no_question_is_answered_by_a_pipe(front: Front) -> None:
    front.python.unlink()
    front.real.write_text("#!/bin/sh\ncat\n")
    assert front("compose", "up", stdin="y\n").stdout == ""
    assert front("compose", "run", "-T", "web", stdin="data").stdout == "data"
    assert front("compose", "-f", "-", "up", stdin="services: {}").stdout == "services: {}"


def test_a_dbguard_that_cannot_start_is_none(front: Front) -> None:
    front.write(python=Path(sys.executable), flags="-I -S")  # which leaves its packages out
    assert front("compose", "up", "-d").stdout == "real compose up -d"
    refused = front("compose", "down", "-v")
    assert refused.returncode == 77
    assert "ModuleNotFoundError: No module named" in refused.stderr


def test_a_real_one_that_has_moved_is_found_and_the_shim_is_never_taken_for_it(front: Front) -> None:
    alias = front.folder / "alias"
    alias.symlink_to(front.place)
    moved = program(front.folder / "moved" / NAME, "2.40.3")
    front.write(front.folder / "gone", alias, front.place, moved)
    assert front("compose", "ps").stdout == "real compose ps"
    front.write(front.folder / "gone", alias, front.place)
    nothing = front("compose", "ps")
    assert nothing.returncode == 127
    assert "there is no Compose behind the shim" in nothing.stderr


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "$HOME", "a`b`", 'q"q', "back\\slash", "ü"])
def test_any_path_is_quoted_and_read_back(tmp_path: Path, name: str) -> None:
    front = Front(tmp_path / name)
    assert front("compose", "ps").stdout == "real compose ps"
    assert front("compose", "down").stdout == f"dbguard plugin {front.real} compose down"
    assert script.python_of(front.place.read_bytes()) == front.python
    assert script.reals_of(front.place.read_bytes()) == [front.real]


# --- where it goes, and what stays ---


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    home = tmp_path / "home"
    home.mkdir()
    path = [home / ".local/bin", tmp_path / "usr/local/bin", tmp_path / "usr/bin"]
    return Surroundings(
        home=home,
        environment={"PATH": os.pathsep.join(map(str, path))},
        system=(tmp_path / "usr/local/lib/cli-plugins", tmp_path / "usr/lib/cli-plugins"),
        programs=tmp_path / "usr/local/bin",
    )


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Everything below: mode, and contents or where a link points."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def put(shims: list[Shim]) -> None:
    for shim in shims:
        files.install(shim.place, script.text(shim.kind, shim.reals, Path(sys.executable), "-I"))


def take_away(places: list[Path]) -> str:
    return "\n".join(files.uninstall(places))


def states(around: Surroundings) -> dict[str, str]:
    return {found.program: found.state for found in look(around)}


def own(around: Surroundings) -> None:
    program(around.own_plugins / NAME, "2.40.3")
    program(around.own_programs / NAME, "2.40.3")


def linked(around: Surroundings) -> None:
    """As Docker Desktop does."""
    app = program(around.home / "app" / NAME, "2.40.3")
    around.own_plugins.mkdir(parents=True)
    (around.own_plugins / NAME).symlink_to(os.path.relpath(app, around.own_plugins))


def distribution(around: Surroundings) -> None:
    program(around.system[1] / NAME, "2.40.3")
    program(around.home.parent / "usr/bin" / NAME, "1.29.2")


def extra(around: Surroundings) -> None:
    """As Homebrew says to."""
    folder = around.home / "brew"
    program(folder / NAME, "2.40.3")
    around.own_plugins.parent.mkdir()
    (around.own_plugins.parent / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(folder)]}))


@pytest.mark.parametrize("present", [own, linked, distribution, extra])
@pytest.mark.parametrize("all_users", [False, True])
def test_nothing_is_left_of_it(around: Surroundings, present: object, all_users: bool) -> None:
    assert callable(present)
    present(around)
    if all_users and present is not distribution:
        with pytest.raises(NotFound, match="no Compose to guard"):
            plan(around, all_users=True)
        return
    before = tree(around.home.parent)
    for _ in range(2):  # a second time changes nothing
        shims = plan(around, all_users=all_users)
        put(shims)
        assert set(states(around).values()) <= {"guarded", "absent"}
        for shim in shims:
            assert not places.is_shim(shim.reals[0])
            ran = subprocess.run([shim.place, "ps"], capture_output=True, text=True)
            assert ran.stdout == "real ps"
    assert installed(around, all_users=not all_users) == []
    take_away(installed(around, all_users=all_users))
    assert tree(around.home.parent) == before
    assert installed(around, all_users=all_users) == []


def test_a_program_that_is_not_there_gets_no_shim(around: Surroundings) -> None:
    """A script that looks whether there is a docker-compose must not find one."""
    program(around.system[1] / NAME, "2.40.3")
    assert [shim.program for shim in plan(around, all_users=False)] == ["docker compose"]


def test_both_the_users_and_everybodys(around: Surroundings) -> None:
    """The user's shim stands in front of the real one, not in front of the other shim."""
    distribution(around)
    put(plan(around, all_users=True))
    put(plan(around, all_users=False))
    assert set(states(around).values()) == {"guarded"}
    take_away(installed(around, all_users=True))
    assert set(states(around).values()) == {"guarded"}


def test_an_update_that_overwrites_the_shim_is_seen(around: Surroundings) -> None:
    own(around)
    put(plan(around, all_users=False))
    new = program(around.own_plugins / "new", "2.41.0")
    new.replace(around.own_plugins / NAME)
    assert states(around)["docker compose"] == "overwritten"
    after = {name: what for name, what in tree(around.own_plugins).items() if not name.startswith(".dbguard")}
    put(plan(around, all_users=False))
    assert states(around)["docker compose"] == "guarded"
    take_away(installed(around, all_users=False))
    assert tree(around.own_plugins) == after, "the update's own file is back, not the one before it"

    put(plan(around, all_users=False))
    program(around.own_plugins / "new", "2.42.0").replace(around.own_plugins / NAME)
    place = installed(around, all_users=False)[0]
    assert "was no shim any more" in take_away([place])
    assert list(tree(around.own_plugins)) == [NAME]


def test_an_update_of_what_is_a_link(around: Surroundings) -> None:
    linked(around)
    put(plan(around, all_users=False))
    place = around.own_plugins / NAME
    place.unlink()
    place.symlink_to(program(around.home / "new app" / NAME, "2.41.0"))
    put(plan(around, all_users=False))
    take_away(installed(around, all_users=False))
    assert place.readlink() == around.home / "new app" / NAME


def test_a_shim_that_somebody_has_deleted(around: Surroundings) -> None:
    own(around)
    before = tree(around.home)
    put(plan(around, all_users=False))
    (around.own_plugins / NAME).unlink()
    take_away(installed(around, all_users=False))
    assert tree(around.home) == before


def test_what_is_found_before_the_shim_is_seen(around: Surroundings) -> None:
    distribution(around)
    put(plan(around, all_users=False))
    late = Surroundings(
        home=around.home,
        environment={"PATH": os.pathsep.join(map(str, reversed(around.path)))},
        system=around.system,
        programs=around.programs,
    )
    seen = {found.program: found for found in look(late)}
    assert seen["docker-compose"].state == "shadowed"
    assert seen["docker-compose"].hint == f"put {around.own_programs} first in PATH"
    extra_folder = around.home / "brew"
    program(extra_folder / NAME, "2.40.3")
    (around.own_plugins.parent / "config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(extra_folder)]}))
    assert states(around)["docker compose"] == "shadowed"
    put(plan(around, all_users=False))
    assert states(around)["docker compose"] == "guarded"


def test_a_shim_that_cannot_work_is_seen(around: Surroundings) -> None:
    own(around)
    shim = plan(around, all_users=False)[0]
    files.install(shim.place, script.text(shim.kind, shim.reals, around.home / "no-python", "-I"))
    assert found(around).text == (
        f"the shim {shim.place} cannot call dbguard, {around.home}/no-python is gone: it refuses whatever may delete"
    )
    put([shim])
    shim.reals[0].unlink()
    assert found(around).state == "broken"
    assert "no Compose is behind the shim" in found(around).text
    assert "so was what it stood in for" in take_away([shim.place])


def found(around: Surroundings) -> Found:
    return look(around)[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(around: Surroundings) -> None:
    own(around)
    around.own_plugins.chmod(0o555)
    with pytest.raises(ConfigError, match="Permission denied"):
        put(plan(around, all_users=False))


def test_an_own_configuration_folder(around: Surroundings) -> None:
    moved = around.home / "elsewhere"
    around = Surroundings(home=around.home, environment={**around.environment, "DOCKER_CONFIG": str(moved)})
    program(moved / "cli-plugins" / NAME, "2.40.3")
    assert plan(around, all_users=False)[0].place == moved / "cli-plugins" / NAME


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cliPluginsExtraDirs": 1}', '{"cliPluginsExtraDirs": [1]}'])
def test_a_docker_configuration_that_cannot_be_read_names_nothing(around: Surroundings, text: str) -> None:
    around.own_plugins.mkdir(parents=True)
    (around.own_plugins.parent / "config.json").write_text(text)
    assert around.extra_plugins == ()


# --- the interpreter ---


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Path]:
    """A folder that only some may enter."""
    python = tmp_path / "closed" / "python"
    python.parent.mkdir()
    shutil.copy(shutil.which("true") or "/bin/true", python)
    yield python
    python.parent.chmod(0o755)


def test_an_interpreter_that_others_cannot_reach(copied: Path) -> None:
    for folder in (copied.parent, *copied.parent.parents):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    assert interpreter.is_for_all(copied)
    copied.parent.chmod(0o700)
    assert not interpreter.is_for_all(copied)


def test_an_interpreter_that_knows_no_dbguard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(DbguardError, match="which a shim cannot rely on"):
        interpreter.flags()
