"""What holds for one target: the labels of its container, above its own section, above what is set for all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import pydantic

from dbguard.archive import Stored
from dbguard.config import Settings
from dbguard.errors import ConfigError
from dbguard.model import TargetName
from dbguard.retention import Policy
from dbguard.schedule import Schedule
from dbguard.sections import LabelSection, TargetSection

_PREFIX = "dbguard."
_NO_SETTINGS = {"dbguard.name", "dbguard.role", "dbguard.target", "dbguard.ephemeral"}
"""Labels of ours that are read elsewhere."""
_LATE = timedelta(hours=2)
"""How long after its time a backup may be ready before the newest one counts as too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """When one target is backed up, how old its newest backup may be, and what is kept of it."""

    enabled: bool
    schedule: Schedule
    jitter: timedelta
    max_duration: timedelta
    verification: Schedule | None  # where archives are verified at times of their own
    ping: pydantic.SecretStr | None
    _max_age: timedelta | None
    _own: Policy | None
    _places: Mapping[str, Policy | None]
    _otherwise: Policy

    def policy(self, url: str) -> Policy:
        """The rules in one storage: the target's own, else the storage's, else those for all.

        A set of rules counts whole: nothing of the weaker ones is mixed in.
        """
        return self._own or self._places.get(url) or self._otherwise

    @property
    def zone(self) -> ZoneInfo:
        """Where the target's days begin."""
        return self.schedule.zone

    def due(self, name: TargetName, last: datetime) -> datetime:
        """When the next backup after `last` is to begin. The jitter is the same for each run of a target."""
        share = int.from_bytes(sha256(str(name).encode()).digest()[:4]) / (1 << 32)
        return self.schedule.after(last) + share * self.jitter

    def max_age(self, last: datetime) -> timedelta:
        """How old a backup of then may become. Where nothing is set: until two hours after the next one is due."""
        if self._max_age is not None:
            return self._max_age
        return self.schedule.after(last) + self.jitter + _LATE - last


def habits(settings: Settings, target: str, labels: Mapping[str, str]) -> Habits:
    """Raises ConfigError, which names the label."""
    label, section = _labelled(labels), settings.targets.get(target, TargetSection())
    found: dict[str, Any] = {}
    for source in (settings, section, label):
        keys = type(source).model_fields
        found |= {key: getattr(source, key) for key in keys if getattr(source, key) is not None}
    return Habits(
        enabled=found.get("enable", True),
        schedule=Schedule(found["schedule"], found["timezone"]),
        jitter=found["jitter"],
        max_duration=found["max_duration"],
        verification=Schedule(settings.verify.schedule, found["timezone"]) if settings.verify.schedule else None,
        ping=found.get("ping"),
        _max_age=found.get("max_age"),
        _own=label.policy_set or section.policy_set,
        _places={url: place.policy_set for url, place in settings.storages.items()},
        _otherwise=settings.policy_set or Policy(),
    )


def remembered(settings: Settings, name: TargetName, archives: Sequence[Stored]) -> Habits:
    """With the labels that its container had at its newest archive: to remove by weaker rules because the container
    is gone would be to lose data."""
    newest = max(archives, key=lambda one: one.id, default=None)
    return habits(settings, str(name), newest.summary.labels if newest is not None else {})


def settings_among(labels: Mapping[str, str]) -> dict[str, str]:
    """Those labels that are settings: an archive's manifest keeps them, as its container will be gone one day."""
    return {name: value for name, value in labels.items() if name.startswith(_PREFIX) and name not in _NO_SETTINGS}


def _labelled(labels: Mapping[str, str]) -> LabelSection:
    """`dbguard.keep-daily` is the key `keep_daily`."""
    given = settings_among(labels)
    try:
        return LabelSection.model_validate(
            {name.removeprefix(_PREFIX).replace("-", "_"): value for name, value in given.items()}
        )
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        label = _PREFIX + str(first["loc"][0]).replace("_", "-")
        problem = "unknown label" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"label {label}: {problem}", hint="README.md lists the labels") from None
