"""What holds for one target: which source wins, what a wrong label says, how old a backup may become."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dbguard import config
from dbguard.errors import ConfigError
from dbguard.habits import habits, remembered, settings_among
from dbguard.retention import Policy
from tests.unit.nouns import TARGET, archive, listed

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def load(text: str = "") -> config.Settings:
    file = Path("dbguard.toml")
    file.write_text(text)
    return config.load(file)


def test_labels_beat_the_section_and_the_section_what_is_set_for_all() -> None:
    settings = load(
        'schedule = "@hourly"\njitter = "1m"\nmax_duration = "1h"\n'
        '[targets."shop/db"]\njitter = "2m"\nmax_duration = "2h"\nping = "https://hc.example/x"\n'
    )
    found = habits(settings, "shop/db", {"dbguard.jitter": "3m", "dbguard.timezone": "Europe/Berlin"})
    assert found.schedule.text == "@hourly"
    assert (found.jitter, found.max_duration) == (timedelta(minutes=3), 2 * HOUR)
    assert found.zone.key == "Europe/Berlin"
    assert found.ping is not None
    assert "x" not in repr(found.ping)
    assert habits(settings, "shop/other", {}).ping is None


def test_rules_of_labels_count_whole_above_all_others() -> None:
    settings = load('keep_last = 9\n[targets."shop/db"]\nkeep_daily = 7\n')
    found = habits(settings, "shop/db", {"dbguard.keep-weekly": "4", "dbguard.keep-within": "2d"})
    assert found.policy("file:///any") == Policy(keep_weekly=4, keep_within=2 * DAY)


def test_the_section_of_a_folder_is_found_by_path_and_by_url(tmp_path: Path) -> None:
    for spelt in (str(tmp_path), tmp_path.as_uri()):
        for section in (str(tmp_path), tmp_path.as_uri()):
            settings = load(f'storage = "{spelt}"\n[storages."{section}"]\nkeep_last = 3\n')
            assert habits(settings, "shop/db", {}).policy(tmp_path.as_uri()) == Policy(keep_last=3)


@pytest.mark.parametrize("value", ["false", "no", "0", "off", "False"])
def test_a_target_can_be_left_out_by_label_or_section(value: str) -> None:
    assert not habits(load(), "shop/db", {"dbguard.enable": value}).enabled
    assert not habits(load('[targets."shop/db"]\nenable = false\n'), "shop/db", {}).enabled
    assert habits(load('[targets."shop/db"]\nenable = false\n'), "shop/db", {"dbguard.enable": "true"}).enabled


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("dbguard.shedule", "@daily", "label dbguard.shedule: unknown label"),
        ("dbguard.schedule", "often", "label dbguard.schedule: "),
        ("dbguard.keep-daily", "many", "label dbguard.keep-daily: "),
        ("dbguard.max-age", "old", "label dbguard.max-age: "),
        ("dbguard.password", "x", "label dbguard.password: unknown label"),
        ("dbguard.ping", "https://x", "label dbguard.ping: unknown label"),
    ],
)
def test_a_wrong_label_is_named(label: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        habits(load(), "shop/db", {label: value})
    assert str(caught.value).startswith(said)


def test_labels_that_are_no_settings_are_left_alone() -> None:
    labels = {"dbguard.name": "a/b", "dbguard.role": "sidecar", "com.example": "x", "dbguard.keep-last": "3"}
    assert settings_among(labels) == {"dbguard.keep-last": "3"}
    assert habits(load(), "shop/db", labels).policy("s3://x") == Policy(keep_last=3)


def test_what_the_newest_archive_remembers_holds_when_its_container_is_gone() -> None:
    settings = load("keep_last = 1")
    plain = [listed(archive(1)), listed(archive(2))]
    labelled = [
        replace(one, summary=replace(one.summary, labels={"dbguard.keep-last": str(n)}))
        for n, one in enumerate(plain, start=5)
    ]
    assert remembered(settings, TARGET, labelled).policy("x") == Policy(keep_last=6)
    assert remembered(settings, TARGET, plain).policy("x") == Policy(keep_last=1)
    assert remembered(settings, TARGET, []).policy("x") == Policy(keep_last=1)


@pytest.mark.parametrize(
    ("schedule", "age"),
    [
        ("30 3 * * *", DAY + 2 * HOUR),
        ("@hourly", HOUR / 2 + 2 * HOUR),
        ("every 6h", 2.5 * HOUR + 2 * HOUR),
        ("30 3 * * mon", 7 * DAY + 2 * HOUR),
        ("30 3 * * mon,wed", 2 * DAY + 2 * HOUR),
    ],
)
def test_without_a_max_age_it_is_what_the_schedule_lets_expect(schedule: str, age: timedelta) -> None:
    assert habits(load(f'schedule = "{schedule}"'), "shop/db", {}).max_age(MONDAY) == age


def test_a_max_age_that_is_set_counts() -> None:
    settings = load('max_age = "26h"')
    assert habits(settings, "shop/db", {}).max_age(MONDAY) == 26 * HOUR
    assert habits(settings, "shop/db", {"dbguard.max-age": "30m"}).max_age(MONDAY) == HOUR / 2
