"""The guard in front of real Compose, real servers and real backups."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbguard import argv, compose
from dbguard.compose.program import Program
from dbguard.containers import Containers
from dbguard.freshness import Rules
from dbguard.guard import judging
from dbguard.since import Since
from tests.unit.test_argv import DELETING, HARMLESS, REJECTED, UNKNOWN, lines

pytestmark = pytest.mark.docker

MYSQL = os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7")
MARIADB = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")

LABEL = 'labels: {dbguard-test: "1"}'
TAIL = f"""
networks: {{default: {{{LABEL}}}}}
volumes: {{data: {{{LABEL}}}}}
"""
IDLE = f"""
services:
  db:
    image: {MARIADB}
    {LABEL}
    entrypoint: [sleep, infinity]
    stop_grace_period: 0s
    volumes: [data:/data, /anonymous]
  web:
    image: {MARIADB}
    {LABEL}
    entrypoint: [sleep, infinity]
    stop_grace_period: 0s
    depends_on: [db]
{TAIL}"""
SERVER = f"""
services:
  db:
    image: IMAGE
    {LABEL}
    environment: {{ROOT_PASSWORD: test-only-password}}
    stop_grace_period: 1m
    healthcheck:
      test: [CMD-SHELL, 'MYSQL_PWD=test-only-password CLIENT -h 127.0.0.1 -u root -e "SELECT 1"']
      interval: 1s
      retries: 120
    volumes: ['VOLUME/var/lib/mysql']
{TAIL}"""


class Stack:
    """One compose project of its own, and a `dbguard` with a storage of its own."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.project = f"guard{uuid.uuid4().hex[:10]}"
        self.volume = f"{self.project}_data"
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")}
        self.environment |= {"DBGUARD_STORAGE": str(folder / "backups"), "XDG_STATE_HOME": str(folder / "state")}
        self.environment["DBGUARD_VERIFY__WHEN"] = "off"
        self.write(text)

    def write(self, text: str, name: str = "compose.yaml") -> None:
        (self.folder / name).write_text(f"name: {self.project}\n{textwrap.dedent(text)}")

    def compose(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self._run(["docker", "compose", *args], stdin)

    def dbguard(self, *args: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "dbguard", *args], stdin, **environment)

    def up(self, *args: str) -> None:
        done = self.compose("up", "--detach", "--wait", *args)
        assert done.returncode == 0, done.stderr

    def back_up(self, *args: str) -> None:
        done = self.dbguard("backup", "now", f"{self.project}/db", *args)
        assert done.returncode == 0, done.stderr

    def sql(self, statement: str) -> str:
        client = 'MYSQL_PWD=test-only-password exec $(command -v mariadb || command -v mysql) -u root -e "$0"'
        done = self.compose("exec", "-T", "db", "sh", "-c", client, statement)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def running(self) -> list[str]:
        return self.compose("ps", "--quiet").stdout.split()

    @property
    def volumes(self) -> list[str]:
        """Named ones of the project and anonymous ones of its containers."""
        found = self._run(["docker", "volume", "ls", "-qf", f"label=com.docker.compose.project={self.project}"])
        return sorted(found.stdout.split() + self.anonymous)

    @property
    def anonymous(self) -> list[str]:
        ids = self.compose("ps", "--all", "--quiet").stdout.split()
        mounts = self._run(["docker", "inspect", "--format", "{{json .Mounts}}", *ids]).stdout if ids else ""
        names = [mount.get("Name", "") for line in mounts.splitlines() for mount in json.loads(line)]
        return [name for name in names if re.fullmatch("[0-9a-f]{64}", name)]

    def exists(self, volume: str) -> bool:
        return self._run(["docker", "volume", "inspect", volume]).returncode == 0

    def marks(self, kind: str) -> int:
        return len([*(self.folder / "backups").rglob(f"{kind}-*.json")])

    @property
    def audited(self) -> list[str]:
        lines = (self.folder / "state/dbguard/guard.jsonl").read_text().splitlines()
        return [json.loads(line)["outcome"] for line in lines]

    def remove(self) -> None:
        """By id: Compose itself cannot take down what a test has left in pieces."""
        for kind, listing, removal in (
            ("container", ["ps", "--all"], ["rm", "--force", "--volumes"]),
            ("network", ["network", "ls"], ["network", "rm"]),
            ("volume", ["volume", "ls"], ["volume", "rm"]),
        ):
            found = self._run(["docker", *listing, "-qf", f"label=com.docker.compose.project={self.project}"])
            if ids := found.stdout.split():
                done = self._run(["docker", *removal, *ids])
                assert done.returncode == 0, (kind, done.stderr)

    def _run(self, command: list[str], stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Stack]:
    """Containers that are made, and do nothing."""
    yield from stack(tmp_path, IDLE)


