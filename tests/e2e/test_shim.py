"""Plain `docker compose` and `docker-compose` behind the shim: as they always are, but for what deletes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_guard import IDLE, Stack
from tests.stack import wait_until

pytestmark = pytest.mark.docker

DATABASE = IDLE.replace("data:/data", "data:/var/lib/mysql").replace(", /anonymous", "")
"""It holds what looks like a database, which is never deleted just so."""

PLAIN = f"""
services:
  web:
    image: {os.environ.get("DBGUARD_TEST_PYTHON", "python:3.13-slim")}
    entrypoint: [sleep, infinity]
    volumes: [data:/data]
volumes: {{data: {{}}}}
"""


class User(Stack):
    """Whose home has Compose in it, as plugin and as program, and in front of both a shim."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, DATABASE)
        self.home = folder / "home"
        real = plugin(self.environment)
        for name in (".docker/cli-plugins/docker-compose", "programs/docker-compose"):
            (self.home / name).parent.mkdir(parents=True)
            (self.home / name).symlink_to(real)
        path = [self.home / ".local/bin", self.home / "programs", self.environment["PATH"]]
        self.environment |= {"HOME": str(self.home), "PATH": os.pathsep.join(map(str, path))}
        for name in ("DOCKER_CONFIG", "DBGUARD_THROUGH"):
            self.environment.pop(name, None)
        self.bare = self.environment | {"DBGUARD_THROUGH": "1"}
        installed = self.dbguard("guard", "install")
        assert installed.returncode == 0, installed.stderr
        assert "docker compose is guarded" in installed.stderr
        assert "docker-compose is guarded" in installed.stderr

    def standalone(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self._run(["docker-compose", *args], stdin)

    def start(self, *args: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["docker", "compose", *args],
            cwd=self.folder,
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def plugin(environment: dict[str, str]) -> str:
    """The real one of this machine."""
    said = subprocess.run(
        ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return next(str(one["Path"]) for one in json.loads(said) if one["Name"] == "compose")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    user = User(tmp_path_factory.mktemp("shim"))
    try:
        user.up("db")
        made = user.compose("exec", "-T", "db", "sh", "-c", "echo 18 >/var/lib/mysql/PG_VERSION")
        assert made.returncode == 0, made.stderr
        yield user
    finally:
        user.environment = user.bare
        user.remove()


def test_what_deletes_is_refused(user: User) -> None:
    running = user.running
    host = json.loads(user._run(["docker", "context", "inspect"]).stdout)[0]["Endpoints"]["docker"]["Host"]
    for command in (
        ["docker", "compose", "down", "-v"],
        ["docker", "-D", "--host", host, "compose", "-p", user.project, "down", "-vt0"],
        ["docker", "--config", str(user.home / ".docker"), "compose", "down", "--volume"],
        ["docker-compose", "down", "--volumes"],
        ["docker-compose", "--host", host, "-f", "compose.yaml", "down", "-vt0"],
    ):
        refused = user._run(command)
        assert refused.returncode == 77, (command, refused.stderr)
        assert f"{user.volume} " in refused.stderr
        assert refused.stderr.count("refused: ") == 1, "what was judged once is not judged again"
    assert user.running == running
    assert user.exists(user.volume)


def test_an_engine_that_dbguard_does_not_look_at(user: User) -> None:
    other = user._run(["docker", "--host", "unix:///nowhere.sock", "compose", "down", "-v"])
    assert other.returncode == 69
    unknown = user._run(["docker", "--tlscacert", "/nowhere", "compose", "down", "-v"])
    assert unknown.returncode == 77
    assert "nobody can say which engine is meant: --tlscacert is not followed" in unknown.stderr
    assert user.exists(user.volume)


def test_the_rest_is_composes_own(user: User) -> None:
    """Exit codes, stdout, stderr and stdin; at once, or after dbguard has looked at it."""
    for command, stdin in (
        (["compose", "exec", "-T", "db", "sh", "-c", "cat; exit 42"], "typed"),
        (["compose", "run", "--rm", "-T", "--no-deps", "db", "-c", "cat; exit 43"], "typed too"),
        (["compose", "ps", "--all", "--format", "{{.Service}}"], ""),
        (["compose", "-f", "-", "create", "--no-such-flag"], "services: {}"),
        (["compose", "up", "--no-start", "db"], ""),
        (["compose", "down", "--help", "-v"], ""),
        (["compose", "down", "--no-such-flag"], ""),
        (["compose", "down", "--dry-run"], ""),
        (["compose", "no-such-command"], ""),
        (["compose", "version", "--format", "json"], ""),
        (["__complete", "compose", "down", "--vol"], ""),
        (["--no-such-flag", "compose", "ps"], ""),
    ):
        if command[1] == "run":
            command[5:5] = ["--entrypoint", "sh"]
        own = subprocess.run(
            ["docker", *command],
            cwd=user.folder, env=user.bare, input=stdin, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        ours = user._run(["docker", *command], stdin)
        shown = [re.sub(r"\d+\.\d+s|[0-9a-f]{12}|time=\S+", "", one.stderr) for one in (ours, own)]
        assert (ours.returncode, ours.stdout, shown[0]) == (own.returncode, own.stdout, shown[1]), command
    assert "--volumes" in user._run(["docker", "__complete", "compose", "down", "--vol"]).stdout
    assert user.standalone("version", "--short").stdout == user.compose("version", "--short").stdout
    assert user.standalone("exec", "-T", "db", "sh", "-c", "exit 42").returncode == 42


def test_docker_still_lists_the_plugin(user: User) -> None:
    assert plugin(user.environment) == str(user.home / ".docker/cli-plugins/docker-compose")


@pytest.mark.parametrize("way", ["at once", "looked at"])
def test_a_signal_reaches_compose(user: User, way: str) -> None:
    """Without a terminal the docker command alone gets it, and must hand it on."""
    words = ["logs", "-f"] if way == "at once" else ["up", "--no-recreate", "--no-deps", "-t0", "web"]
    codes = []
    for environment in (user.bare, user.environment):
        process = user.start(*words, environment=environment)
        if way == "looked at":
            wait_until(lambda: bool(user.compose("ps", "-q", "web").stdout.strip()), "web runs")
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        codes.append(process.wait(60))
        if way == "looked at":
            assert not user.compose("ps", "-q", "web").stdout.strip(), "Compose has stopped it"
    assert codes[0] == codes[1] == 130


def test_a_signal_while_dbguard_still_judges(user: User, tmp_path: Path) -> None:
    """Whoever stops the command must not find that it went on."""
    other = Stack(tmp_path, PLAIN)
    other.environment = user.environment | {"XDG_STATE_HOME": str(tmp_path / "state")}
    try:
        other.compose("create")
        process = subprocess.Popen(
            ["docker", "compose", "down", "-v"],
            cwd=other.folder, env=other.environment, start_new_session=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: "dbguard.cli.shim" in family(process.pid), "dbguard is asked")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 130, said
        assert "stopped by SIGINT" in said
        assert other.exists(other.volume)
    finally:
        other.remove()


def family(pid: int) -> str:
    """The command lines of a process's children."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    ids = [child for file in children for child in file.read_text().split()]
    return " ".join(Path(f"/proc/{child}/cmdline").read_text() for child in ids if Path(f"/proc/{child}").exists())


def test_a_terminal_stays_one(user: User) -> None:
    """`run` goes by way of dbguard, which becomes Compose."""
    for words in (["exec", "db"], ["run", "--rm", "--no-deps", "--entrypoint", "", "db"]):
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(user.folder)
            command = ["docker", "compose", *words, "sh", "-c", "test -t 0 && test -t 1 && exit 44"]
            os.execvpe("docker", command, user.environment)
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 44, words
        os.close(terminal)


def test_a_ctrl_c_on_a_terminal(user: User) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(user.folder)
        os.execvpe("docker", ["docker", "compose", "up", "-t0", "--no-deps", "web"], user.environment)
    said = b""
    try:
        while b"Attaching" not in said:
            said += os.read(terminal, 4096)
        time.sleep(1)
        os.write(terminal, b"\x03")
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130, said
    os.close(terminal)


def test_dbguard_asked_by_name_judges_once(user: User) -> None:
    refused = user.dbguard("compose", "down", "-v")
    assert refused.returncode == 77
    assert refused.stderr.count("refused: ") == 1


def test_status_and_doctor_see_an_update(user: User) -> None:
    good = user.dbguard("guard", "status", "--json")
    assert good.returncode == 0
    assert [one["state"] for one in json.loads(good.stdout)["commands"]] == ["guarded", "guarded"]
    place = user.home / ".docker/cli-plugins/docker-compose"
    shim = place.read_bytes()
    place.unlink()
    place.symlink_to(plugin(user.bare | {"DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", "")}))
    try:
        bad = user.dbguard("guard", "status")
        assert bad.returncode == 1
        assert f"{place} has overwritten the shim" in bad.stdout
        doctor = user.dbguard("doctor", "--project", user.project)
        assert f"FAIL  docker compose: {place} has overwritten the shim" in doctor.stdout
        assert "hint: `dbguard guard install`" in doctor.stdout
        assert doctor.returncode == 1
    finally:
        place.unlink()
        place.write_bytes(shim)
        place.chmod(0o755)
    assert "docker compose: " in user.dbguard("doctor", "--project", user.project).stdout


def test_what_is_allowed_is_deleted(user: User, tmp_path: Path) -> None:
    """At the end, by the very program behind the shim."""
    other = Stack(tmp_path, PLAIN)
    other.environment = user.environment | {"XDG_STATE_HOME": str(tmp_path / "state")}
    try:
        other.compose("create")
        assert other.exists(other.volume)
        done = other.compose("down", "-v")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("may delete") == 1
        assert not other.exists(other.volume)
    finally:
        other.remove()
    gone = user.dbguard("guard", "uninstall")
    assert gone.returncode == 0, gone.stderr
    assert sorted(path.name for path in (user.home / ".docker/cli-plugins").iterdir()) == ["docker-compose"]
    assert not (user.home / ".local/bin").exists()
