"""Settings: where they come from, which wins, and what is said about a wrong one."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dbguard import config
from dbguard.config import Settings, load
from dbguard.errors import ConfigError
from dbguard.habits import habits
from dbguard.model import Login
from dbguard.retention import Policy

SECRET = "hunter2-not-to-be-seen"

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith(("DBGUARD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "_SYSTEM_FILE", tmp_path / "etc" / "dbguard.toml")
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a dbguard.toml above the working directory."""

    def written(text: str) -> Path:
        path = tmp_path / "work" / "dbguard.toml"
        path.write_text(text)
        return path

    return written


# --- defaults ---


def test_without_any_configuration_there_are_defaults(tmp_path: Path) -> None:
    settings = load()
    assert settings.storage_urls == [(tmp_path / "home/.local/share/dbguard").as_uri()]
    assert settings.state == tmp_path / "home/.local/state/dbguard"
    assert settings.guard.recent == timedelta(minutes=15)
    assert habits(settings, "shop/db", {}).policy(settings.storage_urls[0]) == Policy(), "everything is kept"
    assert settings.login("shop/db") is None, "taken inside the container"


def test_xdg_folders_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    settings = load()
    assert (settings.storage_urls, str(settings.state)) == (["file:///data/dbguard"], "/state/dbguard")


# --- which source wins ---


def test_a_file_beats_the_defaults(write: Write) -> None:
    write("level = 7")
    assert load().level == 7


def test_the_environment_beats_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("level = 7\nscope = 'all'")
    monkeypatch.setenv("DBGUARD_LEVEL", "8")
    assert (load().level, load().scope) == (8, "all")


def test_flags_beat_everything(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("storage = 'file:///from-file'")
    monkeypatch.setenv("DBGUARD_STORAGE", "file:///from-environment")
    assert load(storage="file:///from-flag").storage_urls == ["file:///from-flag"]
    assert load(storage=None).storage_urls == ["file:///from-environment"], "a flag that was not given"


def test_sources_add_up_within_a_section(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write('[targets."shop/db"]\nuser = "backup"\npassword = "x"\n[guard]\nrecent = "1h"')
    monkeypatch.setenv("DBGUARD_GUARD__RECENT", "2h")
    settings = load()
    assert settings.guard.recent == timedelta(hours=2)
    assert settings.login("shop/db") == Login(user="backup", password="x")


def test_an_empty_variable_is_not_set(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose passes it: DBGUARD_LEVEL: ${LEVEL:-}."""
    write("level = 7")
    monkeypatch.setenv("DBGUARD_LEVEL", "")
    assert load().level == 7


# --- which file is read ---


def test_the_nearest_file_upward_is_read(write: Write, tmp_path: Path) -> None:
    write("level = 7")
    (tmp_path / "dbguard.toml").write_text("level = 9")
    assert load().level == 7


def test_a_named_file_is_read_instead(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("level = 7")
    other = tmp_path / "other.toml"
    other.write_text("level = 5")
    assert load(other).level == 5
    monkeypatch.setenv("DBGUARD_CONFIG", str(other))
    assert load().level == 5


def test_the_systems_file_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "dbguard.toml").write_text("level = 4")
    assert load().level == 4


def test_a_named_file_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silently going on with the defaults would store the archives somewhere else."""
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load(missing)
    monkeypatch.setenv("DBGUARD_CONFIG", str(missing))
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load()


# --- wrong settings ---


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("levle = 3", "levle"),
        ("[guard]\nrecents = '1h'", "guard.recents"),
        ("[targets.'shop/db']\npasswort = 'x'", "targets.shop/db.passwort"),
        ("[nothing]\nx = 1", "nothing"),
    ],
)
def test_an_unknown_key_is_named_with_its_file(write: Write, text: str, key: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == f"{path}: {key}: unknown key"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("level = 0", "level"), ("level = 20", "level"), ("level = 'x'", "level"), ("keep_last = 0", "keep_last"),
        ("scope = 'everything'", "scope"), ("stall = 'soon'", "stall"), ("targets = 1", "targets"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_file_and_key(write: Write, text: str, key: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=f"^{path}: {key}: "):
        load()


@pytest.mark.parametrize("text", ["level = ", "[", "level = 3\nlevel = 4", "\0"])
def test_a_file_that_is_no_toml_is_named(write: Write, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=str(path)):
        load()


def test_a_file_that_is_no_text_is_named(write: Write) -> None:
    path = write("")
    path.write_bytes(b"level = '\xff'")
    with pytest.raises(ConfigError, match=str(path)):
        load()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path)


def test_a_wrong_variable_is_not_blamed_on_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("scope = 'all'")
    monkeypatch.setenv("DBGUARD_LEVEL", "high")
    with pytest.raises(ConfigError, match="level") as caught:
        load()
    assert str(path) not in str(caught.value)
    assert "DBGUARD_LEVEL" in str(caught.value)


@pytest.mark.parametrize("name", ["DBGUARD_TARGETS", "DBGUARD_GUARD"])
def test_a_variable_that_is_no_json_where_it_must_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "{not json")
    with pytest.raises(ConfigError):
        load()


# --- values ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15)), ("26h", timedelta(hours=26)),
        ("7d", timedelta(days=7)), ("1h30m", timedelta(minutes=90)),
    ],
)  # fmt: skip
def test_durations(monkeypatch: pytest.MonkeyPatch, text: str, expected: timedelta) -> None:
    monkeypatch.setenv("DBGUARD_STALL", text)
    assert load().stall == expected


