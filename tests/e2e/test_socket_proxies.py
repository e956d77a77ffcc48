"""dbguard behind a real HAProxy with the configuration of examples/socket-proxy: what docs/socket-proxies.md says."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.conftest import Dbguard, Fresh
from tests.engine_calls import parsed
from tests.servers import Server, Servers, docker
from tests.stack import ROOT, TABLE, Stack, sidecar_image, wait_until

pytestmark = pytest.mark.docker

EXAMPLE = ROOT / "examples/socket-proxy"
PAGE = (ROOT / "docs/socket-proxies.md").read_text()
ENGINE = "/var/run/docker.sock"
NEWEST = "sid"
WORKING = (pytest.param("trixie", marks=pytest.mark.soak), NEWEST)
"""Debian's suites whose HAProxy lets a program's stream through: 3.0.11 and 3.2.26."""
OLD = "bookworm"
LEVELS = {
    "read": ("list, cat, hold, prune",),
    "backup": ("discover", "backup now", "restore", "doctor", "run", "any of these, answered by the sidecar"),
    "clean": ("doctor --clean",),
    "verify": ("verify", "compose down --volumes"),
}
"""The rows of the page's table that each level of the configuration adds."""
ID = "0a" * 32
CUT = ("timeout tunnel 2h", "timeout tunnel 2s")
PATIENT = ("2m", "2s")

Start = Callable[..., str]


