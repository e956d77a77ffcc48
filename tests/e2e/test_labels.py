"""A running sidecar obeys labels and its configuration file, takes up what changes, and says what it does."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stack import PASSWORD, QuickStack, quick_service, sidecar_image, wait_until

pytestmark = pytest.mark.docker

LABELS = {
    "schedule": "30 3 * * *",
    "timezone": "Asia/Kolkata",
    "jitter": "1h",
    "max_age": "50h",
    "keep_last": "2",
}


class Watched(QuickStack):
    """What its sidecar makes of it is read from the metrics that it writes at each look, and from its log."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder, image)
        (folder / "metrics").mkdir()
        backup = self.services["backup"]
        backup["environment"] |= {"DBGUARD_METRICS_FILE": "/metrics/dbguard.prom"}
        backup["volumes"].append("./metrics:/metrics")

    def metric(self, name: str, service: str = "db") -> float | None:
        """Of one target; None where it has none."""
        try:
            text = (self.folder / "metrics/dbguard.prom").read_text()
        except FileNotFoundError:
            return None
        found = re.search(rf'^dbguard_{name}{{target="{self.project}/{service}"}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else None

    def next_run(self, service: str = "db") -> datetime | None:
        moment = self.metric("backup_next_run_timestamp_seconds", service)
        return datetime.fromtimestamp(moment, UTC) if moment is not None else None

    def output(self) -> tuple[str, str]:
        """What the sidecar has written so far, to stdout and to stderr."""
        done = self.here("docker", "logs", self.container())
        return done.stdout, done.stderr

    def log(self) -> list[dict[str, Any]]:
        """Its events; that there is nothing else is a test of its own."""
        return [json.loads(line) for line in self.output()[1].splitlines() if line.startswith("{")]

    def said(self, text: str, **facts: str) -> list[dict[str, Any]]:
        """The events that hold the text."""
        return [one for one in self.log() if text in one["event"] and facts.items() <= one.items()]

    def name(self, service: str) -> str:
        return f"{self.project}/{service}"


def late() -> dict[str, Any]:
    """It has a database from the first moment on, and starts when it is named."""
    service = quick_service() | {"profiles": ["late"]}
    service["environment"]["MARIADB_DATABASE"] = "shop"
    return service


@contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    stack = Watched(folder, sidecar_image())
    try:
        yield stack
    finally:
        stack.here("docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "1")


# --- labels ---


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The sidecar's own rules are weaker than those of the labels. The tests follow one another."""
    with watched(tmp_path_factory.mktemp("labelled")) as stack:
        stack.services |= {
            "db": quick_service(**LABELS),
            "off": quick_service(enable="false"),
            "odd": quick_service(shedule="@hourly"),
            "late": late(),
        }
        stack.services["backup"]["environment"]["DBGUARD_KEEP_LAST"] = "1"
        stack.write()
        stack.compose("up", "-d", "--wait", "db", "off", "odd")
        stack.fill("db")
        stack.compose("up", "-d", "backup")
        wait_until(lambda: len(stack.archives_of("db")) == 1 and stack.next_run() is not None, "the first backup")
        yield stack


def test_labels_are_obeyed(labelled: Watched) -> None:
    wait_until(lambda: labelled.metric("archives") == 1, "the look after the first backup")
    assert labelled.metric("backup_max_age_seconds") == 50 * 3600
    next_run = labelled.next_run()
    assert next_run is not None
    assert next_run.hour == 22, "half past three in Kolkata, and less than an hour of jitter"
    assert (next_run.minute, next_run.second) != (0, 0)
    for _ in range(2):
        saved = labelled.dbguard("backup", "now", "db")
        assert saved.returncode == 0, saved.stderr
    assert len(labelled.archives_of("db")) == 2, "keep-last of the label"


def test_one_that_is_disabled_is_left_alone(labelled: Watched) -> None:
    assert labelled.archives_of("off") == []
    assert labelled.metric("target_healthy", "off") is None
    found = {one["target"]: one for one in discovered(labelled)}[labelled.name("off")]
    assert (found["backed_up"], found["database"]) == (False, True)
    assert "disabled" in found["why_not"]
    everything = labelled.dbguard("backup", "now")
    assert labelled.name("off") not in everything.stderr


def test_a_misspelt_label_is_loud(labelled: Watched) -> None:
    """Nothing else about it is known to be meant so: it is not backed up, and the others go on."""
    name, label = labelled.name("odd"), "label dbguard.shedule: unknown label"
    assert label in {one["target"]: one for one in discovered(labelled)}[name]["why_not"]
    status = labelled.dbguard("status")
    assert (status.returncode, label in status.stderr) == (1, True), status.stderr
    assert len([one for one in labelled.said(label) if one["level"] == "error"]) in {1, 2}, "once for each problem"
    health = labelled.here("docker", "compose", "exec", "-T", "backup", "dbguard", "health")
    assert (health.returncode, label in health.stderr) == (1, True), health.stderr
    assert labelled.dbguard("backup", "now", "odd").returncode != 0
    assert labelled.archives_of("odd") == []
    assert labelled.archives_of("db")


def discovered(stack: QuickStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.dbguard("discover", "--json").stdout)["containers"]
    return found


def test_a_changed_label_takes_effect(labelled: Watched) -> None:
    """Without touching the sidecar."""
    sidecar, before = labelled.container(), labelled.archives_of("db")
    labelled.services["db"] = quick_service(schedule="every 1m", keep_last="2", max_age="3h")
    labelled.services["odd"] = quick_service(enable="false")
    labelled.write()
    labelled.compose("up", "-d", "--wait", "db", "odd")
    labelled.fill("db")
    wait_until(lambda: labelled.metric("backup_max_age_seconds") == 3 * 3600, "the new label", seconds=40)
    wait_until(lambda: labelled.archives_of("db")[-1] not in before, "the run that the new schedule asks for", 100)
    assert labelled.container() == sidecar
    wait_until(lambda: len(labelled.archives_of("db")) == 2, "the end of the one that no rule keeps")
    wait_until(lambda: bool(labelled.said(f"{labelled.name('odd')} unreachable: over")), "the news of the other", 40)
    assert labelled.dbguard("status").returncode == 0


def test_one_that_comes_later_is_found_at_once(labelled: Watched) -> None:
    labelled.compose("up", "-d", "--wait", "late")
    began = time.monotonic()
    wait_until(lambda: bool(labelled.archives_of("late")), "its first backup")
    assert time.monotonic() - began < 15, "it was found by chance, not by the engine's news"


def test_one_that_goes_is_no_error(labelled: Watched) -> None:
    wait_until(lambda: labelled.next_run("late") is not None, "the end of its first run")
    labelled.compose("stop", "late")
    wait_until(lambda: labelled.next_run("late") is None, "the news", seconds=25)
    assert [one for one in labelled.log() if one["level"] == "error" and "late" in str(one)] == []
    status = labelled.dbguard("status", "--json")
    assert status.returncode == 0, status.stderr
    assert labelled.name("late") in status.stdout, "its archives are still there"


def test_the_labels_of_one_that_is_gone_still_count(labelled: Watched) -> None:
    labelled.compose("rm", "--stop", "--force", "db")
    kept = labelled.archives_of("db")
    assert len(kept) == 2
    manifest = json.loads((kept[-1] / "manifest.json").read_text())
    assert manifest["source"]["labels"]["dbguard.keep-last"] == "2"
    pruned = labelled.dbguard("prune", "--yes", "--json")
    assert pruned.returncode == 0, pruned.stderr
    assert labelled.archives_of("db") == kept, "it was the weaker rule that decided"


# --- the configuration file, the log, messages ---


class Listener(ThreadingHTTPServer):
    """Remembers the path and the body of each request."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for path, body in self.heard if path.startswith(f"/{MESSAGES}")]

    def pings(self) -> list[tuple[str, str]]:
        """Of each: what it says, and of which run."""
        found = [urlsplit(path) for path, _ in self.heard if path.startswith(f"/{PINGS}")]
        return [(one.path.removeprefix(f"/{PINGS}"), parse_qs(one.query)["rid"][0]) for one in found]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Listener)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.heard.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


MESSAGES, PINGS = "token-of-messages", "token-of-pings"
DUMP = """#!/bin/sh
case "$*" in *--version*) ;; *) [ ! -e /own/broken ] || { echo "mariadb-dump: Error: broken" >&2; exit 2; } ;; esac
exec /usr/bin/mariadb-dump "$@"
"""


class Told(Watched):
    """Its dumps fail while there is a file `own/broken`."""

    def __init__(self, folder: Path, image: str, port: int) -> None:
        super().__init__(folder, image)
        for name in ("own", "etc"):
            (folder / name).mkdir()
        (folder / "own/mariadb-dump").write_text(DUMP)
        (folder / "own/mariadb-dump").chmod(0o755)
        self.broken.touch()
        self.services["db"]["volumes"] = ["./own:/own:ro", "./own/mariadb-dump:/usr/local/bin/mariadb-dump:ro"]
        self.services["late"] = late()
        self.configure('schedule = "0 4 * * *"')
        backup = self.services["backup"]
        del backup["environment"]["DBGUARD_SCHEDULE"]  # it would win over the file
        backup["network_mode"] = "host"
        backup["volumes"].append("./etc:/etc/dbguard:ro")
        backup["environment"] |= {
            "DBGUARD_RETRIES": "0",
            "DBGUARD_NOTIFY": f"json://127.0.0.1:{port}/{MESSAGES}",
            "DBGUARD_PING": f"http://127.0.0.1:{port}/{PINGS}",
        }
        self.write()

    @property
    def broken(self) -> Path:
        return self.folder / "own/broken"

    def configure(self, text: str) -> None:
        (self.folder / "etc/dbguard.toml").write_text(f"{text}\n")

    def reload(self, text: str) -> None:
        self.configure(text)
        subprocess.run(["docker", "kill", "-s", "HUP", self.container()], check=True, capture_output=True)


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[Told]:
    """The tests follow one another."""
    stack = Told(tmp_path_factory.mktemp("told"), sidecar_image(), listener.server_address[1])
    try:
        stack.compose("up", "-d", "--wait", "db")
        stack.fill()
        stack.compose("up", "-d", "backup")
        wait_until(lambda: bool(listener.messages()), "the message of the first failure")
        yield stack
    finally:
        stack.here("docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "1")


def test_a_failure_and_its_end_are_told_once_each(told: Told, listener: Listener) -> None:
    (failure,) = listener.messages()
    assert (failure["type"], told.name("db") in failure["title"]) == ("failure", True)
    (begun,) = told.said("backing up")
    assert listener.pings() == [("/start", begun["run"]), ("/fail", begun["run"])]

    told.broken.unlink()
    told.compose("stop", "db")
    time.sleep(2)  # the sidecar looks: that it is gone is not that it is well
    told.compose("start", "db")  # what has failed with one start of it may go well with the next
    wait_until(lambda: len(listener.messages()) > 1, "the message that it is over", seconds=100)
    assert [one["type"] for one in listener.messages()] == ["failure", "success"], listener.messages()
    again = told.said("backing up")[-1]
    assert listener.pings()[2:] == [("/start", again["run"]), ("", again["run"])], listener.messages()
    assert again["run"] != begun["run"]


def test_a_test_message_is_sent_by_the_sidecar(told: Told, listener: Listener) -> None:
    before = len(listener.messages())
    sent = told.dbguard("notify", "test")
    assert sent.returncode == 0, sent.stderr
    assert "ok    json://127.0.0.1" in sent.stderr
    assert [one["type"] for one in listener.messages()[before:]] == ["info"]
    assert MESSAGES not in sent.stderr + sent.stdout


def test_hup_reads_the_configuration_again(told: Told) -> None:
    wait_until(lambda: hour(told) == 4, "the first schedule", seconds=40)
    told.reload('schedule = "0 5 * * *"')
    wait_until(lambda: hour(told) == 5, "the second schedule", seconds=10)
    assert len(told.said("the configuration was read again")) == 1

    told.reload('schedule = "0 6 * *"')
    wait_until(lambda: bool(told.said("the configuration is left as it was")), "the complaint", seconds=10)
    (complaint,) = told.said("the configuration is left as it was")
    assert complaint["level"] == "error"
    assert "schedule" in complaint["event"]
    time.sleep(1)
    assert hour(told) == 5

    told.reload('schedule = "0 7 * * *"')
    wait_until(lambda: hour(told) == 7, "the third schedule", seconds=10)
    assert len(told.said("the configuration is left as it was")) == 1


def hour(stack: Told) -> int | None:
    next_run = stack.next_run()
    return next_run.hour if next_run is not None else None


def test_a_broken_file_stops_no_backup(told: Told) -> None:
    """The old settings hold for its runs too, which are processes of their own."""
    told.reload("this is no TOML")
    try:
        wait_until(lambda: len(told.said("the configuration is left as it was")) == 2, "the complaint", seconds=10)
        told.compose("up", "-d", "--wait", "late")
        wait_until(
            lambda: bool(told.said("", target=told.name("late"), level="error") or told.archives_of("late")), "it"
        )
        assert told.archives_of("late"), told.said("", target=told.name("late"))
    finally:
        told.reload('schedule = "0 7 * * *"')


def test_the_log_is_json_and_joins_what_belongs_together(told: Told) -> None:
    out, err = told.output()
    assert out == ""
    events = [json.loads(line) for line in err.splitlines()]
    for one in events:
        assert {"time", "level", "event"} <= one.keys()
        assert datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["level"] in {"info", "warning", "error"}
    begun = {one["run"] for one in events if one["event"] == "backing up"}
    saved = {one["run"] for one in events if one["event"].startswith("saved ")}
    failed = {one["run"] for one in events if one["level"] == "error" and one.get("run")}
    assert saved
    assert saved | failed == begun
    assert saved & failed == set()


def test_no_secret_is_shown(told: Told) -> None:
    shown = "".join(told.output())
    shown += told.here("docker", "compose", "exec", "-T", "backup", "dbguard", "config", "show").stdout
    shown += told.dbguard("--debug", "doctor").stderr
    assert "notify" in shown
    for secret in (MESSAGES, PINGS, PASSWORD):
        assert secret not in shown


def test_its_last_words_are_json_too(told: Told) -> None:
    before = len(told.output()[1])
    told.compose("stop", "backup")
    last_words = told.output()[1][before:].splitlines()
    assert [line for line in last_words if not line.startswith("{")] == []
