"""What Prometheus is shown."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

import dbguard
from dbguard.errors import ConfigError
from dbguard.health import Health, TargetHealth
from dbguard.metrics import Metrics

NOW = datetime(2026, 11, 24, 3, 45, 30, tzinfo=UTC)
ROOT = Path(dbguard.__file__).parents[2]

Series = dict[tuple[str, frozenset[str]], float]


def of(target: str = "shop/db", **given: Any) -> TargetHealth:
    return TargetHealth(target=target, max_age=given.pop("max_age", timedelta(hours=26)), **given)


FULL = of(
    newest=NOW - timedelta(hours=3),
    newest_id="20261124T004530Z-7f3a9c",
    archives=9,
    size=1_234_567_890_123,
    plain_size=9_876_543_210_987,
    took=timedelta(minutes=2, milliseconds=250),
    next_run=NOW + timedelta(hours=21),
    running_since=NOW - timedelta(seconds=4),
)


def exported(metrics: Metrics, folder: Path) -> Series:
    """Every series by its name and the values of its labels, as a reader of the textfile understands it."""
    metrics.write(folder / "dbguard.prom")
    text = (folder / "dbguard.prom").read_text()
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, *labels: str) -> tuple[str, frozenset[str]]:
    return f"dbguard_{name}", frozenset(labels)


def test_everything_is_in_seconds_and_bytes(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.show(Health(at=NOW, targets=(FULL,)))
    got = exported(metrics, tmp_path)
    counted = {labels: got.pop(labels) for labels in [*got] if labels[0] == "dbguard_runs_total"}
    assert set(counted) == {key("runs_total", "shop/db", how) for how in ("success", "failed", "partly", "skipped")}
    assert set(counted.values()) == {0}, "from 0 on, else increase() would not see the first"
    assert got == {
        key("backup_last_success_timestamp_seconds", "shop/db"): NOW.timestamp() - 3 * 3600,
        key("backup_last_duration_seconds", "shop/db"): 120.25,
        key("backup_last_size_bytes", "shop/db"): 1_234_567_890_123,
        key("backup_last_plain_size_bytes", "shop/db"): 9_876_543_210_987,
        key("backup_max_age_seconds", "shop/db"): 26 * 3600,
        key("backup_next_run_timestamp_seconds", "shop/db"): NOW.timestamp() + 21 * 3600,
        key("backup_running", "shop/db"): 1,
        key("archives", "shop/db"): 9,
        key("target_healthy", "shop/db"): 1,
        key("healthy"): 1,
        key("last_look_timestamp_seconds"): NOW.timestamp(),
        key("notifications_failed_total"): 0,
        key("build_info", dbguard.__version__): 1,
    }


def test_before_the_first_look_nothing_is_claimed(tmp_path: Path) -> None:
    assert set(exported(Metrics(), tmp_path)) == {
        key("build_info", dbguard.__version__),
        key("notifications_failed_total"),
    }


def test_a_target_without_an_archive_has_no_success(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.show(Health(at=NOW, targets=(of(problems={"stale": "no archive"}),)))
    got = exported(metrics, tmp_path)
    assert {name for name, labels in got if "shop/db" in labels} == {
        f"dbguard_{name}"
        for name in (
            "backup_max_age_seconds",
            "backup_running",
            "archives",
            "target_healthy",
            "target_problem",
            "runs_total",
        )
    }
    assert got[key("archives", "shop/db")] == got[key("backup_running", "shop/db")] == 0


def test_problems(tmp_path: Path) -> None:
    metrics = Metrics()
    sick = of("shop/sick", problems={"stale": "x", "uncopied": "y"})
    metrics.show(Health(at=NOW, targets=(FULL, sick), problems={"clock": "an hour ahead"}))
    got = exported(metrics, tmp_path)
    assert {labels for name, labels in got if name == "dbguard_target_problem"} == {
        frozenset({"shop/sick", "stale"}),
        frozenset({"shop/sick", "uncopied"}),
    }
    assert got[key("problem", "clock")] == 1
    assert got[key("target_healthy", "shop/sick")] == got[key("healthy")] == 0
    assert got[key("target_healthy", "shop/db")] == 1
    metrics.show(Health(at=NOW, targets=(FULL, of("shop/sick", problems={"stale": "x"}))))
    got = exported(metrics, tmp_path)
    assert [labels for name, labels in got if name == "dbguard_target_problem"] == [frozenset({"shop/sick", "stale"})]
    assert not [name for name, _ in got if name == "dbguard_problem"]


def test_healthy_is_what_health_calls_so(tmp_path: Path) -> None:
    """A problem is shown, and does not count here as long as the newest good archive is young."""
    metrics = Metrics()
    metrics.show(Health(at=NOW, targets=(of(problems={"uncopied": "x"}),)))
    got = exported(metrics, tmp_path)
    assert got[key("target_problem", "shop/db", "uncopied")] == 1
    assert got[key("target_healthy", "shop/db")] == got[key("healthy")] == 1


def test_a_target_that_is_gone_has_no_series(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.show(Health(at=NOW, targets=(FULL, of("shop/old", problems={"failed": "x"}))))
    metrics.ran("shop/old", "failed")
    metrics.ran("shop/db", "success")
    metrics.show(Health(at=NOW, targets=(FULL,)))
    got = exported(metrics, tmp_path)
    assert not [series for series in got if "shop/old" in series[1]]
    assert got[key("runs_total", "shop/db", "success")] == 1, "the others go on counting"


def test_counts(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.ran("shop/db", "partly")  # before the first look
    metrics.show(Health(at=NOW, targets=(FULL,)))
    metrics.ran("shop/db", "partly")
    metrics.ran("shop/db", "failed")
    metrics.told(2)
    metrics.told(0)
    metrics.told(1)
    got = exported(metrics, tmp_path)
    assert got[key("runs_total", "shop/db", "partly")] == 2
    assert got[key("runs_total", "shop/db", "failed")] == 1
    assert got[key("runs_total", "shop/db", "success")] == 0
    assert got[key("notifications_failed_total")] == 3


def test_names_are_escaped(tmp_path: Path) -> None:
    metrics = Metrics()
    odd = 'a"b\\c\nd/ü'
    metrics.show(Health(at=NOW, targets=(of(odd),)))
    assert key("archives", odd) in exported(metrics, tmp_path)


def test_one_does_not_see_the_other_nor_the_global_registry(tmp_path: Path) -> None:
    one, other = Metrics(), Metrics()
    one.show(Health(at=NOW, targets=(FULL,)))
    assert key("healthy") not in exported(other, tmp_path)
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("dbguard")]


def test_a_scrape_never_sees_half_of_a_look(tmp_path: Path) -> None:
    """While one thread shows, another reads: each reading holds all targets of one look."""
    metrics, stop = Metrics(), threading.Event()
    looks = [
        Health(at=NOW + timedelta(seconds=number), targets=tuple(of(f"shop/{number}-{i}") for i in range(5)))
        for number in range(2)
    ]
    metrics.show(looks[0])

    def show() -> None:
        while not stop.is_set():
            for look in looks:
                metrics.show(look)

    thread = threading.Thread(target=show)
    thread.start()
    try:
        for _ in range(200):
            got = exported(metrics, tmp_path)
            number = int(got[key("last_look_timestamp_seconds")] - NOW.timestamp())
            seen = {label for _, labels in got for label in labels if label.startswith("shop/")}
            assert seen == {f"shop/{number}-{i}" for i in range(5)}
    finally:
        stop.set()
        thread.join()


# --- the textfile ---


def test_the_textfile_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "dbguard.prom"
    file.write_text("old")
    with file.open() as reader:
        Metrics().write(file)
        assert reader.read() == "old", "whoever reads goes on reading the old one"
    assert "dbguard_build_info" in file.read_text()
    assert [*tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("place", ["missing/dbguard.prom", "folder"])
def test_a_textfile_that_cannot_be_written_names_the_setting(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=rf"^metrics_file: .*{place}: \w") as caught:
        Metrics().write(tmp_path / place)
    assert "Errno" not in str(caught.value)
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]


def test_the_page_lists_what_there_is() -> None:
    """docs/monitoring.md, by name and by labels."""
    page = (ROOT / "docs/monitoring.md").read_text()
    listed = re.findall(r"^\| `(dbguard_\w+)` \|", page, re.MULTILINE)
    families = [*Metrics().collect()]
    suffix = {"counter": "_total", "info": "_info"}
    assert sorted(listed) == sorted(family.name + suffix.get(family.type, "") for family in families)