@pytest.fixture(params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    yield from stack(tmp_path, server_file(request.param))


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[Stack]:
    yield from stack(tmp_path, server_file("mariadb"))


def stack(folder: Path, text: str) -> Iterator[Stack]:
    made = Stack(folder, text)
    try:
        yield made
    finally:
        made.remove()


def server_file(client: str, volume: str = "data:") -> str:
    image = {"mysql": MYSQL, "mariadb": MARIADB}[client]
    text = SERVER.replace("IMAGE", image).replace("CLIENT", client).replace("VOLUME", volume)
    return text.replace("ROOT_PASSWORD", f"{client.upper()}_ROOT_PASSWORD")


# --- the grammar, against Compose itself ---

FORMS = [
    line
    for line in lines(DELETING + HARMLESS + REJECTED + UNKNOWN)
    if "down" in line.split() and not re.match(r"run|exec|logs|x |-p down|--context", line)
]


@pytest.mark.fault(55)
def test_compose_agrees_on_what_deletes(idle: Stack) -> None:
    """For each form that Compose accepts: it deletes the volume if and only if `argv` says so."""
    for name in ("a.yaml", "b.yaml"):
        idle.write(IDLE, name)
    wrong, deleting = [], 0
    for form in FORMS:
        args = shlex.split(form.replace("shop", idle.project))
        understood = argv.parse(args)
        deletes = isinstance(understood, argv.Invocation) and bool(understood.deletes)
        if not idle.exists(idle.volume):
            idle.compose("create")
        if re.search("dry-run|quiet", form):  # whether this is a dry run is the question, or it would not tell
            done = idle.compose(*args)
            really = not idle.exists(idle.volume)
        else:
            done = idle.compose("--dry-run", *args)
            really = f"Volume {idle.volume}" in done.stdout + done.stderr
        deleting += really
        if really != deletes and (really or done.returncode == 0):
            wrong.append((form, "deletes" if really else "does not delete", done.stderr))
    assert not wrong, wrong
    assert len(FORMS) > 80
    assert deleting >= 35


REAL = [
    "down -v",
    "down -vt0",
    "-- x down -v",
    "down web -v",
    "down --volume -- db",
    "-p shop down -v",
    "rm -fsv",
    "down",
]


@pytest.mark.fault(55)
@pytest.mark.parametrize("form", REAL)
def test_what_was_announced_is_what_dies(idle: Stack, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is the list of volumes before and after; the guard's list must be the same."""
    idle.compose("up", "--detach")
    before = set(idle.volumes)
    args = shlex.split(form.replace("shop", idle.project))
    understood = argv.parse(args)
    assert isinstance(understood, argv.Invocation)
    announced = set()
    if understood.deletes:
        monkeypatch.chdir(idle.folder)
        containers = Containers.connect()
        deletion = compose.resolve(Program(invocation=understood, words=("docker", "compose", *args)), containers)
        verdict = judging.judge(
            containers,
            [],
            deletion,
            rules=Rules(),
            witness=Mute(),
            state=idle.folder / "state",
            now=datetime.now(UTC),
        )
        announced = {volume.volume for volume in verdict.volumes if "stays" not in volume.reason}
    idle.compose(*args)
    died = {volume for volume in before if not idle.exists(volume)}
    assert died == announced


class Mute:
    """A witness where no archive is asked about, see judging.Witness."""

    def since(self, contents: object, archive: object) -> Since:
        raise AssertionError

    def verify(self, archive: object, catalog: object) -> str:
        raise AssertionError


def test_up_yes_with_a_changed_volume(idle: Stack) -> None:
    if "--yes" not in idle.compose("up", "--help").stdout:
        pytest.skip("this Compose re-creates no volumes: up has no --yes before 2.32")
    idle.write(IDLE.replace("data:/data", "data:/var/lib/mysql"))
    idle.up()
    assert idle.dbguard("compose", "up", "--yes", "--detach").returncode == 0
    idle.write(IDLE.replace("data:/data", "data:/var/lib/mysql").replace("data: {labels: {", "data: {labels: {a: b, "))
    running = idle.running
    refused = idle.dbguard("compose", "up", "--yes", "--detach")
    assert refused.returncode == 77
    assert f"{idle.volume} " in refused.stderr
    assert "keep the data:  docker compose up\n" in refused.stderr
    assert idle.running == running


# --- the whole way ---


ROWS = "CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO shop.t VALUES (1)"


@pytest.mark.fault(53, 54)
def test_from_the_refusal_to_the_deletion(server: Stack) -> None:
    server.up()
    server.sql(ROWS)
    running = server.running

    refused = server.dbguard("compose", "down", "--volumes")
    assert refused.returncode == 77
    assert re.search(rf"{server.volume}  (mysql|mariadb) {server.project}/db  REFUSED  never backed up", refused.stderr)
    assert "back up and go on:  dbguard compose --backup-first down --volumes" in refused.stderr
    assert "keep the data:      docker compose down" in refused.stderr
    assert f"delete anyway:      DBGUARD_ALLOW={server.volume} dbguard compose down --volumes" in refused.stderr
    assert server.running == running
    assert server.exists(server.volume)

    server.back_up()
    server.sql("INSERT INTO shop.t VALUES (2)")
    written = server.dbguard("compose", "down", "--volumes")
    assert written.returncode == 77
    assert re.search(
        r"REFUSED  its newest backup \S+ is \d+ s old, (1 transaction|something was written) since", written.stderr
    )
    assert server.running == running

    allowed = server.dbguard("compose", "--backup-first", "down", "--volumes")
    assert allowed.returncode == 0, allowed.stderr
    assert re.search(
        rf"{server.volume} .* ok  backup \S+, \d+ s old, verified, nothing was written since", allowed.stderr
    )
    assert not server.exists(server.volume)
    assert server.marks("relied") == 1
    assert server.audited == ["refused", "refused", "allowed"]

    server.up()
    again = server.dbguard("compose", "down", "-vt0")
    assert again.returncode == 77
    assert "are of another server" in again.stderr
    assert server.exists(server.volume)


@pytest.mark.fault(53, 54)
def test_what_makes_a_backup_count(mariadb: Stack) -> None:
    mariadb.up()
    mariadb.sql("CREATE DATABASE a; CREATE DATABASE b; CREATE TABLE a.t (a INT); CREATE TABLE b.t (a INT)")

    mariadb.back_up("--database", "a")
    partial = mariadb.dbguard("compose", "down", "-v")
    assert partial.returncode == 77
    assert "is partial: only a was asked for" in partial.stderr

    mariadb.back_up()
    mariadb.sql("INSERT INTO a.t VALUES (1)")
    stale = mariadb.dbguard("compose", "down", "-v", DBGUARD_GUARD__RECENT="0s", DBGUARD_GUARD__REQUIRE="complete")
    assert stale.returncode == 77
    assert "old, more than 0 s, something was written since" in stale.stderr

    (mariadb.folder / "backups").rename(mariadb.folder / "unplugged")
    lost = mariadb.dbguard("compose", "down", "-v")
    assert lost.returncode == 69
    assert "never backed up" not in lost.stderr
    (mariadb.folder / "unplugged").rename(mariadb.folder / "backups")

    for blob in (mariadb.folder / "backups").rglob("data.sql.zst"):
        blob.write_bytes(b"")
    damaged = mariadb.dbguard("compose", "down", "-v")
    assert damaged.returncode == 77
    assert "cannot be relied on: data.sql.zst has 0 bytes" in damaged.stderr
    assert mariadb.exists(mariadb.volume)


def test_a_stopped_server_is_known_by_its_files(mariadb: Stack) -> None:
    mariadb.up()
    mariadb.sql(ROWS)
    mariadb.compose("stop")
    stopped = mariadb.dbguard("compose", "down", "-v")
    assert stopped.returncode == 77
    assert f"mariadb {mariadb.project}/db  REFUSED  never backed up; its server is not running" in stopped.stderr

    mariadb.up()
    mariadb.back_up()
    mariadb.compose("down")
    gone = mariadb.dbguard("compose", "down", "-v")
    assert gone.returncode == 77
    assert "it has no binary log, and is not running" in gone.stderr
    assert mariadb.exists(mariadb.volume)
    recent = mariadb.dbguard("compose", "down", "-v", DBGUARD_GUARD__REQUIRE="recent")
    assert recent.returncode == 0, recent.stderr
    assert not mariadb.exists(mariadb.volume)


@pytest.mark.fault(55)
def test_an_anonymous_volume_dies_with_its_container(mariadb: Stack) -> None:
    mariadb.write(server_file("mariadb", volume=""))
    mariadb.up()
    mariadb.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT)")
    (volume,) = mariadb.anonymous
    for command in (["rm", "-fsv"], ["down", "-v"], ["-p", mariadb.project, "down", "-v"]):
        refused = mariadb.dbguard("compose", *command)
        assert refused.returncode == 77, command
        assert f"{volume[:12]}… (anonymous)  mariadb {mariadb.project}/db  REFUSED" in refused.stderr
    assert mariadb.running
    allowed = mariadb.dbguard("compose", "--backup-first", "rm", "-fsv")
    assert allowed.returncode == 0, allowed.stderr
    assert not mariadb.exists(volume)


@pytest.mark.fault(55)
def test_a_volume_that_another_container_holds_stays(idle: Stack) -> None:
    idle.write(IDLE.replace("data:/data", "data:/var/lib/mysql"))
    idle.up()
    holder = idle._run(
        [
            "docker",
            "run",
            "-d",
            "--label=dbguard-test=1",
            "-v",
            f"{idle.volume}:/held",
            "--entrypoint=sleep",
            MARIADB,
            "60",
        ]
    ).stdout.strip()
    try:
        kept = idle.dbguard("compose", "down", "-v")
        assert f"{idle.volume} " in kept.stderr
        assert "stays: still used by" in kept.stderr
        assert idle.exists(idle.volume)
    finally:
        idle._run(["docker", "rm", "-f", "-v", holder])


def test_a_broken_file_with_a_project_name_still_deletes_and_is_judged(mariadb: Stack) -> None:
    mariadb.up()
    mariadb.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT)")
    mariadb.write("services: [")
    (mariadb.folder / ".env").write_text(f"COMPOSE_PROJECT_NAME={mariadb.project}\n")
    assert mariadb.compose("config").returncode != 0
    refused = mariadb.dbguard("compose", "down", "-v")
    assert refused.returncode == 77
    assert "REFUSED  never backed up" in refused.stderr
    (mariadb.folder / ".env").unlink()
    unreadable = mariadb.dbguard("compose", "down", "-v")
    assert unreadable.returncode == 77
    assert "cannot say what down would delete: yaml:" in unreadable.stderr
    assert mariadb.exists(mariadb.volume)