@pytest.mark.parametrize("text", ["soon", "15 minutes", "m", "1x", "-15m", "-1h30m", "h1", "--1h"])
def test_what_is_no_duration_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DBGUARD_GUARD__RECENT", text)
    with pytest.raises(ConfigError, match="recent"):
        load()


def test_a_number_without_a_unit_is_seconds_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """15: seconds, minutes, hours? Nobody should have to guess."""
    monkeypatch.setenv("DBGUARD_GUARD__RECENT", "15")
    with pytest.raises(ConfigError, match="recent"):
        load()


def test_several_storages_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBGUARD_STORAGE", "file:///a, file:///b,")
    settings = load()
    assert settings.storage == ("file:///a", "file:///b")
    assert settings.storage_urls == ["file:///a", "file:///b"]


def test_storages_are_used_once_each_folders_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest is the one that is read."""
    monkeypatch.setenv("DBGUARD_STORAGE", "s3://far, file:///b, file:///a, s3://far, file:///b")
    assert load().storage_urls == ["file:///b", "file:///a", "s3://far"]


# --- rules and zones ---


def test_a_set_of_rules_counts_whole_the_nearest_wins(write: Write) -> None:
    write("""
        storage = ["file:///a", "file:///b"]
        keep_last = 3
        timezone = "Europe/Berlin"
        [storages."file:///b"]
        keep_daily = 30
        [targets."shop/db"]
        keep_within = "90d"
        timezone = "Australia/Lord_Howe"
        [targets."blog/db"]
        user = "x"
    """)
    settings = load()
    assert habits(settings, "blog/db", {}).policy("file:///a") == Policy(keep_last=3)
    assert habits(settings, "blog/db", {}).policy("file:///b") == Policy(keep_daily=30)
    for url in settings.storage_urls:
        assert habits(settings, "shop/db", {}).policy(url) == Policy(keep_within=timedelta(days=90))
    zones = [habits(settings, name, {}).zone.key for name in ("shop/db", "blog/db")]
    assert zones == ["Australia/Lord_Howe", "Europe/Berlin"]


@pytest.mark.parametrize("rule", ["last", "hourly", "daily", "weekly", "monthly", "yearly"])
@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5"])
def test_a_rule_that_keeps_none_is_refused(monkeypatch: pytest.MonkeyPatch, rule: str, count: str) -> None:
    """Whoever wants no such rule leaves it out; a 0 is more likely a mistake."""
    monkeypatch.setenv(f"DBGUARD_KEEP_{rule.upper()}", count)
    with pytest.raises(ConfigError, match=f"keep_{rule}"):
        load()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "", "2"])
def test_a_zone_that_nobody_knows_is_refused(write: Write, zone: str) -> None:
    write(f"timezone = {zone!r}")
    with pytest.raises(ConfigError, match="timezone"):
        load()


def test_rules_for_a_storage_that_is_not_used_are_refused(write: Write) -> None:
    write('storage = "file:///a"\n[storages."file:///aa"]\nkeep_last = 3')
    with pytest.raises(ConfigError, match="file:///aa"):
        load()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().level = 4


# --- logins ---


def test_a_password_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Docker secret; the newline at its end is not part of it."""
    (tmp_path / "secret").write_text(f" {SECRET} \n")
    monkeypatch.setenv("DBGUARD_PASSWORD_FILE", str(tmp_path / "secret"))
    assert load().login("shop/db") == Login(user="root", password=f" {SECRET} ")


