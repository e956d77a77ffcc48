"""Tells what is new, and remembers what was told in the state folder, so that a restart repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from dbguard.errors import ConfigError
from dbguard.news import Message, News, Told, news, warned
from dbguard.state import replaced

_PAUSE = timedelta(minutes=5)
"""Before anything is tried again, when no channel at all took a message."""
_DAY = timedelta(hours=24)


class Tells(Protocol):
    """See notify.Channels."""

    @property
    def names(self) -> Sequence[str]: ...

    def tell(self, message: Message, /) -> Mapping[str, str]: ...


class Teller:
    """Tells through `channels`; without any it says nothing and remembers nothing.

    `name` is that of the process, `run` or `guard`: each has a memory of its own. What no channel took counts as not
    told. Both methods return what went wrong, a line each, for the log.
    """

    def __init__(self, channels: Tells | None, state: Path, name: str, remind: timedelta) -> None:
        self._channels = channels
        self._file = state / f"told-{name}.json"
        self._remind = remind
        self._memory: Memory | None = None
        self._failed: datetime | None = None

    def look(self, problems: Mapping[str, str], now: datetime) -> list[str]:
        """`problems` are all there are now: what is missing among them is over."""
        channels = self._ready(now)
        if channels is None:
            return []
        memory = self._read()
        found = news(problems, memory.problems, now=now, remind=self._remind)
        told, wrong = self._told(channels, found, now)
        return wrong + self._keep(replace(memory, problems=told))

    def once(self, key: str, text: str, now: datetime) -> list[str]:
        """Of what happens rather than lasts: told at most once within the time between reminders, or within a day."""
        channels = self._ready(now)
        if channels is None:
            return []
        memory = self._read()
        found = warned(key, text, memory.warnings, now=now, remind=self._remind or _DAY)
        told, wrong = self._told(channels, found, now)
        return wrong + self._keep(replace(memory, warnings=told))

    def _ready(self, now: datetime) -> Tells | None:
        """None: there is nobody to tell, or nobody heard it a moment ago."""
        if self._channels is None or not self._channels.names:
            return None
        paused = self._failed is not None and timedelta(0) <= now - self._failed < _PAUSE
        return None if paused else self._channels

    def _told(self, channels: Tells, found: News, now: datetime) -> tuple[Mapping[str, Told], list[str]]:
        """How far it came, and what went wrong. Where nobody hears one message, the next is not tried."""
        wrong: list[str] = []
        for at, message in enumerate(found.messages):
            failed = channels.tell(message)
            wrong += [f"not told through {channel}: {message.title!r}: {why}" for channel, why in failed.items()]
            if len(failed) == len(channels.names):
                self._failed = now
                return found.states[at], wrong
        return found.told, wrong

    def _read(self) -> Memory:
        """From the file at first: later looks must not repeat what a full disk has lost."""
        if self._memory is None:
            self._memory = remembered(self._file)
        return self._memory

    def _keep(self, memory: Memory) -> list[str]:
        if memory == self._memory:
            return []
        self._memory = memory
        try:
            replaced(self._file, _written(memory))
        except ConfigError as error:
            return [f"what was told could not be kept, and may be told again: {error}"]
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    problems: Mapping[str, Told] = field(default_factory=dict)
    warnings: Mapping[str, Told] = field(default_factory=dict)


def remembered(file: Path) -> Memory:
    """A file that cannot be read is no memory: to be told twice is better than not to be told."""
    try:
        found = json.loads(file.read_bytes())
        return Memory(problems=_parsed(found["problems"]), warnings=_parsed(found["warnings"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def _parsed(found: dict[str, Any]) -> dict[str, Told]:
    return {
        key: Told(text=str(one["text"]), since=_aware(one["since"]), at=_aware(one["at"])) for key, one in found.items()
    }


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment


def _written(memory: Memory) -> bytes:
    return json.dumps({"problems": _plain(memory.problems), "warnings": _plain(memory.warnings)}).encode()


def _plain(told: Mapping[str, Told]) -> dict[str, dict[str, str]]:
    return {
        key: {"text": one.text, "since": one.since.isoformat(), "at": one.at.isoformat()} for key, one in told.items()
    }
