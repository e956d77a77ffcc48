"""Which calls of the Engine's API each job makes, recorded from real runs.

`source .testbed.env; .venv/bin/python -m tests.engine_calls` prints the rows of the table in docs/socket-proxies.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.forwarder import Forwarder
from tests.servers import LABEL
from tests.stack import TABLE, Stack, sidecar_image

_ENGINE = "/var/run/docker.sock"
_OURS = "docker-sdk-python/"
"""How docker-py calls itself; docker's own commands have other names."""
_WORDS = frozenset({"create", "json", "prune"})
"""What stands where an id or a name could: `/containers/json`."""
_ID = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"^(/(?:containers|exec|images|networks|volumes)/)([^/]+)")


@dataclass(frozen=True)
class Call:
    method: str
    path: str  # without version and query; ids and names replaced
    agent: str

    @property
    def ours(self) -> bool:
        return self.agent.startswith(_OURS)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def normalised(target: str) -> str:
    """`/v1.41/exec/0a…/json?x=y` is `/exec/{id}/json`."""
    path = re.sub(r"^/v\d+\.\d+(?=/)", "", target.partition("?")[0])
    return _NAMED.sub(lambda match: match[1] + _placeholder(match[2]), path)


def _placeholder(word: str) -> str:
    if word in _WORDS:
        return word
    return "{id}" if _ID.fullmatch(word) else "{name}"


class Recorder(Forwarder):
    """Notes each request."""

    def __init__(self, folder: Path, upstream: str = _ENGINE) -> None:
        self.calls: list[Call] = []
        super().__init__(folder, upstream)

    def connection(self, client: socket.socket, engine: socket.socket) -> _Connection:
        return _Connection(client, engine, self.calls.append)

    def take(self) -> list[Call]:
        """Those since the last time."""
        taken = list(self.calls)
        del self.calls[: len(taken)]
        return taken


class _Connection:
    """Requests are understood up to where the engine agrees to an upgrade; what follows is any program's bytes."""

    def __init__(self, client: socket.socket, engine: socket.socket, note: Callable[[Call], None]) -> None:
        self._client = client
        self._engine = engine
        self._note = note
        self._upgrade_asked = threading.Event()
        self._answered = threading.Event()
        self._status = b""

    def requests(self) -> None:
        """Client to engine."""
        reader = _Reader(self._client, self._engine)
        with contextlib.suppress(OSError, EOFError):
            while self._request(reader):
                pass
            reader.pass_all()
        with contextlib.suppress(OSError):
            self._engine.shutdown(socket.SHUT_WR)

    def _request(self, reader: _Reader) -> bool:
        """False when no further request follows on this connection."""
        head = reader.head()
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._note(Call(method, normalised(target), fields.get("user-agent", "")))
        if upgrade := "upgrade" in fields:
            self._answered.clear()
            self._upgrade_asked.set()
        reader.pass_on(head)
        if fields.get("transfer-encoding") == "chunked":
            reader.pass_chunks()
        else:
            reader.pass_body(int(fields.get("content-length", 0)))
        if upgrade:
            self._answered.wait()
        return not (upgrade and self._status.startswith(b"HTTP/1.1 101"))

    def answers(self) -> None:
        """Engine to client."""
        with contextlib.suppress(OSError):
            while data := self._engine.recv(1 << 16):
                if self._upgrade_asked.is_set():
                    self._upgrade_asked.clear()
                    self._status = data[:12]
                    self._answered.set()
                self._client.sendall(data)
        self._answered.set()
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)


class _Reader:
    """What a client sends, taken apart and passed on."""

    def __init__(self, source: socket.socket, to: socket.socket) -> None:
        self._source = source
        self._to = to
        self._data = b""

    def head(self) -> bytes:
        """Up to and with the empty line. Raises EOFError when the client has nothing more to ask."""
        return self._up_to(b"\r\n\r\n")

    def pass_on(self, data: bytes) -> None:
        self._to.sendall(data)

    def pass_body(self, length: int) -> None:
        while length:
            if not self._data:
                self._more()
            piece, self._data = self._data[:length], self._data[length:]
            self._to.sendall(piece)
            length -= len(piece)

    def pass_chunks(self) -> None:
        size = -1
        while size:
            line = self._up_to(b"\r\n")
            self._to.sendall(line)
            size = int(line.partition(b";")[0], 16)
            self.pass_body(size + 2)

    def pass_all(self) -> None:
        while True:
            self._to.sendall(self._data)
            self._more()

    def _up_to(self, end: bytes) -> bytes:
        while end not in self._data:
            self._data += self._received()
        head, _, self._data = self._data.partition(end)
        return head + end

    def _more(self) -> None:
        self._data = self._received()

    def _received(self) -> bytes:
        data = self._source.recv(1 << 16)
        if not data:
            raise EOFError
        return data


# --- the jobs ---

CLI = "docker compose"
"""Rows with this word hold what docker's own commands ask; the others what dbguard asks."""

_HOST = """
services:
  db:
    image: {image}
    environment: {{MARIADB_ROOT_PASSWORD_FILE: /run/secrets/root_password}}
    secrets: [root_password]
    volumes: [data:/var/lib/mysql]
    healthcheck: {{test: [CMD, mariadb-admin, "-h127.0.0.1", ping], interval: 1s, retries: 120}}
volumes: {{data: {{}}}}
secrets: {{root_password: {{file: ./root_password.txt}}}}
"""


Recorded = tuple[str, list[Call]]
"""A job, and what it asked."""


