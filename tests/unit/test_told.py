"""What was told, across restarts, dead channels and a full disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.news import Message
from dbguard.notify import Channels
from dbguard.told import Memory, Teller, remembered
from tests.unit.test_ping import TOKEN, dead_port, listening

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of what apprise imports

NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
DAY = timedelta(hours=24)
MINUTE = timedelta(minutes=1)
FAILED = {"shop/db failed": "the dump did not end well"}


class Played:
    """Channels that keep what they took; those in `dead` take nothing."""

    def __init__(self, *names: str) -> None:
        self.names: Sequence[str] = names or ("mail", "chat")
        self.dead: set[str] = set()
        self.took: list[Message] = []
        self.tries = 0

    def tell(self, message: Message, /) -> Mapping[str, str]:
        self.tries += 1
        if self.dead < set(self.names):
            self.took.append(message)
        return {name: "it is dead" for name in self.names if name in self.dead}

    @property
    def kinds(self) -> list[str]:
        return [message.kind for message in self.took]


@pytest.fixture
def channels() -> Played:
    return Played()


def teller(channels: Played | None, state: Path, name: str = "run") -> Teller:
    return Teller(channels, state, name, DAY)


# --- across restarts ---


def test_a_restart_repeats_nothing_and_remembers_what_to_take_back(channels: Played, tmp_path: Path) -> None:
    assert teller(channels, tmp_path).look(FAILED, NOW) == []
    assert teller(channels, tmp_path).look(FAILED, NOW + MINUTE) == []
    assert channels.kinds == ["failure"]
    assert teller(channels, tmp_path).look(FAILED, NOW + DAY) == []
    assert teller(channels, tmp_path).look({}, NOW + DAY + MINUTE) == []
    assert teller(channels, tmp_path).look({}, NOW + DAY + 2 * MINUTE) == []
    assert channels.kinds == ["failure", "reminder", "recovery"]
    assert "2026-11-23 03:30 UTC" in channels.took[-1].body


def test_two_processes_have_a_memory_each(channels: Played, tmp_path: Path) -> None:
    teller(channels, tmp_path, "run").look(FAILED, NOW)
    teller(channels, tmp_path, "guard").look({}, NOW)
    teller(channels, tmp_path, "guard").once("guard shop_data", "refused", NOW)
    assert channels.kinds == ["failure", "warning"], "the guard does not take back what run said"
    assert sorted(os.listdir(tmp_path)) == ["told-guard.json", "told-run.json"]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"problems": [], "warnings": {}}', '{"problems": {}}', "\0",
        '{"problems": {"shop/db failed": 1}, "warnings": {}}',
        '{"problems": {"shop/db failed": {"text": "x", "since": "soon", "at": "now"}}, "warnings": {}}',
        '{"problems": {"shop/db failed": {"text": "x", "since": "2026-11-23", "at": "2026-11-23"}}, "warnings": {}}',
    ],
)  # fmt: skip
def test_a_memory_that_cannot_be_read_is_none(channels: Played, tmp_path: Path, text: str) -> None:
    """Told twice is better than not told."""
    (tmp_path / "told-run.json").write_text(text)
    assert teller(channels, tmp_path).look(FAILED, NOW) == []
    assert channels.kinds == ["failure"]
    assert set(remembered(tmp_path / "told-run.json").problems) == set(FAILED)


def test_only_the_owner_reads_what_was_told(channels: Played, tmp_path: Path) -> None:
    teller(channels, tmp_path / "state").look(FAILED, NOW)
    assert (tmp_path / "state" / "told-run.json").stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_written_it_is_said_and_told_once(channels: Played, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = teller(channels, tmp_path / "file")
    (wrong,) = one.look(FAILED, NOW)
    assert wrong.startswith("what was told could not be kept")
    assert one.look(FAILED, NOW + MINUTE) == []
    assert channels.kinds == ["failure"]


def test_a_write_that_fails_leaves_nothing_behind(channels: Played, tmp_path: Path) -> None:
    (tmp_path / "told-run.json").mkdir()
    assert len(teller(channels, tmp_path).look(FAILED, NOW)) == 1
    assert os.listdir(tmp_path) == ["told-run.json"]


def test_a_quiet_look_writes_nothing(channels: Played, tmp_path: Path) -> None:
    one = teller(channels, tmp_path)
    one.look({}, NOW)
    assert not os.listdir(tmp_path)
    one.look(FAILED, NOW)
    (tmp_path / "told-run.json").unlink()
    one.look(FAILED, NOW + MINUTE)
    assert not os.listdir(tmp_path)


# --- channels ---


@pytest.mark.parametrize("nobody", [None, Channels([])])
def test_without_a_channel_nothing_is_said_or_kept(nobody: Channels | None, tmp_path: Path) -> None:
    one = Teller(nobody, tmp_path, "run", DAY)
    assert one.look(FAILED, NOW) == []
    assert one.once("guard shop_data", "refused", NOW) == []
    assert not os.listdir(tmp_path)


def test_one_channel_is_enough_and_the_other_is_complained_of(channels: Played, tmp_path: Path) -> None:
    channels.dead = {"chat"}
    one = teller(channels, tmp_path)
    assert one.look(FAILED, NOW) == ["not told through chat: 'dbguard: shop/db failed': it is dead"]
    assert one.look(FAILED, NOW + MINUTE) == []
    assert channels.kinds == ["failure"]


def test_what_nobody_took_is_tried_again_but_not_at_once(channels: Played, tmp_path: Path) -> None:
    channels.dead = {"mail", "chat"}
    one = teller(channels, tmp_path)
    assert len(one.look(FAILED, NOW)) == 2
    assert not os.listdir(tmp_path)
    for minutes in range(1, 5):
        assert one.look(FAILED, NOW + minutes * MINUTE) == []
    assert channels.tries == 1
    channels.dead = set()
    assert one.look(FAILED, NOW + 5 * MINUTE) == []
    assert channels.kinds == ["failure"]


def test_the_pause_ends_also_when_the_clock_goes_back(channels: Played, tmp_path: Path) -> None:
    channels.dead = {"mail", "chat"}
    one = teller(channels, tmp_path)
    one.look(FAILED, NOW)
    channels.dead = set()
    one.look(FAILED, NOW - DAY)
    assert channels.kinds == ["failure"]


def test_what_was_over_before_anybody_heard_of_it_is_not_told(channels: Played, tmp_path: Path) -> None:
    channels.dead = {"mail", "chat"}
    one = teller(channels, tmp_path)
    one.look(FAILED, NOW)
    channels.dead = set()
    one.look({}, NOW + 5 * MINUTE)
    assert channels.took == []


def test_what_arrived_before_the_channels_died_is_not_repeated(tmp_path: Path) -> None:
    """Two messages in one look, and the second is lost."""

    class Dying(Played):
        def tell(self, message: Message, /) -> Mapping[str, str]:
            failed = super().tell(message)
            self.dead = set(self.names)
            return failed

    Teller(Played(), tmp_path, "run", DAY).look(FAILED, NOW)
    dying = Dying()
    one = teller(dying, tmp_path)
    assert len(one.look({"blog/db stale": "old"}, NOW + MINUTE)) == 2
    assert dying.kinds == ["failure"]
    after = Played()
    assert teller(after, tmp_path).look({"blog/db stale": "old"}, NOW + 2 * MINUTE) == []
    assert after.kinds == ["recovery"]


def test_with_real_channels_nothing_secret_is_complained_of_or_kept(tmp_path: Path) -> None:
    with listening() as one:
        urls = [f"json://127.0.0.1:{dead_port()}/{TOKEN}", f"json://127.0.0.1:{one.port}/{TOKEN}"]
        (wrong,) = Teller(Channels(urls), tmp_path, "run", DAY).look(FAILED, NOW)
        assert wrong.startswith("not told through json://127.0.0.1: 'dbguard: shop/db failed'")
        assert json.loads(one.heard[0][2])["message"] == "shop/db failed: the dump did not end well"
    assert TOKEN not in wrong + (tmp_path / "told-run.json").read_text()


# --- once ---


def test_a_warning_is_told_once_a_day(channels: Played, tmp_path: Path) -> None:
    for at in (NOW, NOW + MINUTE, NOW + DAY - MINUTE, NOW + DAY):
        assert teller(channels, tmp_path, "guard").once("guard shop_data", "refused", at) == []
    assert channels.kinds == ["warning", "warning"]


def test_without_reminders_a_warning_is_still_told_once_a_day(channels: Played, tmp_path: Path) -> None:
    one = Teller(channels, tmp_path, "guard", timedelta(0))
    for at in (NOW, NOW + MINUTE, NOW + DAY):
        one.once("guard shop_data", "refused", at)
    assert channels.kinds == ["warning", "warning"]


def test_a_look_takes_no_warning_back(channels: Played, tmp_path: Path) -> None:
    one = teller(channels, tmp_path)
    one.once("guard shop_data", "refused", NOW)
    one.look(FAILED, NOW)
    one.look({}, NOW + MINUTE)
    assert channels.kinds == ["warning", "failure", "recovery"]
    assert remembered(tmp_path / "told-run.json") == Memory(warnings=remembered(tmp_path / "told-run.json").warnings)


def test_a_warning_nobody_took_is_told_later(channels: Played, tmp_path: Path) -> None:
    channels.dead = {"mail", "chat"}
    assert len(teller(channels, tmp_path).once("guard shop_data", "refused", NOW)) == 2
    channels.dead = set()
    assert teller(channels, tmp_path).once("guard shop_data", "refused", NOW + MINUTE) == []
    assert channels.kinds == ["warning"]


# --- whatever happens ---

KEYS = ["a/db failed", "b/db stale"]
LOOKS = st.lists(
    st.tuples(st.sets(st.sampled_from(KEYS)), st.sets(st.sampled_from(["mail", "chat"])), st.booleans()), max_size=25
)
"""What is wrong, which channels are dead, and whether there was a restart before. A look every ten minutes."""


@given(LOOKS)
def test_what_lasts_is_told_once_and_what_is_over_is_taken_back_once(
    tmp_path_factory: pytest.TempPathFactory, looks: list[tuple[set[str], set[str], bool]]
) -> None:
    state, channels, now = tmp_path_factory.mktemp("state"), Played(), NOW
    one = teller(channels, state)
    for wrong, dead, restarted in [*looks, ({KEYS[0]}, set(), True)]:
        now += 10 * MINUTE
        one = teller(channels, state) if restarted else one
        channels.dead = dead
        one.look(dict.fromkeys(wrong, "it is so"), now)
    heard = [(line.partition(": ")[0], message.kind) for message in channels.took for line in message.body.splitlines()]
    for key in KEYS:
        kinds = [kind for about, kind in heard if about == key]
        assert kinds == ["failure", "recovery"] * (len(kinds) // 2) + ["failure"] * (len(kinds) % 2)
    assert set(remembered(state / "told-run.json").problems) == {KEYS[0]}
