"""What is worth a message: a problem that is new, one that is over, and now and then those that last. Pure.

Problems go by a key, the target and the kind of problem, such as `shop/db failed`. Their texts may change with every
look, for they hold ages and sizes; a changed text is no news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from dbguard.health import Health

_PREFIX = "dbguard:"
_MOST_NAMES = 3
_MOST_LINES = 20
_LONGEST = 300
"""Characters of one line: some channels split what is longer into several messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    kind: Literal["failure", "recovery", "reminder", "warning", "test"]
    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told about one key. Times are aware."""

    text: str
    since: datetime  # when the problem was first told
    at: datetime  # when it was last told


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """`states[n]` is what has been told once the first n messages have arrived."""

    messages: tuple[Message, ...]
    states: tuple[Mapping[str, Told], ...]

    @property
    def told(self) -> Mapping[str, Told]:
        """Once all of them have arrived."""
        return self.states[-1]


def keyed(health: Health) -> dict[str, str]:
    """Every problem by its key."""
    own = {f"{one.target} {problem}": text for one in health.targets for problem, text in one.problems.items()}
    return own | dict(health.problems)


def news(problems: Mapping[str, str], told: Mapping[str, Told], *, now: datetime, remind: timedelta) -> News:
    """What to say about these problems to somebody who was told `told`. A `remind` of zero: never again.

    Where the clock has gone back, what was told counts as told now: nothing is said for that, and a reminder is at
    most `remind` away.
    """
    known = _mended(told, now)
    fresh = {key: Told(text=text, since=now, at=now) for key, text in problems.items() if key not in known}
    over = {key: one for key, one in known.items() if key not in problems}
    lasting = {key: replace(one, text=problems[key], at=now) for key, one in known.items() if key in problems}
    messages: list[Message] = []
    states: list[Mapping[str, Told]] = [known]
    if fresh:
        messages.append(_failure(fresh))
        states.append({**states[-1], **fresh})
    if over:
        messages.append(_recovery(over))
        states.append({key: one for key, one in states[-1].items() if key not in over})
    if any(_due(known[key], now, remind) for key in lasting):
        messages.append(_reminder(lasting))
        states.append({**states[-1], **lasting})
    return News(messages=tuple(messages), states=tuple(states))


def warned(key: str, text: str, told: Mapping[str, Told], *, now: datetime, remind: timedelta) -> News:
    """A warning about something that happens rather than lasts: no recovery follows. Forgets those long past."""
    recent = {one: what for one, what in _mended(told, now).items() if not _due(what, now, remind)}
    if key in recent:
        return News(messages=(), states=(recent,))
    message = Message(kind="warning", title=_title("", [key]), body=_line(text))
    return News(messages=(message,), states=(recent, {**recent, key: Told(text=text, since=now, at=now)}))


def _mended(told: Mapping[str, Told], now: datetime) -> dict[str, Told]:
    """Nothing was told later than now, whatever the clock said then."""
    return {key: replace(one, since=min(one.since, now), at=min(one.at, now)) for key, one in told.items()}


def _due(told: Told, now: datetime, remind: timedelta) -> bool:
    return remind > timedelta(0) and now - told.at >= remind


def _failure(fresh: Mapping[str, Told]) -> Message:
    lines = [f"{key}: {one.text}" for key, one in fresh.items()]
    return Message(kind="failure", title=_title("", fresh), body=_body(lines))


def _recovery(over: Mapping[str, Told]) -> Message:
    lines = [f"{key}: no longer. It was so since {_time(one.since)}" for key, one in over.items()]
    return Message(kind="recovery", title=_title("over: ", over), body=_body(lines))


def _reminder(lasting: Mapping[str, Told]) -> Message:
    lines = [f"{key}: since {_time(one.since)}: {one.text}" for key, one in lasting.items()]
    return Message(kind="reminder", title=_title("still: ", lasting), body=_body(lines))


def _title(what: str, keys: Iterable[str]) -> str:
    """Names each target once, with all that is wrong with it: `shop/db failed and stale`."""
    kinds: dict[str, list[str]] = {}
    for key in keys:
        target, _, kind = key.partition(" ")
        kinds.setdefault(target, []).append(kind)
    names = [f"{target} {' and '.join(found)}".strip() for target, found in kinds.items()]
    return _line(f"{_PREFIX} {what}{', '.join(_few(names, _MOST_NAMES))}")


def _body(lines: list[str]) -> str:
    return "\n".join(_few([_line(line) for line in lines], _MOST_LINES))


def _few(words: list[str], most: int) -> list[str]:
    return words if len(words) <= most else [*words[:most], f"and {len(words) - most} more"]


def _line(text: str) -> str:
    """Names can hold anything, line breaks included."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
