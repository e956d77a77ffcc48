"""When is the next run. The only module that imports croniter."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import durationpy
from croniter import CroniterBadDateError, croniter

from dbguard.errors import ConfigError

_UTC = ZoneInfo("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]  # 0 and 7 are Sunday
_FIELDS: list[tuple[int, int, list[str]]] = [(0, 59, []), (0, 23, []), (1, 31, []), (1, 12, _MONTHS), (0, 7, _WEEKDAYS)]
_TERM = re.compile(r"(?:\*|(\w+)-(\w+))(?:/(\d+))?|(\w+)", re.ASCII)
"""`*`, a range, either with a step, or one value."""
_EVERY = re.compile(r"every\s+((?:\d+(?:\.\d+)?[wdhms])+)", re.ASCII)
_HINT = 'for instance "30 3 * * *", "@daily" or "every 6h"'


class Schedule:
    """Five cron fields as crontab(5) has them, one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
    `@yearly`, `@annually`, or `every 6h`. Raises ConfigError for what cannot be read or never comes.

    Cron fields mean the clock on the wall of `zone`, by the rules of Debian's cron(8): a job at fixed times comes
    once on every day that has it, just after the gap when the time is skipped in spring, and the first time only when
    it is repeated in autumn. A job whose minute or hour field begins with `*` comes whenever the clock shows its time.
    A day must match both day fields when one of them begins with `*`, else either of them.

    `every` takes 1 minute to 366 days, as Compose writes durations, and is a grid counted from 1970-01-01 00:00 UTC
    whatever the zone: `every 6h` is 00:00, 06:00, 12:00 and 18:00 UTC, so it never drifts and survives restarts.
    """

    def __init__(self, text: str, zone: ZoneInfo = _UTC) -> None:
        self.text = text
        self.zone = zone
        lowered = text.strip().lower()
        self._every = _grid(text, lowered) if re.match(r"every\b", lowered) else None
        if self._every is None:
            self._read(_NAMED.get(lowered, lowered).split())
            self.after(_EPOCH)

    def _read(self, fields: list[str]) -> None:
        if len(fields) != len(_FIELDS):
            raise ConfigError(f"schedule {self.text!r}: a schedule has five fields", hint=_HINT)
        try:
            minute, hour, day, month, weekday = map(_numbers, fields, range(len(_FIELDS)))
        except ValueError as error:
            raise ConfigError(f"schedule {self.text!r} is not valid", hint=_HINT) from error
        self._by_the_clock = any(field.startswith("*") for field in fields[:2])
        both = any(field.startswith("*") for field in (fields[2], fields[4]))
        days = [(day, weekday)] if both else [(day, "*"), ("*", weekday)]
        self._lines = [f"{minute} {hour} {one} {month} {other}" for one, other in days]

    def after(self, moment: datetime) -> datetime:
        """The first run strictly after `moment`, which is aware; in UTC."""
        moment = moment.astimezone(UTC)
        if self._every is not None:
            return _EPOCH + ((moment - _EPOCH) // self._every + 1) * self._every
        shown = self._shown(moment)
        # What a clock that is put back within a day will show again is still ahead; a clock put forward hides nothing.
        again = max(timedelta(0), _DAY - (self._shown(moment + _DAY) - shown))
        ahead: list[datetime] = []
        for time in heapq.merge(*(_times(line, shown - again) for line in self._lines)):
            ahead += [run for run in self._runs(time) if run > moment]
            if ahead and time > shown:
                return min(ahead)
        raise ConfigError(f"schedule {self.text!r} never comes")

    def _shown(self, moment: datetime) -> datetime:
        """What the clock on the wall shows, without a zone."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _runs(self, time: datetime) -> list[datetime]:
        """When the job of a time on the wall runs: for fixed times once, else as often as the clock shows it."""
        if self._by_the_clock:
            return [moment for moment in self._moments(time) if self._shown(moment) == time]
        while self._shown(self._moments(time)[0]) != time:
            time += _MINUTE
        return self._moments(time)[:1]

    def _moments(self, time: datetime) -> list[datetime]:
        return [time.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)]


def _times(line: str, time: datetime) -> Iterator[datetime]:
    """What matches after `time`. Without a zone, since croniter runs `30 2 * * *` twice when the clock is put back."""
    cron = croniter(line, time, datetime, day_or=False)
    try:
        while True:
            yield cron.get_next()
    except CroniterBadDateError:  # none within 50 years, and the calendar has no longer gap
        return


def _numbers(field: str, index: int) -> str:
    """A field as a plain list, since croniter reads more than cron does, and some of it in its own way: `fri-sun`,
    `L`, `W`, `#`, `?`, `R`, `H`. Raises ValueError."""
    return ",".join(map(str, sorted({value for term in field.split(",") for value in _values(term, index)})))


def _values(term: str, index: int) -> range:
    match = _TERM.fullmatch(term)
    if match is None:
        raise ValueError(term)
    lowest, highest, _ = _FIELDS[index]
    first, last, step, one = match.groups()
    start, stop = _number(one or first or str(lowest), index), _number(one or last or str(highest), index)
    if stop < start or (step and stop == start):  # cronsim reads 5-5/2 as 5-59/2, cron as 5
        raise ValueError(term)
    return range(start, stop + 1, int(step or 1))


def _number(word: str, index: int) -> int:
    lowest, highest, names = _FIELDS[index]
    value = int(word) if word.isdigit() else names.index(word) + lowest
    if not lowest <= value <= highest:
        raise ValueError(word)
    return value


def _grid(text: str, lowered: str) -> timedelta:
    match = _EVERY.fullmatch(lowered)
    try:
        every: timedelta = durationpy.from_str(match[1]) if match else timedelta(0)
    except durationpy.DurationError as error:
        raise ConfigError(f"schedule {text!r} is not valid", hint=_HINT) from error
    if not _MINUTE <= every <= 366 * _DAY:
        raise ConfigError(f"schedule {text!r}: every takes 1m to 366d", hint='for instance "every 6h" or "every 1h30m"')
    return every