def haproxy(suite: str) -> Path:
    found = subprocess.run([ROOT / "tests/testbed/haproxy", suite], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.fail(f"no HAProxy: {found.stderr}")
    return Path(found.stdout.strip())


@contextmanager
def running(suite: str, level: str, engine: str, *, change: tuple[str, str] = ("", "")) -> Iterator[str]:
    """The socket of an HAProxy with the example's configuration."""
    folder = Path(tempfile.mkdtemp())  # pytest's own is too long for the path of a socket
    path = folder / "docker.sock"
    config = folder / "haproxy.cfg"
    text = (EXAMPLE / "haproxy.cfg").read_text()
    assert change[0] in text
    config.write_text(text.replace(*change) if change[0] else text)
    variables = {"LISTEN": f"unix@{path}", "ENGINE": f"unix@{engine}"} | ({"LEVEL": level} if level else {})
    log = (folder / "log").open("w+")
    process = subprocess.Popen(
        [haproxy(suite) / "run", "-db", "-f", config], env=os.environ | variables, stdout=log, stderr=log
    )
    try:
        wait_until(lambda: path.exists() or process.poll() is not None, "the proxy")
        assert process.poll() is None, (folder / "log").read_text()
        yield str(path)
    finally:
        process.terminate()
        process.wait()
        log.close()
        shutil.rmtree(folder)


@pytest.fixture
def proxied() -> Iterator[Start]:
    """Starts a proxy and gives its address: `proxied(suite, level)`."""
    with ExitStack() as stack:

        def start(suite: str, level: str, *, change: tuple[str, str] = ("", "")) -> str:
            return "unix://" + stack.enter_context(running(suite, level, ENGINE, change=change))

        yield start


@pytest.fixture
def box(servers: Servers) -> Server:
    server = servers.get("mariadb118")
    server.sql(TABLE)
    return server


# --- what works ---


@pytest.mark.parametrize("suite", WORKING)
def test_backup_and_restore(suite: str, proxied: Start, box: Server, dbguard: Dbguard) -> None:
    through = {"DOCKER_HOST": proxied(suite, "backup")}
    dbguard("backup", "now", box.target, environment=through).succeeded()
    box.sql("DROP DATABASE shop")
    dbguard("restore", box.target, "--latest", "--yes", environment=through).succeeded()
    assert box.sql("SELECT COUNT(*) FROM shop.t") == "3\n"
    project = ("--project", box.target.partition("/")[0])
    dbguard("doctor", *project, environment=through).succeeded()
    dbguard("doctor", *project, "--clean", environment={"DOCKER_HOST": proxied(suite, "clean")}).succeeded()


@pytest.mark.parametrize("suite", [*WORKING, OLD])
def test_reading(suite: str, proxied: Start, box: Server, dbguard: Dbguard) -> None:
    dbguard("backup", "now", box.target).succeeded()
    listed = dbguard("list", "--json", environment={"DOCKER_HOST": proxied(suite, "read")}).succeeded().json
    assert len(listed["archives"]) == 1


def test_the_stack_of_the_example(tmp_path: Path) -> None:
    """The sidecar has no other way to the engine. The proxy's image is one of ours with Debian's HAProxy in it."""
    text = (EXAMPLE / "compose.yaml").read_text()
    folder = haproxy(NEWEST)
    text = text.replace("    network_mode: none\n", f"    network_mode: none\n    entrypoint: {START}\n")
    text = text.replace("      - socket:/run/socket-proxy\n", f"      - socket:/run/socket-proxy\n{HAPROXY}", 1)
    stack = Stack(tmp_path, sidecar_image(), text.replace("FOLDER", str(folder)), verify=True)
    stack.environment["DEMO_HAPROXY_IMAGE"] = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")
    shutil.copy(EXAMPLE / "haproxy.cfg", tmp_path)
    try:
        stack.compose("up", "-d", "db")
        wait_until(lambda: "Access denied" in client(stack), "the database")
        stack.sql(TABLE)
        stack.compose("up", "-d")
        wait_until(lambda: bool(stack.stored()), "the sidecar's first backup")
        assert stack.archives() == stack.stored(), "the sidecar answers the host"
        wait_until(lambda: "not verified: " in stack.compose("logs", "backup"), "that no server could be made")
        assert "docs/socket-proxies.md" in stack.compose("logs", "backup")
        mounts = docker("inspect", "--format", "{{json .Mounts}}", stack.compose("ps", "-q", "backup").strip())
        assert ENGINE not in mounts
    finally:
        stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


START = "[/haproxy/run, -W, -db, -f, /usr/local/etc/haproxy/haproxy.cfg]"
HAPROXY = "      - FOLDER:/haproxy:ro\n"


def client(stack: Stack) -> str:
    """Only the real server listens on TCP, not the temporary one of the first start."""
    argv = ["docker", "compose", "exec", "-T", "db", "mysql", "-h127.0.0.1", "-uroot", "-pwrong", "-eDO 0"]
    return stack.here(*argv).stderr


def test_the_page_shows_the_example() -> None:
    (shown,) = re.findall(r"```yaml\n(  proxy:.*?)\n\n", PAGE, re.DOTALL)
    example = (EXAMPLE / "compose.yaml").read_text()
    lines = example.replace("${DEMO_HAPROXY_IMAGE:-haproxy:3.2}", "haproxy:3.2").splitlines()
    assert [line for line in shown.splitlines() if line not in lines] == []


# --- what fails, and says so ---


@pytest.mark.parametrize("level", ["read", ""])
def test_a_call_that_is_not_on_the_list(level: str, proxied: Start, box: Server, dbguard: Dbguard) -> None:
    through = {"DOCKER_HOST": proxied(NEWEST, level)}
    refused = dbguard("backup", "now", box.target, environment=through)
    assert refused.code != 0
    assert "the socket proxy does not allow POST /v1." in refused.err
    assert dbguard.archives() == []
    assert "the socket proxy does not allow" in dbguard("discover", "--all", environment=through).out


def test_old_haproxy_fails_loudly(proxied: Start, box: Server, dbguard: Dbguard, tmp_path: Path) -> None:
    """It drops the wish for an upgrade, so no input reaches the program."""
    dbguard("backup", "now", box.target).succeeded()
    before = dbguard.archives()
    through = {"DOCKER_HOST": proxied(OLD, "backup")}
    box.sql("DROP DATABASE shop")

    for words in (("backup", "now", box.target), ("restore", box.target, "--latest", "--yes")):
        done = dbguard(*words, environment=through)
        assert done.code != 0
        assert "cannot carry a backup" in done.err
    assert dbguard.archives() == before
    assert box.databases() == [], "it restored something"


@pytest.mark.parametrize(("change", "good"), [(CUT, False), (PATIENT, True)], ids=["cut", "patient"])
def test_a_silent_dump(change: tuple[str, str], good: bool, proxied: Start, fresh: Fresh, dbguard: Dbguard) -> None:
    """Only the time for streams counts: those for requests may be shorter than a dump is silent."""
    server = fresh("mariadb118")
    server.sql(TABLE)
    server.run("sh", "-c", "cat >/usr/local/bin/mariadb-dump; chmod +x /usr/local/bin/mariadb-dump", stdin=SILENT)
    through = {"DOCKER_HOST": proxied(NEWEST, "backup", change=change)}
    done = dbguard("backup", "now", server.target, environment=through)
    if good:
        done.succeeded()
        assert len(dbguard.archives()) == 1
        return
    assert done.code != 0, "a dump that was cut passed for a good one"
    assert re.search(f"{server.target}: .*(never ended|was cut)", done.err), done.err
    assert dbguard.archives() == []
    assert b"sleep 3" not in server.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


@pytest.mark.parametrize("suite", WORKING)
def test_silent_events(suite: str) -> None:
    """Nothing happens to containers for hours."""
    connection = http.client.HTTPConnection("localhost")
    with running(suite, "backup", ENGINE, change=PATIENT) as path:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path)
        connection.request("GET", NO_EVENTS)
        connection.sock.settimeout(4)
        answer = connection.getresponse()
        with pytest.raises(TimeoutError):
            answer.read(1)
        assert answer.status == 200
        connection.close()
        answer.close()