class Job:
    """A stack whose dbguard, on the host and in the sidecar, speaks through recorders."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.stack = stack
        self.recorder = Recorder(folder)
        self._direct = dict(stack.environment)
        self._recorded = self._direct | {"DOCKER_HOST": self.recorder.host}

    def calls(self, *words: str, code: int = 0) -> list[Call]:
        """What this command asks of the engine."""
        self.recorder.take()
        self.stack.environment = self._recorded
        try:
            done = self.stack.dbguard(*words)
        finally:
            self.stack.environment = self._direct
        assert done.returncode == code, f"dbguard {' '.join(words)}: {done.stderr}{done.stdout}"
        return self.recorder.take()

    def close(self) -> None:
        self.stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")
        self.recorder.close()


def record(folder: Path, image: str | None = None) -> dict[str, set[str]]:
    """The calls of each job; takes half a minute, an engine, and the image of the sidecar."""
    rows: dict[str, set[str]] = {}
    stacks = _on_the_host(folder / "host"), _with_a_sidecar(folder / "sidecar", image or sidecar_image())
    with ThreadPoolExecutor() as pool:
        found = [pool.submit(list[Recorded], jobs) for jobs in stacks]
    for job, calls in chain.from_iterable(future.result() for future in found):
        rows[job] = {str(call) for call in calls if call.ours}
        theirs = {str(call) for call in calls if not call.ours}
        assert not theirs or "compose" in job, f"{job}: asked by something that is not dbguard: {theirs}"
        if theirs:
            rows[job.replace("compose", CLI)] = theirs
    return rows


def _on_the_host(folder: Path) -> Iterator[Recorded]:
    with _job(folder, _HOST.format(image=os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8"))) as job:
        job.stack.compose("up", "-d", "--wait", "db")
        _sql(job.stack, TABLE)
        yield "discover", job.calls("discover")
        yield "backup now", job.calls("backup", "now")
        yield "list, cat, hold, prune", _archive_jobs(job)
        yield "verify", job.calls("verify")
        _sql(job.stack, "DROP DATABASE shop")
        yield "restore", job.calls("restore", "db", "--latest", "--yes")
        yield "doctor", job.calls("doctor")
        throwaway = _throwaway(job.stack)
        yield "doctor --clean", job.calls("doctor", "--clean")
        left = job.stack.here("docker", "ps", "--all", "--quiet", "--no-trunc").stdout
        assert throwaway not in left, "nothing was there to be cleaned"
        down = ("compose", "--backup-first", "down", "--volumes", "--timeout", "1")  # the restore has written
        yield "compose down --volumes", job.calls(*down)


def _with_a_sidecar(folder: Path, image: str) -> Iterator[Recorded]:
    """The sidecar is given a recorder's socket in place of the engine's."""
    with _job(folder, None, image) as job, _recorder(folder / "inside") as inside:
        file = job.stack.folder / "compose.yaml"
        mount = f"{inside.socket}:/var/run/docker.sock"
        file.write_text(file.read_text().replace("/var/run/docker.sock:/var/run/docker.sock", mount))
        job.stack.up_with_data()
        yield "run", inside.take()
        yield "any of these, answered by the sidecar", [*job.calls("backup", "now"), *job.calls("list")]


def _archive_jobs(job: Job) -> list[Call]:
    (archive,) = job.stack.archives()
    ask: Iterable[tuple[str, ...]] = [("list",), ("cat", archive), ("hold", archive), ("release", archive), ("prune",)]
    return [call for words in ask for call in job.calls(*words)]


@contextlib.contextmanager
def _job(folder: Path, compose: str | None, image: str = "") -> Iterator[Job]:
    (folder / "stack").mkdir(parents=True)
    job = Job(folder, Stack(folder / "stack", image, compose))
    try:
        yield job
    finally:
        job.close()


@contextlib.contextmanager
def _recorder(folder: Path) -> Iterator[Recorder]:
    folder.mkdir()
    recorder = Recorder(folder)
    try:
        yield recorder
    finally:
        recorder.close()


def _sql(stack: Stack, text: str) -> None:
    client = 'MYSQL_PWD=$(cat /run/secrets/root_password) exec mariadb -uroot -e "$0"'
    stack.compose("exec", "-T", "db", "sh", "-c", client, text)


def _throwaway(stack: Stack) -> str:
    """What a run that was killed leaves behind, for a target that nobody is at work on."""
    labels = ("--label", LABEL, "--label", "dbguard.role=throwaway")
    target = ("--label", f"dbguard.target={stack.project}/db")
    image = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")
    made = subprocess.run(["docker", "create", *labels, *target, image], capture_output=True, text=True, check=True)
    return made.stdout.strip()


# --- the table ---


def parsed(page: str) -> dict[str, set[str]]:
    """The rows of the page's tables whose second column holds calls: "`GET /info`, `GET /version`"."""
    rows = re.findall(r"^\| ([^|]+) \| (`[A-Z]+ /[^|]*) \|$", page, re.MULTILINE)
    return {job.replace("`", ""): set(re.findall(r"`([A-Z]+ /[^`]*)`", calls)) for job, calls in rows}


def printed(rows: dict[str, set[str]]) -> str:
    order = sorted(rows, key=lambda job: CLI in job)  # stable: docker's own come last
    return "\n".join(f"| {_quoted(job)} | {', '.join(f'`{call}`' for call in sorted(rows[job]))} |" for job in order)


def _quoted(job: str) -> str:
    name, comma, rest = job.partition(", answered")
    words = [name] if name.startswith("any") else [f"`{word}`" for word in name.split(", ")]
    return ", ".join(words) + comma + rest


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp())  # short: a socket's path may have 107 characters
    try:
        print(printed(record(place)))
    finally:
        shutil.rmtree(place, ignore_errors=True)