# --- everything else is Compose's own ---


def test_the_rest_passes_through(idle: Stack) -> None:
    idle.compose("up", "--detach")
    for command, stdin in (
        (["exec", "-T", "db", "sh", "-c", "cat; exit 42"], "typed"),
        (["ps", "--all", "--format", "{{.Service}}"], ""),
        (["no-such-command"], ""),
        (["down", "--no-such-flag"], ""),
        (["down", "-v=perhaps"], ""),
        (["--help"], ""),
        (["down", "--help", "-v"], ""),
        (["down", "-v", "nobody"], ""),
        (["--dry-run", "rm", "-fsv", "nobody"], ""),
    ):
        own, ours = idle.compose(*command, stdin=stdin), idle.dbguard("compose", *command, stdin=stdin)
        if command == ["down", "-v", "nobody"]:
            assert ours.returncode == 77
            assert own.stderr.strip() in ours.stderr
            continue
        assert (ours.returncode, ours.stdout, ours.stderr) == (own.returncode, own.stdout, own.stderr), command
    assert len(idle.running) == 2


def test_a_file_from_stdin_is_read_once_and_used_as_often_as_it_takes(idle: Stack) -> None:
    idle.compose("create")
    text = (idle.folder / "compose.yaml").read_text()
    assert idle.dbguard("compose", "-f", "-", "config", "--services", stdin=text).stdout.split() == ["db", "web"]
    allowed = idle.dbguard("compose", "-f", "-", "down", "-v", stdin=text)
    assert allowed.returncode == 0, allowed.stderr
    assert not idle.exists(idle.volume)


