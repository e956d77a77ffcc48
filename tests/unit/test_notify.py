"""Messages through apprise, to a real server on this machine."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dbguard import notify
from dbguard.cli.notify import notify_command
from dbguard.errors import ConfigError, DbguardError
from dbguard.news import Message
from dbguard.notify import Channels
from tests.unit.test_ping import TOKEN, Listener, dead_port, listening, logged

FAILURE = Message(kind="failure", title="dbguard: shop/db failed", body="shop/db failed: <b>&amp; \\n @here")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_secret(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever a test does: the token is never logged or printed."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3")  # whatever dbguard.ping has done about it
    yield
    printed = capfd.readouterr()
    assert TOKEN not in logged(caplog) + printed.out + printed.err


def channel(listener: Listener, more: str = "") -> str:
    """Its token is in the path, and an own password beside it."""
    return f"json://user:{TOKEN}@127.0.0.1:{listener.port}/{TOKEN}{more}"


def dead() -> str:
    return f"json://127.0.0.1:{dead_port()}/{TOKEN}"


# --- telling ---


def test_a_message_arrives_as_it_was_written(listener: Listener) -> None:
    assert Channels([channel(listener)]).tell(FAILURE) == {}
    ((method, path, body),) = listener.heard
    assert (method, path) == ("POST", f"/{TOKEN}")
    sent = json.loads(body)
    assert (sent["title"], sent["message"], sent["type"]) == (FAILURE.title, FAILURE.body, "failure")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("failure", "failure"),
        ("recovery", "success"),
        ("reminder", "warning"),
        ("warning", "warning"),
        ("test", "info"),
    ],
)
def test_kinds_have_the_colours_people_know(listener: Listener, kind: Any, expected: str) -> None:
    Channels([channel(listener)]).tell(Message(kind=kind, title="a", body="b"))
    assert json.loads(listener.heard[0][2])["type"] == expected


def test_one_dead_channel_hides_neither_itself_nor_another(listener: Listener) -> None:
    channels = Channels([dead(), channel(listener), dead()])
    assert channels.names == ["json://127.0.0.1", "json://127.0.0.1 (2)", "json://127.0.0.1 (3)"]
    unreached = "it could not be reached, or did not answer in time"
    assert channels.tell(FAILURE) == {"json://127.0.0.1": unreached, "json://127.0.0.1 (3)": unreached}
    assert len(listener.heard) == 1


@pytest.mark.parametrize("status", [302, 401, 429, 500])
def test_a_refusal_is_said_by_its_number_and_followed_nowhere(listener: Listener, status: int) -> None:
    listener.statuses = [status]
    assert Channels([channel(listener)]).tell(FAILURE) == {"json://127.0.0.1": f"it answered with HTTP status {status}"}
    assert len(listener.heard) == 1


def test_a_channel_that_is_optional_for_apprise_has_failed_all_the_same() -> None:
    assert Channels([dead() + "?optional=yes"]).tell(FAILURE)


def test_a_server_that_hangs_costs_little_time_and_hides_nobody(listener: Listener) -> None:
    with listening() as other:
        listener.hang = 60
        begun = time.monotonic()
        failed = Channels([channel(listener), channel(other)]).tell(FAILURE)
        assert time.monotonic() - begun < 8
        assert failed == {"json://127.0.0.1": "it could not be reached, or did not answer in time"}
        assert len(other.heard) == 1


def test_there_is_an_end_to_a_channel_that_is_slow_at_every_step(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_PATIENCE", 1.0)
    listener.hang = 60
    begun = time.monotonic()
    assert Channels([channel(listener, "?rto=50")]).tell(FAILURE) == {"json://127.0.0.1": "it took longer than 1 s"}
    assert time.monotonic() - begun < 4


def test_whatever_a_plugin_raises_is_a_failure(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise.plugins.custom_json

    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError(TOKEN)

    channels = Channels([channel(listener)])
    monkeypatch.setattr(apprise.plugins.custom_json.NotifyJSON, "send", broken)
    assert channels.tell(FAILURE) == {"json://127.0.0.1": "it did not take the message"}


# --- names ---


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (f"mailtos://user:{TOKEN}@smtp.example.com:587", "mailtos://smtp.example.com"),
        (f"mailtos://user:{TOKEN}@smtp.example.com?from=a@example.com", "mailtos"),
        (f"ntfy://{TOKEN}", "ntfy"),
        (f"ntfys://ntfy.example.org/{TOKEN}", "ntfys"),
        (f"slack://{TOKEN}@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops", "slack"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "https://hooks.slack.com"),
        (f"discord://417421629812345678/{TOKEN}", "discord"),
        (f"tgram://123456789:{TOKEN}/12315544/", "tgram"),
        (f"gotifys://push.example.org/{TOKEN}", "gotifys://push.example.org"),
        (f"json://us:er@{TOKEN}@host/x", "json"),
        (f"json://[::1]:8080/{TOKEN}", "json://[::1]"),
        (f"pover://user@{TOKEN}", "pover"),
    ],
)
def test_a_name_holds_nothing_secret(url: str, name: str) -> None:
    channels = Channels([url])
    assert channels.names == [name]
    assert TOKEN not in repr(channels)
    assert TOKEN not in repr(vars(channels))


def test_every_channel_has_a_name_of_its_own() -> None:
    urls = [f"ntfy://{TOKEN}1", f"discord://417421629812345678/{TOKEN}", f"ntfy://{TOKEN}2", f"ntfy://{TOKEN}3"]
    assert Channels(urls).names == ["ntfy", "discord", "ntfy (2)", "ntfy (3)"]


# --- wrong settings ---


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"nope://{TOKEN}", ", nope://…"), (TOKEN, ""), ("", ""), (f"mailto://user:{TOKEN}@ss@", ", mailto://…"),
        (f"slack://{TOKEN}", ", slack://…"), (f"json://user:{TOKEN}/ss@host", ", json://…"), (f"://{TOKEN}", ""),
    ],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_unseen(url: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Channels([f"json://host/{TOKEN}", url])
    assert str(caught.value) == f"notify: apprise does not understand URL 2{shown}"
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match="notify") as caught:
        Channels([f"json://host/{TOKEN}"])
    assert caught.value.hint == 'pip install "dbguard[notify]"'


def test_no_channel_needs_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    channels = Channels([])
    assert (channels.names, channels.tell(FAILURE)) == ([], {})


# --- dbguard notify test ---


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the command with this setting, and with none of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("DBGUARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def called(value: str, *options: str) -> Result:
        (tmp_path / "dbguard.toml").write_text(f"notify = {value!r}\nping = 'http://127.0.0.1:{dead_port()}/x'")
        settings = {"config_file": str(tmp_path / "dbguard.toml"), "storage": None}
        return CliRunner().invoke(notify_command, ["test", *options], obj=settings)

    return called


def test_the_command_tells_every_channel(listener: Listener, run: Any) -> None:
    done = run(f"{channel(listener)} {channel(listener, '/more')}")
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["ok    json://127.0.0.1", "ok    json://127.0.0.1 (2)"]
    assert [json.loads(body)["type"] for _, _, body in listener.heard] == ["info", "info"]


def test_the_command_fails_when_one_channel_does(listener: Listener, run: Any) -> None:
    done = run(f"{dead()} {channel(listener)}", "--json")
    assert isinstance(done.exception, DbguardError)
    assert (str(done.exception), done.exception.exit_code) == ("not told through json://127.0.0.1", 1)
    why = "it could not be reached, or did not answer in time"
    assert json.loads(done.stdout)["channels"] == [
        {"channel": "json://127.0.0.1", "failed": why},
        {"channel": "json://127.0.0.1 (2)", "failed": None},
    ]
    assert done.stderr.splitlines() == [f"FAIL  json://127.0.0.1: {why}", "ok    json://127.0.0.1 (2)"]
    assert TOKEN not in repr(done.exception) + done.stdout + done.stderr


def test_the_command_without_a_channel_names_the_setting(run: Any) -> None:
    done = run("")
    assert isinstance(done.exception, ConfigError)
    assert "DBGUARD_NOTIFY" in str(done.exception.hint)
