"""When is the next run. The only module that imports croniter."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from croniter import CroniterError, croniter

from dbguard.errors import ConfigError

_FIELDS = 5
_RANDOM = re.compile(r"\b[RH]\b", re.IGNORECASE)
"""croniter's own letters for a random and a hashed time: another one at each look."""


class Schedule:
    """A cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`; in UTC."""

    def __init__(self, text: str) -> None:
        if not text.startswith("@") and len(text.split()) != _FIELDS:
            raise ConfigError(f"schedule {text!r}: a schedule has five fields", hint='for instance "30 3 * * *"')
        if _RANDOM.search(text) or not croniter.is_valid(text, strict=True):
            raise ConfigError(f"schedule {text!r} is not valid", hint='for instance "30 3 * * *" or "@daily"')
        self.text = text
        self.after(datetime.now(UTC))

    def after(self, moment: datetime) -> datetime:
        """The first run after `moment`. Raises ConfigError when there is none, such as on 31 February."""
        try:
            following: datetime = croniter(self.text, moment.astimezone(UTC)).get_next(datetime)
        except CroniterError as error:
            raise ConfigError(f"schedule {self.text!r} never comes") from error
        return following
