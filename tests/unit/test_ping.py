"""Pings, to a real server on this machine."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dbguard import ping
from dbguard.errors import ConfigError
from dbguard.ping import Ping

TOKEN = "hunter2-not-to-be-seen"
RUN = "0d338dcc-a054-41ec-b909-0242ac120002"


@dataclass(kw_only=True)
class Listener:
    """An HTTP server that keeps what it was sent. Answers with the first of `statuses` as long as there are several."""

    port: int
    statuses: list[int] = field(default_factory=lambda: [200])
    answer: bytes = b"OK"
    hang: float = 0.0
    heard: list[tuple[str, str, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    stop = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            it.heard.append((self.command, self.path, body))
            stop.wait(it.hang)
            with contextlib.suppress(OSError):
                self.send_response(it.statuses.pop(0) if len(it.statuses) > 1 else it.statuses[0])
                self.send_header("Location", f"{it.url}/elsewhere")
                self.send_header("Content-Length", str(len(it.answer)))
                self.end_headers()
                self.wfile.write(it.answer)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *arguments: Any) -> None:
            del arguments

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it = Listener(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield it
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def dead_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as one:
        yield one


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """By the test itself, when its fixtures end."""
    return "\n".join(f"{record.getMessage()} {record.exc_info}" for record in caplog.get_records("call"))


@pytest.fixture(autouse=True)
def nothing_secret(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a test does: the token is never logged or printed."""
    caplog.set_level(logging.DEBUG)
    yield
    printed = capfd.readouterr()
    assert TOKEN not in logged(caplog) + printed.out + printed.err
    assert not printed.out


# --- what is sent ---


def test_start_success_and_failure_are_told_apart(listener: Listener) -> None:
    one = Ping(listener.url)
    assert one.start(RUN) is None
    assert one.success(RUN, "3 archives, 1.2 GiB") is None
    assert one.fail(RUN, "größer als erlaubt") is None
    assert listener.heard == [
        ("POST", f"/{TOKEN}/start?rid={RUN}", b""),
        ("POST", f"/{TOKEN}?rid={RUN}", b"3 archives, 1.2 GiB"),
        ("POST", f"/{TOKEN}/fail?rid={RUN}", "größer als erlaubt".encode()),
    ]


@pytest.mark.parametrize("run", ["20261123T033000Z-7f3a9c", "", RUN.replace("-", ""), f"{{{RUN}}}", f"urn:uuid:{RUN}"])
def test_only_a_uuid_is_sent_as_the_run(listener: Listener, run: str) -> None:
    assert Ping(listener.url).start(run) is None
    assert listener.heard[0][1] == f"/{TOKEN}/start"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("", f"/{TOKEN}/start?rid={RUN}"),
        ("/", f"/{TOKEN}/start?rid={RUN}"),
        ("/slug?create=1", f"/{TOKEN}/slug/start?create=1&rid={RUN}"),
        ("?create=1#here", f"/{TOKEN}/start?create=1&rid={RUN}"),
    ],
)
def test_the_suffix_goes_before_the_query(listener: Listener, given: str, path: str) -> None:
    assert Ping(listener.url + given).start(RUN) is None
    assert listener.heard[0][1] == path


def test_a_long_text_is_cut_between_characters(listener: Listener) -> None:
    assert Ping(listener.url).fail(RUN, "a" + "ü" * 20_000) is None
    body = listener.heard[0][2]
    assert 9_990 < len(body) <= 10_000
    assert set(body.decode()) == {"a", "ü"}


def test_a_text_that_is_no_unicode_is_sent_all_the_same(listener: Listener) -> None:
    assert Ping(listener.url).fail(RUN, "table \udcff") is None
    assert listener.heard[0][2] == b"table ?"


# --- what goes wrong ---


@pytest.mark.parametrize(("statuses", "tries"), [([500, 200], 2), ([503, 201], 2)])
def test_a_passing_failure_is_tried_once_more(listener: Listener, statuses: list[int], tries: int) -> None:
    listener.statuses = statuses
    assert Ping(listener.url).start(RUN) is None
    assert len(listener.heard) == tries


def test_what_stays_broken_is_said_with_the_host_alone(listener: Listener) -> None:
    listener.statuses = [500]
    assert Ping(listener.url).start(RUN) == "127.0.0.1: it answered with HTTP status 500"
    assert len(listener.heard) == 2


@pytest.mark.parametrize("status", [301, 307, 400, 404, 409, 429])
def test_a_refusal_is_not_repeated_and_nowhere_else_tried(listener: Listener, status: int) -> None:
    listener.statuses = [status]
    assert Ping(listener.url).success(RUN, "") == f"127.0.0.1: it answered with HTTP status {status}"
    assert len(listener.heard) == 1


@pytest.mark.parametrize("why", ["not found", "rate limited"])
def test_a_ping_that_was_ignored_is_not_taken_for_one_that_counts(listener: Listener, why: str) -> None:
    listener.answer = f"OK ({why})".encode()
    assert Ping(listener.url).start(RUN) == f"127.0.0.1: it ignored the ping: {why}"


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{dead_port()}/{TOKEN}"
    assert Ping(url).start(RUN) == "127.0.0.1: it cannot be reached"


def test_no_tls_there(listener: Listener) -> None:
    why = Ping(listener.url.replace("http:", "https:")).start(RUN)
    assert why == "127.0.0.1: no secure connection to it: look at its certificate"


def test_a_server_that_hangs_costs_little_time(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "_TIMEOUT", 1.0)
    listener.hang = 60
    begun = time.monotonic()
    assert Ping(listener.url).start(RUN) == "127.0.0.1: no answer within 1 s"
    assert time.monotonic() - begun < 4


def test_a_bundle_of_certificates_that_is_missing(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert Ping(listener.url.replace("http:", "https:")).start(RUN) == "127.0.0.1: it cannot be reached"


# --- the URL ---


@pytest.mark.parametrize(
    "url",
    [
        "", TOKEN, f"//host/{TOKEN}", f"ftp://host/{TOKEN}", f"file:///{TOKEN}", f"http:///{TOKEN}", f"https://?{TOKEN}",
        f"http://[{TOKEN}/", f"http://host:{TOKEN}/", f"json://host/{TOKEN}",
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_refused_unseen(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ping(url)
    assert TOKEN not in f"{caught.value!r} {caught.value.hint}"
    assert caught.value.__context__ is None


def test_a_ping_does_not_show_its_url() -> None:
    assert TOKEN not in repr(Ping(f"https://user:{TOKEN}@hc-ping.com/{TOKEN}"))