# --- while somebody writes ---

WRITER = """
  writer:
    image: IMAGE
    LABEL
    environment: {MYSQL_PWD: test-only-password}
    stop_grace_period: 0s
    volumes: ['./log:/log']
    entrypoint: [sh, -c]
    command:
      - |
        while :; do
          n=$$((n + 1))
          CLIENT -h db -u root -e "INSERT INTO shop.t VALUES ($$n)" && echo $$n >> /log/committed
        done
"""


@pytest.mark.fault(54)
def test_no_row_is_lost_that_was_committed_before_the_volume_died(server: Stack) -> None:
    """The service that writes is stopped, the last backup is taken then, and all that it was told is safe is in it."""
    text = (server.folder / "compose.yaml").read_text()
    image, client = re.search(r"image: (\S+)", text), re.search(r"(mysql|mariadb) -h 127", text)
    assert image
    assert client
    writer = WRITER.replace("IMAGE", image[1]).replace("LABEL", LABEL).replace("CLIENT", client[1])
    server.up()
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY) ENGINE=InnoDB")
    (server.folder / "compose.yaml").write_text(text.replace("\nnetworks:", f"{writer}\nnetworks:"))
    server.up()
    committed = server.folder / "log/committed"
    server.back_up()
    refused = server.dbguard("compose", "down", "--volumes")
    assert refused.returncode == 77
    assert " since" in refused.stderr
    before = committed.read_text()
    done = server.dbguard("compose", "--backup-first", "down", "--volumes")
    assert done.returncode == 0, done.stderr
    assert not server.exists(server.volume)
    assert len(committed.read_text()) > len(before)

    server.up("db")
    restored = server.dbguard("restore", f"{server.project}/db", "--latest", "--yes", "--accounts")
    assert restored.returncode == 0, restored.stderr
    there = set(server.sql("SELECT a FROM shop.t").split())
    assert set(committed.read_text().split()) <= there


