"""Runs as processes of their own: what is learnt of them however they end, and that none outlives the sidecar."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbguard import config, workers
from dbguard.past import Past
from dbguard.timetable import Work
from dbguard.workers import Ended, Workers
from tests.unit.nouns import START, TARGET

REPORT = '{"target": "shop/db", "run": "r", "started": "2026-11-23T01:30:00Z", "ended": "2026-11-23T01:31:00Z", %s}'
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)

Start = Callable[..., Ended]


class Rig:
    """Workers whose dbguard is a shell script."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.chdir(folder)
        self.program = folder / "program"
        monkeypatch.setattr(sys, "executable", str(self.program))
        self.ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self.settings = config.load(keep_last=7, password="not-in-argv")
        self.workers = Workers(self.ended.put)

    def start(self, script: str, work: Work = "backup", seconds: float = 60) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)
        self.workers.start(TARGET, work, "run-1", self.settings, container="one", now=NOW, seconds=seconds)

    def run(self, script: str, work: Work = "backup") -> Ended:
        self.start(script, work)
        ended = self.ended.get(timeout=30)
        self.workers.forget(ended.running)
        return ended


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    rig = Rig(tmp_path, monkeypatch)
    yield rig
    for running in rig.workers.running.values():
        running.process.kill()


def printing(fields: str) -> str:
    return f"cat <<'E'\n{REPORT % fields}\nE"


def test_a_run_is_told_what_to_do_and_its_report_is_read(rig: Rig) -> None:
    ended = rig.run('echo "$@" > arguments\ncat > settings\n' + printing('"archive": "id"'))
    assert Path("arguments").read_text() == "-m dbguard job shop/db backup --run run-1\n"
    assert config.unpacked(Path("settings").read_bytes()).model_dump() == rig.settings.model_dump(), (
        "what we go by, secrets too, and not in argv"
    )
    assert ended.report is not None
    assert (ended.report.archive, ended.report.result, ended.error) == ("id", "success", "")
    assert ended.remembered(Past(error="before", uncopied=("x",))) == Past(ended=ended.at, container="one")
    assert not rig.workers.running


def test_a_run_that_found_nothing_to_do_forgets_nothing(rig: Rig) -> None:
    before = Past(ended=START, error="the disk is full", container="one", uncopied=("a",), unpruned=("b",))
    busy = rig.run(printing('"busy": true')).remembered(before)
    assert (busy.error, busy.nothing, busy.uncopied, busy.unpruned) == ("the disk is full", False, ("a",), ("b",))
    empty = rig.run(printing('"nothing": true')).remembered(before)
    assert (empty.error, empty.nothing, empty.uncopied) == ("", True, ("a",))
    assert rig.run(printing('"busy": true')).remembered(Past()).nothing, "looked at again in a minute"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (printing('"error": "the disk is full"'), "the disk is full"),
        ("exit 3", "the run died with exit code 3"),
        ("echo nonsense", "the run died with exit code 0"),
        (f"{printing('')[:-20]}\nE", "the run died with exit code 0"),
        ("kill -9 $$", "the run died with exit code -9: out of memory?"),
    ],
)
def test_whatever_is_no_good_report_is_a_failure(rig: Rig, script: str, error: str) -> None:
    ended = rig.run(script)
    assert ended.error == error
    remembered = ended.remembered(Past(uncopied=("not in the bucket",)))
    assert (remembered.error, remembered.container) == (error, "one")
    assert remembered.uncopied == ("not in the bucket",), "that is still so"


def test_a_run_for_copies_changes_only_what_is_known_of_copies(rig: Rig) -> None:
    before = Past(ended=START, error="", container="zero", uncopied=("a", "b"), unpruned=("c",))
    ended = rig.run(printing('"uncopied": ["b"]'), "copies")
    after = ended.remembered(before)
    assert (after.ended, after.copied, after.uncopied, after.unpruned) == (START, ended.at, ("b",), ("c",))
    assert rig.run("exit 1", "copies").remembered(before).uncopied == ("a", "b")


def test_a_run_that_verifies_changes_only_up_to_when_that_was_done(rig: Rig) -> None:
    before = Past(ended=START, error="the disk is full", container="zero", uncopied=("a",), unpruned=("c",))
    for script in (printing('"check": "it failed"'), "exit 1"):
        ended = rig.run(script, "verify")
        assert ended.remembered(before) == replace(before, checked=ended.at)
    assert rig.run(printing('"archive": "id"')).remembered(Past(checked=START)).checked == START


def test_a_run_that_takes_too_long_is_stopped_and_killed_when_it_does_not_listen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start("trap 'echo told >> told' TERM\nwhile :; do sleep 0.1; done", seconds=1)
    assert rig.workers.stop_overdue() == []
    time.sleep(1.1)
    assert [one.name for one in rig.workers.stop_overdue()] == [TARGET]
    time.sleep(0.5)
    assert rig.ended.empty(), "it has time to clean up"
    monkeypatch.setattr(workers, "GRACE", 0.1)
    assert rig.workers.stop_overdue()
    ended = rig.ended.get(timeout=30)
    assert ended.error == "it took longer than max_duration and was stopped"
    assert Path("told").read_text() == "told\n", "once"


def test_all_runs_end_with_the_sidecar(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.5)
    rig.start("trap '' TERM\ntouch ready\nwhile :; do sleep 0.1; done")
    while not Path("ready").exists():
        time.sleep(0.01)
    process = rig.workers.running[TARGET].process
    began = time.monotonic()
    rig.workers.stop_all()
    assert process.returncode == -9
    assert time.monotonic() - began < 5
