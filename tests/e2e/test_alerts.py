"""The alert rules of examples/prometheus, judged by Prometheus's own promtool over lives of a sidecar.

A life is told as the health at each minute; the series are those that Metrics makes of it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from dbguard.health import Health, Problem, TargetHealth
from dbguard.metrics import Metrics
from tests.stack import ROOT

RULES = ROOT / "examples/prometheus/alerts.yml"
CONFIG = ROOT / "examples/prometheus/prometheus.yml"
TEXT = RULES.read_text()
ALERTS = re.findall(r"^ +- alert: (\w+)$", TEXT, re.MULTILINE)

MINUTES = 26 * 60
"""How long a life is: longer than the longest `for`."""
EPOCH = datetime.fromtimestamp(0, UTC)
"""When promtool's clock begins."""
NOISY = ("dbguard_backup_next_run", "dbguard_runs_total", "dbguard_build")
"""No rule looks at these: left out, to keep promtool fast."""

Life = Callable[[int], Health | None]
"""The health at a minute; None: it is not there to be asked."""


def at(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=minute)


def target(minute: int, name: str = "shop/db", **changes: Any) -> TargetHealth:
    """Saved every hour, and never older than it may be."""
    newest = at(minute - minute % 60)
    given: dict[str, Any] = {
        "newest": newest,
        "archives": 3,
        "size": 10**9,
        "plain_size": 10**10,
        "took": timedelta(minutes=2),
        "max_age": timedelta(minutes=90),
        "next_run": newest + timedelta(hours=1),
    }
    return TargetHealth(target=name, **(given | changes))


def healthy(minute: int) -> Health:
    return Health(at=at(minute), targets=(target(minute), target(minute, "shop/other")))


def changed(**changes: Any) -> Life:
    """One target is like this all the time, the other is well."""
    return lambda minute: Health(at=at(minute), targets=(target(minute, **changes), target(minute, "shop/other")))


def with_problem(problem: str) -> Life:
    return changed(problems={problem: "as it is"})


# --- how it is judged ---


