"""The two pages, over real sockets on the loopback."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dbguard import web
from dbguard.errors import ConfigError
from dbguard.health import Health, TargetHealth
from dbguard.metrics import Metrics
from dbguard.web import serve, verdict

NOW = datetime(2026, 11, 24, 3, 45, 30, tzinfo=UTC)
GOOD = TargetHealth(target="shop/db", max_age=timedelta(hours=26))
BAD = TargetHealth(target="shop/old", max_age=timedelta(hours=26), problems={"stale": "newest is 3 days old"})


class Site:
    """One running server, and what it is told of the health."""

    def __init__(self) -> None:
        self.health: Health | None = None
        self.metrics = Metrics()
        self.server = serve("127.0.0.1:0", self.metrics, lambda: self.health)
        self.address = ("127.0.0.1", self.server.server_port)

    def ask(self, path: str, method: str = "GET", body: str | None = None) -> tuple[int, str, str]:
        """Status, type and text of the answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=5)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def soon(true: Callable[[], bool]) -> bool:
    """Within five seconds."""
    until = time.monotonic() + 5
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def now() -> datetime:
    return datetime.now(UTC)


# --- the pages ---


def test_metrics(site: Site) -> None:
    site.metrics.show(Health(at=NOW, targets=(GOOD,)))
    status, kind, text = site.ask("/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert ("dbguard_archives", {"target": "shop/db"}) in [(sample.name, sample.labels) for sample in samples]
    assert site.ask("/metrics?name[]=dbguard_healthy")[2].count("\n") == 3, "help, type and one value"


def test_healthy(site: Site) -> None:
    site.health = Health(at=now(), targets=(GOOD,))
    assert site.ask("/healthz") == (200, "text/plain; charset=utf-8", "ok\n")


def test_not_healthy_says_which_target_and_why(site: Site) -> None:
    site.health = Health(at=now(), targets=(GOOD, BAD), problems={"clock": "an hour ahead"})
    status, kind, text = site.ask("/healthz")
    assert (status, kind) == (503, "application/json")
    said = json.loads(text)
    assert said["targets"] == {"shop/old": {"stale": "newest is 3 days old"}}
    assert said["problems"] == {"clock": "an hour ahead"}
    assert said["healthy"] is False


def test_before_the_first_look(site: Site) -> None:
    status, kind, text = site.ask("/healthz")
    assert (status, kind) == (503, "application/json")
    assert json.loads(text) == {"healthy": False, "reason": "dbguard has not looked yet"}
    assert site.ask("/metrics")[0] == 200


def test_one_that_hangs_is_not_healthy(site: Site) -> None:
    site.health = Health(at=now() - timedelta(minutes=6), targets=(GOOD,))
    status, _, text = site.ask("/healthz")
    assert status == 503
    assert "has not looked" in json.loads(text)["reason"]


@pytest.mark.parametrize(
    ("age", "healthy"),
    [(0, True), (299, True), (300, False), (86400, False), (-299, True), (-300, False)],
)
def test_how_old_a_look_may_be(age: int, healthy: bool) -> None:
    said = verdict(Health(at=NOW - timedelta(seconds=age), targets=(GOOD,)), NOW)
    assert said["healthy"] is healthy
    assert ("reason" in said) is not healthy


def test_a_fresh_look_of_no_targets_is_healthy() -> None:
    assert verdict(Health(at=NOW), NOW)["healthy"] is True


def test_times_are_said_in_utc() -> None:
    there = datetime.fromisoformat("2026-11-24T05:45:30+02:00")
    assert verdict(Health(at=there), NOW)["looked"] == "2026-11-24T03:45:30Z"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz/x", "/favicon.ico", "/../etc/passwd", "/%00"])
def test_nothing_else_is_there(site: Site, path: str) -> None:
    assert site.ask(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_it_is_read_only(site: Site, path: str, method: str) -> None:
    site.health = Health(at=now())
    assert site.ask(path, method, "x" if method == "POST" else None)[::2] == (405, "")


# --- what must not disturb ---


def test_a_silent_client_blocks_nobody_and_is_hung_up_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PATIENCE", 0.5)
    before = threading.active_count()
    with ExitStack() as stack:
        silent = [stack.enter_context(site.connect()) for _ in range(5)]
        assert site.ask("/healthz")[0] == 503, "answered at once"
        assert soon(lambda: threading.active_count() >= before + 10), "else this test looks at nothing"
        assert [one.recv(1) for one in silent] == [b""] * 5
    assert soon(lambda: threading.active_count() == before), "no thread is left"


def test_a_client_that_drips_is_hung_up_on_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit on each read alone would let it stay for ever."""
    monkeypatch.setattr(web, "_PATIENCE", 0.5)
    started = time.monotonic()
    with site.connect() as dripping, suppress(OSError):  # reset or broken pipe
        while time.monotonic() < started + 5:
            dripping.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() < started + 5


def test_patience_is_ten_seconds() -> None:
    assert web._PATIENCE == 10


def test_too_many_clients_take_no_more_threads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PATIENCE", 3)
    before = threading.active_count()
    with ExitStack() as stack:
        clients = [stack.enter_context(site.connect()) for _ in range(web._MOST + 20)]
        assert soon(lambda: threading.active_count() == before + 2 * web._MOST)
        assert [one.recv(1) for one in clients] == [b""] * len(clients)
    assert soon(lambda: threading.active_count() == before)
    assert site.ask("/healthz")[0] == 503, "and they are free again"


@pytest.mark.parametrize("words", [b"", b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\n", b"GET /" + b"x" * 70_000, b"GET\n"])
def test_nonsense_is_not_spoken_of(site: Site, words: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with site.connect() as client:
        client.sendall(words)
        client.close()
    assert site.ask("/healthz")[0] == 503
    assert capfd.readouterr() == ("", ""), "neither an access log nor a traceback"


def test_a_client_that_hangs_up_is_not_spoken_of(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    with site.connect() as client:
        client.sendall(b"GET /metr")
        assert soon(lambda: threading.active_count() > before)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
    assert soon(lambda: threading.active_count() == before)
    assert not caplog.records


def test_an_error_outside_of_the_application_is_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr(threading.Timer, "start", broken)
    with site.connect() as client:
        assert client.recv(1) == b""
    assert soon(lambda: "RuntimeError: no thread" in caplog.text)


def test_an_error_inside_is_logged_and_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(web, "verdict", broken)
    with caplog.at_level(logging.ERROR):
        status, _, text = site.ask("/healthz")
        assert status == 500
        assert "secret" not in text
        assert "Traceback" not in text
        assert soon(lambda: bool(caplog.records))
    assert "RuntimeError: a secret of ours" in caplog.text
    assert len(caplog.records) == 1
    assert capfd.readouterr().err == ""


# --- where ---


def test_a_taken_port_names_the_setting(site: Site) -> None:
    with pytest.raises(ConfigError, match=rf"^listen: 127.0.0.1:{site.address[1]}: Address already in use$"):
        serve(f"127.0.0.1:{site.address[1]}", Metrics(), lambda: None)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:99999", "no.such.host.invalid:0", f"{'ü' * 70}.example:0", "192.0.2.1:0"]
)
def test_a_place_that_cannot_be_had_names_the_setting(listen: str) -> None:
    with pytest.raises(ConfigError, match=f"^listen: {listen}: "):
        serve(listen, Metrics(), lambda: None)


def test_without_a_host_it_answers_everywhere() -> None:
    server = serve(":0", Metrics(), lambda: None)
    try:
        assert server.server_address[0] == "0.0.0.0"
        with socket.create_connection(("127.0.0.2", server.server_port), timeout=5) as other:
            other.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b" 200 OK" in other.recv(1000)
    finally:
        server.shutdown()
        server.server_close()


def test_the_name_service_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(socket, "getfqdn", slow)
    server = serve("127.0.0.1:0", Metrics(), lambda: None)
    server.shutdown()
    server.server_close()
