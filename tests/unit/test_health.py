"""How well a target is protected, and what the container's health check makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dbguard import config, past, pulse
from dbguard.archive import Stored
from dbguard.errors import ConfigError
from dbguard.habits import habits
from dbguard.health import TargetHealth, assess, newest_good
from dbguard.model import Sighting
from dbguard.past import Past
from tests.unit.nouns import START, TARGET, archive, container, listed

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def look(archives: list[Stored], *, now: datetime = START + HOUR, **more: Any) -> TargetHealth:
    given: dict[str, Any] = {"unreadable": {}, "seen": None, "past": Past()} | more
    return assess(TARGET, habits=habits(config.load(), str(TARGET), {}), archives=archives, now=now, **given)


def seen(**changes: Any) -> Sighting:
    given: dict[str, Any] = {
        "container": container(),
        "name": TARGET,
        "database": True,
        "target": None,
        "why_not": None,
    }
    return Sighting(**{**given, **changes})


def test_a_fresh_backup_is_healthy_until_it_is_too_old() -> None:
    young = [listed(archive())]
    assert look(young).healthy
    assert not look(young).problems
    old = look(young, now=START + 2 * DAY)
    assert not old.healthy
    assert "no running container is this target" in old.problems["stale"]
    assert look(young, now=START + 2 * DAY, max_age=3 * DAY).healthy
    assert not look(young, max_age=timedelta(0)).healthy


def test_a_new_target_is_no_problem_until_something_goes_wrong() -> None:
    assert look([], seen=seen(starting=True, why_not="the server is starting")).healthy
    assert look([], seen=seen(why_not="cannot log in")).problems == {
        "stale": "there is no good backup: cannot log in",
        "unreachable": "cannot log in",
    }
    assert look([]).healthy, "its first run is about to begin"
    assert not look([], unreadable={"s3://x": "no answer"}).healthy, "nobody can tell"
    assert not look([], past=Past(ended=START, error="the disk is full")).healthy
    assert look([], past=Past(ended=START, nothing=True)).healthy, "a server without a database has nothing to lose"


def test_a_failed_run_is_a_problem_and_unhealthy_only_once_the_backup_is_too_old() -> None:
    failed = Past(ended=START + HOUR / 2, error="the disk is full")
    found = look([listed(archive())], past=failed)
    assert (found.healthy, found.problems["failed"]) == (True, "the disk is full")
    assert not look([listed(archive(1))], past=failed, now=START + 2 * HOUR).problems, "somebody typed `backup now`"
    assert not look([listed(archive())], past=failed, now=START + 2 * DAY).healthy


def test_what_is_wrong_with_the_newest_archive_is_a_problem() -> None:
    odd = replace(archive(1), suspicious=("less than half the tables: 1, before 9",))
    assert "dbguard confirm" in look([listed(archive()), listed(odd)], now=START + 2 * HOUR).problems["suspicious"]
    assert not look([listed(archive()), listed(odd, confirmed=True)], now=START + 2 * HOUR).problems
    broken = look([listed(archive()), listed(archive(1), verified=False)], now=START + 2 * HOUR)
    assert "unverified" in broken.problems
    assert broken.newest == START, "the newest good one is that before"


def test_copies_storages_and_access_are_problems_of_their_own() -> None:
    found = look(
        [listed(archive())],
        unreadable={"s3://x": "no answer"},
        past=Past(uncopied=("not in s3://x",), unpruned=("locked",)),
        seen=seen(why_not="cannot log in"),
    )
    assert found.healthy
    assert found.problems == {
        "unreachable": "cannot log in",
        "uncopied": "not in s3://x",
        "unpruned": "locked",
        "unreadable": "s3://x: no answer",
    }


def test_an_archive_of_chosen_databases_is_no_backup_of_the_target_and_a_partial_one_is_said_to_be() -> None:
    chosen = listed(archive(1, complete=False, partial_reasons=("only tiny was asked for",)))
    found = look([listed(archive()), chosen], now=START + 2 * HOUR)
    assert (found.newest, dict(found.problems)) == (START, {})
    blind = listed(archive(1, complete=False, partial_reasons=("no right to see events",)))
    assert "no right to see events" in look([blind], now=START + 2 * HOUR).problems["partial"]


def test_a_server_that_lost_all_its_databases_is_a_problem() -> None:
    assert "no database any more" in look([listed(archive())], past=Past(ended=START, nothing=True)).problems["failed"]


def test_an_archive_from_the_future_is_not_the_newest() -> None:
    now = START + HOUR
    assert newest_good([listed(archive(0)), listed(archive(24 * 365))], now) == listed(archive(0))
    assert newest_good([], now) is None


# --- the health check ---


def check(state: Path) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(state), "DBGUARD_STATE": str(state)}
    done = subprocess.run([sys.executable, "-m", "dbguard", "health"], env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_the_health_check_fails_until_the_sidecar_has_looked_and_when_it_no_longer_does(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert check(tmp_path) == (1, "dbguard run: it has not looked yet\n")
    pulse.write(tmp_path, now, {})
    assert check(tmp_path) == (0, "healthy\n")
    pulse.write(tmp_path, now, {"shop/db": "the newest good backup is older than 26 hours"})
    assert check(tmp_path) == (1, "shop/db: the newest good backup is older than 26 hours\n")
    for moment in (now - timedelta(minutes=6), now + timedelta(hours=1)):
        pulse.write(tmp_path, moment, {})
        code, said = check(tmp_path)
        assert (code, "it looked for the last time" in said) == (1, True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": 1}', '{"at": "x", "problems": {}}', '{"at": "2026-11-24"}'])
def test_a_pulse_that_cannot_be_read_is_no_health(tmp_path: Path, text: str) -> None:
    (tmp_path / "pulse.json").write_text(text)
    assert pulse.read(tmp_path)


def test_the_health_check_imports_nothing_slow() -> None:
    script = "import sys; from dbguard.cli import health; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"pydantic", "docker", "boto3", "structlog"} & {name.split(".")[0] for name in done.stdout.split()}


# --- what the sidecar remembers ---


def test_what_a_run_left_is_remembered_and_a_file_that_cannot_be_read_is_no_memory(tmp_path: Path) -> None:
    kept = {"shop/db": Past(ended=START, error="the disk is full", container="one", uncopied=("a", "b"))}
    past.save(tmp_path, kept)
    assert past.load(tmp_path) == kept
    assert [file.name for file in tmp_path.iterdir()] == ["runs.json"], "nothing half-written stays"
    (tmp_path / "runs.json").write_text("{")
    assert past.load(tmp_path) == {}
    assert past.load(tmp_path / "nowhere") == {}
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        past.save(tmp_path / "file", kept)