@pytest.fixture(scope="module")
def promtool() -> str:
    found = subprocess.run([ROOT / "tests/testbed/promtool"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.fail(f"no promtool: {found.stderr}")
    return found.stdout.strip()


def run(promtool: str, *words: str | Path) -> str:
    done = subprocess.run([promtool, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def samples(metrics: Metrics) -> dict[str, float]:
    """By the name and labels as PromQL writes them."""
    return {
        sample.name + "{" + ",".join(f'{key}="{value}"' for key, value in sample.labels.items()) + "}": sample.value
        for family in metrics.collect()
        for sample in family.samples
        if not sample.name.startswith(NOISY)
    }


def series(life: Life, *, unsent_at: int | None = None) -> list[dict[str, str]]:
    """As Prometheus would have stored it: a value a minute, `_` where there was none, `up` with it."""
    metrics, stored = Metrics(), {'up{job="dbguard"}': ["0"] * MINUTES}
    for minute in range(MINUTES):
        health = life(minute)
        if health is None:
            continue
        stored['up{job="dbguard"}'][minute] = "1"
        metrics.show(health)
        metrics.told(1 if minute == unsent_at else 0)
        for name, value in samples(metrics).items():
            stored.setdefault(name, ["_"] * MINUTES)[minute] = f"{value:.0f}"
    return [{"series": name, "values": " ".join(values)} for name, values in stored.items()]


def judge(promtool: str, folder: Path, **test: Any) -> None:
    """Runs one unit test of the rules. JSON is YAML."""
    file = folder / "test.yml"
    wanted = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [{"interval": "1m"} | test]}
    file.write_text(json.dumps(wanted))
    run(promtool, "test", "rules", file)


def firing(minute: int, alerts: Mapping[str, str]) -> dict[str, Any]:
    """That at this minute these alerts fire, with the severity that is given, and no other."""
    return {
        "expr": 'count by (alertname, severity) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [
            {"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1}
            for name, severity in alerts.items()
        ],
    }


# --- the files ---


@pytest.mark.parametrize("words", [("rules", RULES), ("config", CONFIG)], ids=["rules", "config"])
def test_they_are_valid(promtool: str, words: tuple[str, Path]) -> None:
    assert "SUCCESS" in run(promtool, "check", *words)


def test_they_use_what_is_exported() -> None:
    metrics = Metrics()
    metrics.show(Health(at=at(0), targets=(target(0, problems={"stale": "x"}),), problems={"clock": "x"}))
    exported = {sample.name for family in metrics.collect() for sample in family.samples}
    used = set(re.findall(r"dbguard_\w+", TEXT))
    assert used <= exported
    assert len(used) > 5, "else the rules were not understood"


def test_every_problem_has_an_alert() -> None:
    """A stale target has one that Prometheus works out itself: it holds when dbguard hangs too."""
    assert set(re.findall(r'problem="(\w+)"', TEXT)) == set(get_args(Problem)) - {"stale"}


def test_every_alert_says_what_to_do() -> None:
    for block in TEXT.split("- alert: ")[1:]:
        assert re.search(r"labels: \{severity: (critical|warning)\}", block)
        assert re.search(r"summary: .{20}", block)
        assert re.search(r"description: >-\n.*?(dbguard|docker compose) [a-z]", block, re.DOTALL), block


# --- lives ---


def gone_at(minute: int) -> Life:
    return lambda now: healthy(now) if now < minute else None


def stops_looking_at(minute: int) -> Life:
    return lambda now: healthy(min(now, minute))


def about_no_target(minute: int) -> Health:
    return Health(at=at(minute), targets=(target(minute),), problems={"clock": "an hour ahead"})


CAUSES: dict[str, tuple[Life, str, Mapping[int, bool]]] = {
    "DbguardGone": (gone_at(100), "critical", {109: False, 110: True}),
    "DbguardHangs": (stops_looking_at(100), "critical", {115: False, 116: True}),
    "DbguardBackupStale": (changed(newest=at(0)), "critical", {95: False, 96: True}),
    "DbguardNeverBackedUp": (changed(newest=None, archives=0), "critical", {59: False, 60: True}),
    "DbguardBackupUnverified": (with_problem("unverified"), "critical", {0: True}),
    "DbguardStorageUnreadable": (with_problem("unreadable"), "critical", {9: False, 10: True}),
    "DbguardRunFailed": (with_problem("failed"), "warning", {0: True}),
    "DbguardTargetUnreachable": (with_problem("unreachable"), "warning", {14: False, 15: True}),
    "DbguardBackupPartial": (with_problem("partial"), "warning", {0: True}),
    "DbguardBackupSuspicious": (with_problem("suspicious"), "warning", {0: True}),
    "DbguardBackupUncopied": (with_problem("uncopied"), "warning", {59: False, 60: True}),
    "DbguardUnpruned": (with_problem("unpruned"), "warning", {1439: False, 1440: True, 1500: True}),
    "DbguardVolumeUnlocked": (with_problem("unlocked"), "warning", {14: False, 15: True}),
    "DbguardProblem": (about_no_target, "warning", {9: False, 10: True}),
}
"""What makes each fire, how grave it is, and whether it fires at these minutes. No other fires then."""


def test_a_healthy_life_is_quiet(promtool: str, tmp_path: Path) -> None:
    quiet = [{"expr": "ALERTS", "eval_time": f"{minute}m", "exp_samples": []} for minute in range(0, MINUTES, 15)]
    judge(promtool, tmp_path, input_series=series(healthy), promql_expr_test=quiet)


@pytest.mark.parametrize("alert", [*CAUSES])
def test_an_alert_fires_for_its_cause(promtool: str, tmp_path: Path, alert: str) -> None:
    life, severity, moments = CAUSES[alert]
    wanted = [firing(minute, {alert: severity} if fires else {}) for minute, fires in moments.items()]
    judge(promtool, tmp_path, input_series=series(life), promql_expr_test=wanted)


def test_messages_that_do_not_arrive(promtool: str, tmp_path: Path) -> None:
    wanted = [
        firing(99, {}),
        firing(101, {"DbguardNotificationsFailing": "warning"}),
        firing(150, {"DbguardNotificationsFailing": "warning"}),
        firing(170, {}),
    ]
    judge(promtool, tmp_path, input_series=series(healthy, unsent_at=100), promql_expr_test=wanted)


def test_a_sidecar_that_was_never_seen(promtool: str, tmp_path: Path) -> None:
    """As with the textfile collector: there is no `up` of its own."""
    judge(
        promtool,
        tmp_path,
        input_series=[{"series": 'up{job="node"}', "values": "1x60"}],
        promql_expr_test=[firing(9, {}), firing(10, {"DbguardGone": "critical"})],
    )


def test_one_of_two_sidecars_is_gone(promtool: str, tmp_path: Path) -> None:
    both = [
        {"series": one["series"].replace("{", f'{{instance="{name}",').replace(",}", "}"), "values": one["values"]}
        for name, life in {"here": healthy, "there": gone_at(100)}.items()
        for one in series(life)
    ]
    labels = 'alertname="DbguardGone", alertstate="firing", instance="there", job="dbguard", severity="critical"'
    samples = [{"labels": f"ALERTS{{{labels}}}", "value": 1}]
    wanted = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": "120m", "exp_samples": samples}
    judge(promtool, tmp_path, input_series=both, promql_expr_test=[wanted])


def test_all_causes_are_told() -> None:
    assert sorted([*CAUSES, "DbguardNotificationsFailing"]) == sorted(ALERTS)


ARRIVING: dict[str, tuple[Life, int, str, Mapping[str, str]]] = {
    "DbguardBackupStale": (
        changed(newest=at(0)),
        96,
        "shop/db: the newest good backup is 1h 36m 0s old",
        {"target": "shop/db"},
    ),
    "DbguardHangs": (
        stops_looking_at(100),
        116,
        "dbguard has not looked at its databases for 16m 0s",
        {},
    ),
    "DbguardGone": (gone_at(100), 200, "dbguard cannot be seen", {"job": "dbguard"}),
}


@pytest.mark.parametrize("alert", [*ARRIVING])
def test_the_words_of_an_alert(promtool: str, tmp_path: Path, alert: str) -> None:
    """Of those with more than a name in them, as they arrive."""
    life, minute, summary, labels = ARRIVING[alert]
    words = dict(re.findall(r"alert: (\w+)\n.*?description: >-\n(.*?)\n\n", TEXT, re.DOTALL))[alert]
    description = " ".join(words.split()).replace("{{ $labels.target }}", "shop/db")
    arrived = {
        "exp_labels": {"severity": "critical"} | dict(labels),
        "exp_annotations": {"summary": summary, "description": description},
    }
    wanted = {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [arrived]}
    judge(promtool, tmp_path, input_series=series(life), alert_rule_test=[wanted])