NO_EVENTS = "/events?filters=%7B%22container%22%3A%5B%22none-like-this%22%5D%7D"

SILENT = b"""#!/bin/sh
case "$*" in *--version*) ;; *) sleep 3 ;; esac
exec /usr/bin/mariadb-dump "$@"
"""


# --- the list itself, in front of an engine that agrees to everything ---


class Yes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Upgrade-Seen", self.headers.get("Upgrade", "none"))
        self.end_headers()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 — http.server's names

    def address_string(self) -> str:
        return "a unix socket has no address"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def agreeing() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp())
    server = socketserver.ThreadingUnixStreamServer(str(folder / "engine.sock"), Yes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield str(folder / "engine.sock")
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)


def ask(path: str, method: str, target: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    try:
        connection.request(method, target, headers={"Connection": "close"} | headers)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def real(call: str) -> tuple[str, str]:
    """A call of the table as it is made: with ids, names and what is asked for."""
    method, path = call.split(" ")
    query = "?path=%2Fvar%2Flib%2Fmysql%2Fauto.cnf" if path.endswith("/archive") else ""
    return method, "/v1.41" + path.replace("{id}", ID).replace("{name}", "shop-db-1") + query


@pytest.mark.parametrize("suite", WORKING)
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_allows_its_jobs_and_nothing_else(level: str, suite: str, agreeing: str) -> None:
    rows = parsed(PAGE)
    at = list(LEVELS).index(level)
    mine = {call for one in list(LEVELS)[: at + 1] for job in LEVELS[one] for call in rows[job]}
    everything = {call for calls in rows.values() for call in calls}
    with running(suite, level, agreeing) as path:
        for call in everything:
            method, target = real(call)
            for spelled in (target, target.removeprefix("/v1.41")):
                assert ask(path, method, spelled).status == (200 if call in mine else 403), (call, spelled)
        for call in NEVER:
            assert ask(path, *call.split(" ")).status == 403, call
        assert ask(path, "GET", "/info", Connection="Upgrade", Upgrade="tcp").getheader("Upgrade-Seen") == "none"


def test_every_job_has_its_level() -> None:
    jobs = [job for job in parsed(PAGE) if not job.startswith("docker ")]
    assert sorted(jobs) == sorted(job for level in LEVELS.values() for job in level)


NEVER = (
    "POST /v1.41/images/create",
    f"POST /v1.41/containers/{ID}/stop",
    f"PUT /v1.41/containers/{ID}/archive?path=%2Fauto.cnf",
    f"GET /v1.41/containers/{ID}/archive?path=%2Fetc%2Fshadow",
    f"GET /v1.41/containers/{ID}/archive?path=%2Fetc%2Fshadow&path=%2Fauto.cnf",
    f"GET /v1.41/containers/{ID}/archive?%70ath=%2Fetc%2Fshadow&path=%2Fauto.cnf",
    f"GET /v1.41/containers/{ID}/archive?path=%2Frun%2Fsecrets%2Fnot-auto.cnf",
    f"GET /v1.41/containers/{ID}/logs",
    f"GET /v1.41/containers/{ID}/json/../logs",
    f"GET /v1.41/containers/{ID}%2Fjson",
    "GET /v1.41/containers/../images/json",
    "GET /v1x41/info",
    "GET /v1.41/v1.41/info",
    "GET /v1.41/info/more",
    "GET /x/v1.41/info",
    "GET /images/json",
    "POST /v1.41/info",
    f"DELETE /v1.41/containers/{ID}/json",
    "DELETE /v1.41/containers/shop-db-1",
    "DELETE /v1.41/volumes/shop_data",
    "POST /v1.41/build",
    "POST /session",
    "POST /grpc",
)
