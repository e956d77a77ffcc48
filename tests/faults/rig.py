"""A database that may be harmed, a dbguard with a storage of its own, and eyes on what is left of both."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

IMAGES = {
    "mysql": os.environ.get("DBGUARD_TEST_MYSQL97", "mysql:9.7"),
    "mariadb": os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8"),
}
STAGED = Path(__file__).with_name("staged.py")
READY = 90.0
"""Seconds a database server may take to start on a busy machine."""


def wait_until(true: Callable[[], object], what: str, *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    """By SIGSTOP."""
    status = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "the process stops")


@dataclass(frozen=True)
class Engine:
    """A Docker Engine; without a host, the one that the machine's own settings name."""

    host: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.host} if self.host else {}

    def docker(self, *words: str, stdin: str = "", check: bool = True) -> str:
        env = os.environ | self.environment
        done = subprocess.run(["docker", *words], input=stdin, env=env, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"docker {' '.join(words)[:200]}: {done.stderr}"
        return done.stdout

    @cached_property
    def socket(self) -> str:
        """Where the engine listens: the path of its socket."""
        host = self.host or self.docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
        assert host.startswith("unix://"), f"these tests need the engine's socket, not {host}"
        return host.removeprefix("unix://")


@dataclass(frozen=True)
class Running:
    """A process inside a container."""

    pid: int
    state: str  # one letter, as in proc(5)
    argv: str


class Box:
    """A database container. Its target is `<project>/db`, and no other container is in that project."""

    def __init__(
        self, engine: Engine, image: str, *, password: str = "a-password", options: tuple[str, ...] = ()
    ) -> None:
        self.engine = engine
        self.image = image
        self.project = f"faults{secrets.token_hex(4)}"
        self.target = f"{self.project}/db"
        self.password = password
        self._options = options or ("--env", f"MYSQL_ROOT_PASSWORD={password}")
        self._left_by_force: set[int] = set()
        self.id = ""
        self.create()

    def create(self) -> None:
        """A new container, as `compose up` makes one after the old one is gone."""
        labels = {
            "dbguard-test": "1",
            "com.docker.compose.project": self.project,
            "com.docker.compose.service": "db",
        }
        named = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        self.id = self.engine.docker("run", "--detach", *named, *self._options, self.image).strip()

    def fill(self) -> None:
        """Waits for the server, and gives it the databases of these tests."""
        self.wait_until_ready()
        self.sql(DATA)

    def remove(self) -> None:
        self.engine.docker("rm", "--force", "--volumes", self.id)

    def inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", self.id))
        return found[0]

    @cached_property
    def client(self) -> str:
        return "mariadb" if self.sh("command -v mariadb || true") else "mysql"

    @property
    def dump_program(self) -> str:
        return {"mariadb": "mariadb-dump", "mysql": "mysqldump"}[self.client]

    def sh(self, script: str, *, stdin: str = "", check: bool = True) -> str:
        return self.engine.docker("exec", "--interactive", self.id, "sh", "-c", script, stdin=stdin, check=check)

    def sql(self, statements: str) -> list[list[str]]:
        """The rows of all results, one after the other."""
        return [line.split("\t") for line in self._client("", statements).splitlines()]

    def wait_until_ready(self) -> None:
        """Only the real server listens on TCP, the temporary one of the first start does not."""
        ready = "SELECT 'yes'"
        wait_until(lambda: self._client("--host=127.0.0.1", ready, check=False) == "yes\n", self.image, seconds=READY)

    def _client(self, option: str, statements: str, *, check: bool = True) -> str:
        """The password goes by stdin: a test searches all argv for it."""
        script = (
            f"IFS= read -r password; {self.client} --defaults-extra-file=/dev/fd/3 {option} --batch"
            " --skip-column-names 3<<X\n[client]\nuser=root\npassword=$password\nX\n"
        )
        return self.sh(script, stdin=f"{self.password}\n{statements}", check=check)

    def running(self) -> list[Running]:
        """All processes but the server and our own."""
        script = (
            "for d in /proc/[0-9]*; do"
            ' read -r _ _ state _ 2>/dev/null <"$d/stat" && printf "%s %s %s\\n" "${d#/proc/}" "$state"'
            ' "$(tr "\\0\\n" "  " 2>/dev/null <"$d/cmdline")"; done; : these-are-our-own-eyes'
        )
        lines = [line.split(" ", 2) for line in self.sh(script).splitlines()]
        found = [Running(int(pid), state, argv.strip()) for pid, state, argv in lines]
        return [one for one in found if one.pid != 1 and "these-are-our-own-eyes" not in one.argv]

    def wait_until_idle(self, *, seconds: float = 5.0, forced: bool = False) -> None:
        """Nothing of ours runs there any more. What was ended by force waits to be reaped, by a server that reaps
        nobody; on a busy machine force is needed sooner. That good runs leave no such thing is a test of its own."""
        end = time.monotonic() + seconds
        while left := [one for one in self.running() if one.pid not in self._left_by_force]:
            late = time.monotonic() > end
            if (forced or late) and all(one.state == "Z" for one in left):
                self._left_by_force |= {one.pid for one in left}
                return
            assert not late, f"still in the container after {seconds:.0f} s: {left}"
            time.sleep(0.2)

    # --- a program of ours instead of the image's own ---

    @contextlib.contextmanager
    def instead_of(self, program: str, script: str) -> Iterator[None]:
        """While this is open, `program` is a shell script; in it, `$real` is the true program."""
        place = f"/usr/local/bin/{program}"
        self.put_back()
        text = f"#!/bin/sh\nreal=/usr/bin/{program}\n" + _ANSWER_VERSION + script
        self.sh(f"cat >{place}.new && chmod 755 {place}.new && mv {place}.new {place}", stdin=text)
        try:
            yield
        finally:
            self.put_back()

    def put_back(self) -> None:
        """The image's own programs; in a container that does not run it is done when the next one is replaced."""
        ours = " ".join(f"/usr/local/bin/{name}" for name in (self.dump_program, "zstd"))
        self.sh(f"rm -f {ours} {HALF} {GO} {STATUS}", check=False)

    @contextlib.contextmanager
    def dump(self, script: str) -> Iterator[None]:
        with self.instead_of(self.dump_program, script):
            yield

    @contextlib.contextmanager
    def slow_dump(self) -> Iterator[None]:
        """While this is open, a dump stops in its middle until `go_on`."""
        with self.dump(SLOW):
            yield

    def wait_until_half(self) -> None:
        """The slow dump has written some bytes and now waits."""
        wait_until(lambda: self.exists(HALF), "the dump begins")

    def go_on(self) -> None:
        self.sh(f": >{GO}")

    def exists(self, path: str) -> bool:
        return self.sh(f"[ ! -e {path} ] || echo yes").strip() == "yes"


HALF = "/tmp/dbguard-test-half"
GO = "/tmp/dbguard-test-go"
STATUS = "/tmp/dbguard-test-status"
_ANSWER_VERSION = """case " $* " in *" --version "*) exec "$real" --version ;; esac
"""
SLOW = f"""trap : TERM
{{ trap : TERM; "$real" "$@"; echo $? >{STATUS}; }} | {{
  trap 'exit 1' TERM
  dd bs=1 count=2000 2>/dev/null
  : >{HALF}
  while [ ! -e {GO} ]; do sleep 0.1; done
  cat
}}
exit "$(cat {STATUS})"
"""
"""Every shell waits for what it has started, so that nothing of it is left to be reaped."""

DATA = """
CREATE DATABASE shop;
USE shop;
CREATE TABLE a (i INT PRIMARY KEY, t VARCHAR(100));
INSERT INTO a VALUES (1, 'one'), (2, 'two');
CREATE TABLE b (i INT PRIMARY KEY, a INT, CONSTRAINT b_a FOREIGN KEY (a) REFERENCES a (i));
INSERT INTO b VALUES (1, 1);
CREATE VIEW v AS SELECT t FROM a;
CREATE PROCEDURE p() SELECT 1;
CREATE TRIGGER r BEFORE INSERT ON a FOR EACH ROW SET NEW.t = UPPER(NEW.t);
CREATE DATABASE bulk;
USE bulk;
CREATE TABLE noise (i INT PRIMARY KEY, t TEXT);
INSERT INTO noise VALUES %s;
""" % ", ".join(  # noqa: UP031 — the braces of SQL stay what they are
    f"({i}, '{base64.b64encode(hashlib.sha512(b'%d' % i).digest()).decode() * 2}')" for i in range(1200)
)
"""`shop` is small and has every kind of object; `bulk` is 200 KiB when packed, more than pipes and buffers hold."""


@dataclass(frozen=True)
class Result:
    """How one call of dbguard ended."""

    code: int
    out: bytes
    err: str

    def failed(self, *words: str, code: int = 1) -> None:
        """Asserts one clear error that holds all `words`, and no traceback."""
        assert self.code == code, f"exit code {self.code} instead of {code}: {self.err}"
        errors = [line for line in self.err.splitlines() if line.startswith("dbguard: ")]
        assert len(errors) == 1, f"one error was expected: {self.err}"
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, f"{word!r} is not in: {self.err}"

    def succeeded(self) -> Result:
        assert self.code == 0, f"exit code {self.code}: {self.err}"
        return self


def _obey_sigint() -> None:
    """A job in the background ignores it, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Vault:
    """A storage and a state folder, and dbguard as its user runs it."""

    folder: Path
    engine: Engine
    storage: Path = field(init=False)
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.storage = self.folder / "storage"
        self.state = self.folder / "state"
        (self.folder / "work").mkdir(parents=True, exist_ok=True)

    def start(self, *words: str, stage: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """Starts dbguard; with `stage`, something happens to it there: see staged.py."""
        program = [str(STAGED), stage] if stage else ["-m", "dbguard"]
        return subprocess.Popen(
            [sys.executable, *program, "--storage", self.storage.as_uri(), *words],
            env=self._environment(environment),
            cwd=self.folder / "work",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_obey_sigint,  # noqa: PLW1509 — this process has no threads
        )

    def end(self, process: subprocess.Popen[bytes], *, seconds: float = 90.0) -> Result:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"dbguard did not end within {seconds:.0f} s: {err.decode()}") from None
        return Result(process.returncode, out, err.decode())

    def run(self, *words: str, stage: str = "", **environment: str) -> Result:
        return self.end(self.start(*words, stage=stage, **environment))

    def backup(self, box: Box, *words: str, stage: str = "", **environment: str) -> Result:
        return self.run("backup", "now", "--project", box.project, *words, stage=stage, **environment)

    def restore(self, box: Box, *words: str, stage: str = "", **environment: str) -> Result:
        return self.run("restore", box.target, *(words or ("--latest",)), "--yes", stage=stage, **environment)

    def listed(self) -> list[str]:
        """The ids of the archives that `list` calls good, newest first."""
        return self.both()[0]

    def both(self) -> tuple[list[str], list[str]]:
        """The ids of the good ones, and of those that are damaged."""
        found = json.loads(self.run("list", "--json").succeeded().out)
        return [archive["id"] for archive in found["archives"]], [bad["id"] for bad in found["damaged"]]

    def files(self) -> dict[str, str]:
        """Whatever lies below the storage, hidden files and empty folders too, with its content's hash."""
        found = {}
        for path in sorted(self.storage.rglob("*")):
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            found[path.relative_to(self.storage).as_posix()] = content
        return found

    def of(self, box: Box, archive_id: str) -> Path:
        """The folder of one archive."""
        return self.storage / box.target / archive_id

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        """The caller's own, less whatever configures dbguard: PYTHONPATH stays."""
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("DBGUARD_", "COMPOSE_"))}
        here = {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.state), "DBGUARD_VERIFY__WHEN": "off"}
        return mine | here | self.engine.environment | more
