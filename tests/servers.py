"""Real database servers for tests, from `docker-compose.test.yml`."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("mysql97", "mariadb118", "mariadb1011")
PASSWORD = os.environ.get("DBGUARD_TEST_PASSWORD", "test-only-password")
COMPOSE_FILE = Path(__file__).parents[1] / "docker-compose.test.yml"
LABEL = "dbguard-test=1"
READY = 120
"""Seconds that a server may take to start on a busy machine."""

_SYSTEM = "('mysql', 'information_schema', 'performance_schema', 'sys')"
_EMPTY = f"""
SELECT CONCAT('DROP DATABASE `', REPLACE(schema_name, '`', '``'), '`;') FROM information_schema.schemata
  WHERE schema_name NOT IN {_SYSTEM};
SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.user
  WHERE user NOT IN ('root', 'healthcheck') AND user NOT LIKE 'mysql.%' AND user NOT LIKE 'mariadb.%';
"""


class SqlError(AssertionError):
    """The server refused something that a test wanted done."""


@dataclass(frozen=True)
class Server:
    """A running database server. `kind` is a service of the compose file, `target` its name for dbguard."""

    container: str
    kind: str
    target: str

    @property
    def family(self) -> str:
        """`mysql` or `mariadb`: also the name of the client, and the stem of that of the dump program."""
        return "mariadb" if self.kind.startswith("mariadb") else "mysql"

    def sql(self, text: str | bytes, *, user: str = "root", options: tuple[str, ...] = ()) -> str:
        """What the server's own client prints for these statements: rows without titles, control characters escaped."""
        return self.client(text, *options, user=user).decode("utf-8", "surrogateescape")

    def client(self, text: str | bytes, *options: str, user: str = "root") -> bytes:
        """The same, as bytes. The password travels in the environment of the two clients, so stdout stays clean."""
        binary = ["--batch", "--skip-column-names", "--binary-mode", "--comments", "--default-character-set=utf8mb4"]
        data = text.encode() if isinstance(text, str) else text
        return self.run(self.family, f"--user={user}", *binary, *options, stdin=data)

    def run(self, *argv: str, stdin: bytes = b"", timeout: float = 300) -> bytes:
        """The output of a program in the container, with the password in MYSQL_PWD. A failure of it is a SqlError."""
        command = ["docker", "exec", "-i", "-e", "MYSQL_PWD", self.container, *argv]
        environment = os.environ | {"MYSQL_PWD": PASSWORD}
        done = subprocess.run(command, input=stdin, env=environment, capture_output=True, timeout=timeout)
        if done.returncode != 0:
            raise SqlError(f"{argv[0]} on {self.target}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout

    def databases(self) -> list[str]:
        query = (
            f"SELECT HEX(schema_name) FROM information_schema.schemata WHERE schema_name NOT IN {_SYSTEM} ORDER BY 1"
        )
        return [bytes.fromhex(line).decode() for line in self.sql(query).split()]

    def empty(self) -> None:
        """Drops every database and account that a test may have made, and resets what it may have set."""
        drops = self.client(_EMPTY, "--raw")
        self.client(b"SET foreign_key_checks = 0;\nSET GLOBAL max_allowed_packet = DEFAULT;\n" + drops)

    def wait_until_ready(self) -> None:
        """Over TCP, because only the real server listens there, not the temporary one of the first start."""
        end = time.monotonic() + READY
        while True:
            try:
                self.client("SELECT 1", "--protocol=TCP", "--host=127.0.0.1")
                return
            except SqlError:
                assert time.monotonic() < end, f"{self.target} did not start: {docker('logs', self.container)}"
                time.sleep(0.2)


class Servers:
    """One compose project: each kind of server, started when it is first wanted, and any number of fresh ones."""

    def __init__(self) -> None:
        self.project = f"dbguard-test-{uuid.uuid4().hex[:12]}"
        self._running: dict[str, Server] = {}

    def get(self, kind: str) -> Server:
        """The shared server of that kind, emptied."""
        server = self._started(kind)
        server.empty()
        return server

    def running(self) -> Collection[Server]:
        """The shared servers that were started so far."""
        return self._running.values()

    def fresh(
        self,
        kind: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        image: str = "",
        options: Sequence[str] = (),
    ) -> Server:
        """A new server with the command of that kind, and its image if none is given, outside of the project."""
        model = json.loads(docker("inspect", self._started(kind).container))[0]["Config"]
        variables = {"MYSQL_ROOT_PASSWORD": PASSWORD} if environment is None else environment
        name = f"{self.project}-{uuid.uuid4().hex[:8]}"
        labels = ("--label", LABEL, "--label", f"dbguard-test.run={self.project}")
        settings = [word for pair in variables.items() for word in ("--env", "=".join(pair))]
        command = (*model["Cmd"], *arguments)
        container = docker(
            "run", "--detach", "--name", name, *labels, *settings, *options, image or model["Image"], *command
        ).strip()
        server = Server(container, kind, f"_/{name}")
        server.wait_until_ready()
        return server

    def remove(self) -> None:
        """Everything of this run, by id."""
        for label in (f"com.docker.compose.project={self.project}", f"dbguard-test.run={self.project}"):
            for kind, listing, removal in (
                ("container", ("--all",), ("--force", "--volumes")),
                ("volume", (), ()),
                ("network", (), ()),
            ):
                if ids := docker(kind, "ls", *listing, "--quiet", "--filter", f"label={label}").split():
                    docker(kind, "rm", *removal, *ids)

    def _started(self, kind: str) -> Server:
        if kind not in self._running:
            self._compose("up", "--detach", kind)
            container = self._compose("ps", "--quiet", kind).strip()
            server = Server(container, kind, f"{self.project}/{kind}")
            server.wait_until_ready()
            self._running[kind] = server
        return self._running[kind]

    def _compose(self, *words: str) -> str:
        return docker("compose", "--file", str(COMPOSE_FILE), "--project-name", self.project, *words)


def docker(*words: str) -> str:
    """Output of the docker command; it must succeed. Compose variables of the developer's shell do not reach it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    done = subprocess.run(["docker", *words], env=environment, capture_output=True, text=True, timeout=READY * 2)
    assert done.returncode == 0, f"docker {' '.join(words)[:200]}: {done.stderr[-2000:]}"
    return done.stdout


def remove_container(container: str) -> None:
    """With its anonymous volumes."""
    docker("container", "rm", "--force", "--volumes", container)