def test_a_targets_own_login_beats_the_one_for_all(write: Write) -> None:
    write('user = "all"\npassword = "a"\n[targets."shop/db"]\nuser = "own"\npassword = "o"')
    settings = load()
    assert settings.login("shop/db") == Login(user="own", password="o")
    assert settings.login("blog/db") == Login(user="all", password="a")


def test_a_user_alone_logs_in_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBGUARD_USER", "backup")
    assert load().login("shop/db") == Login(user="backup", password="")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_password_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("DBGUARD_PASSWORD_FILE", str(file))
    with pytest.raises(ConfigError, match=f"password_file {file}"):
        load().login("shop/db")


# --- what may be seen ---


@pytest.fixture
def with_secrets(write: Write, monkeypatch: pytest.MonkeyPatch) -> Settings:
    write(f'[targets."shop/db"]\npassword = "{SECRET}"')
    monkeypatch.setenv("DBGUARD_PASSWORD", SECRET)
    return load()


def test_no_secret_is_shown(with_secrets: Settings) -> None:
    login = with_secrets.login("shop/db")
    assert login is not None
    assert login.password == SECRET
    shown = [
        repr(with_secrets), str(with_secrets), json.dumps(with_secrets.model_dump(mode="json")),
        str(with_secrets.model_dump()), with_secrets.model_dump_json(), repr(login), str(login),
    ]  # fmt: skip
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize("text", [f"password = ['{SECRET}']", f"passwort = '{SECRET}'", f"level = '{SECRET}'"])
def test_no_secret_is_in_an_error(write: Write, text: str) -> None:
    write(text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.hint)


@pytest.mark.parametrize("name", ["DBGUARD_STORGE", "DBGUARD_GUARD_RECENT", "DBGUARD_KEEP"])
def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1m")
    with pytest.raises(ConfigError, match=name):
        load()


def test_what_can_never_work_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBGUARD_STALL", "0s")
    with pytest.raises(ConfigError, match="stall"):
        load()
    monkeypatch.delenv("DBGUARD_STALL")
    file = tmp_path / "dbguard.toml"
    file.write_text('[targets.db]\nuser = "root"\n')
    with pytest.raises(ConfigError, match="project/service"):
        load(file)


def test_a_wrong_secret_is_in_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / "dbguard.toml"
    file.write_text('pasword = "hunter2"\n')
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# --- when archives are verified ---


def test_archives_are_verified_after_the_backup() -> None:
    assert load().verify.when == "after-backup"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('when = "schedule"', "needs a schedule"),
        ('schedule = "30 5 * * *"', "would never be looked at"),
        ('when = "off"\nschedule = "30 5 * * *"', "would never be looked at"),
        ('when = "schedule"\nschedule = "now and then"', "five fields"),
        ('when = "always"', "'after-backup', 'schedule' or 'off'"),
    ],
)
def test_a_schedule_to_verify_is_there_exactly_where_it_counts(write: Write, text: str, why: str) -> None:
    write(f"[verify]\n{text}\n")
    with pytest.raises(ConfigError, match=why):
        load()


@pytest.mark.parametrize("schedule", ["30 5 * * *", "every 24h", "@weekly"])
def test_a_schedule_to_verify_is_written_like_that_of_the_backups(write: Write, schedule: str) -> None:
    write(f'timezone = "Europe/Berlin"\n[verify]\nwhen = "schedule"\nschedule = "{schedule}"\n')
    verification = habits(load(), "shop/db", {}).verification
    assert verification is not None
    assert (verification.text, str(verification.zone)) == (schedule, "Europe/Berlin")