# --- on a terminal ---


@pytest.mark.parametrize(("answer", "goes"), [("n", False), ("y", True)])
def test_on_a_terminal_it_offers_to_back_up_and_go_on(mariadb: Stack, answer: str, goes: bool) -> None:
    mariadb.up()
    mariadb.sql(ROWS)
    running = mariadb.running
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dbguard", "compose", "down", "--volumes"]
    with subprocess.Popen(
        command, cwd=mariadb.folder, env=mariadb.environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while b"delete then?" not in said:
            said += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # a terminal that nobody has open any more
            while data := os.read(ours, 4096):
                said += data
    os.close(ours)
    assert b"never backed up" in said
    assert process.returncode == (0 if goes else 77)
    assert mariadb.exists(mariadb.volume) is not goes
    if not goes:
        assert mariadb.running == running


# --- anchors ---


def test_an_anchor_holds_what_plain_compose_deletes_and_gives_way_to_the_guard(idle: Stack) -> None:
    idle.up()
    locked = idle.dbguard("guard", "lock", idle.volume)
    assert locked.returncode == 0, locked.stderr
    try:
        idle.compose("down", "--volumes")
        assert idle.exists(idle.volume)
        idle.up()
        allowed = idle.dbguard("compose", "down", "--volumes")
        assert allowed.returncode == 0, allowed.stderr
        assert not idle.exists(idle.volume)
        assert idle._run(["docker", "ps", "-aqf", f"label=dbguard.lock={idle.volume}"]).stdout == ""
    finally:
        idle.dbguard("guard", "unlock", idle.volume)
