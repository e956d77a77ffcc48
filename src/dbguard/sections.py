"""The sections of the configuration, and how their values are written."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import durationpy
import pydantic
from pydantic_settings import NoDecode

from dbguard.errors import ConfigError
from dbguard.model import Login
from dbguard.retention import Policy
from dbguard.schedule import Schedule
from dbguard.storages.options import Addressing, BucketOptions, Encryption

_LONGEST = timedelta(days=100 * 365)
"""Dates so far away can still be computed with."""


def duration(value: object) -> object:
    """`90s`, `15m`, `26h`, `7d`: the spelling Compose uses."""
    if isinstance(value, str):
        try:
            found: timedelta = durationpy.from_str(value)
        except durationpy.DurationError as error:
            raise ValueError(f"{value!r} is not a duration such as 15m, 26h or 7d") from error
        if found < timedelta(0):
            raise ValueError(f"{value!r} is less than nothing")
        if found > _LONGEST:
            raise ValueError(f"{value!r} is longer than {_LONGEST.days // 365} years")
        return found
    return value


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _zone(value: object) -> object:
    """A name of the IANA database."""
    if isinstance(value, str):
        try:
            return ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{value!r} is no time zone such as Europe/Berlin") from error
    return value


def _schedule(text: str) -> str:
    try:
        Schedule(text)
    except ConfigError as error:
        raise ValueError(f"{error}; {error.hint}") from error
    return text


def _urls(value: object) -> object:
    """Separated by spaces, line breaks or commas; a comma within one stays."""
    return (
        [url for url in re.split(r"[\s,]+(?=[A-Za-z][\w+.-]*://)", value.strip()) if url]
        if isinstance(value, str)
        else value
    )


Duration = Annotated[timedelta, pydantic.BeforeValidator(duration)]
Count = Annotated[int | None, pydantic.Field(ge=1)]
Zone = Annotated[
    ZoneInfo,
    pydantic.PlainValidator(_zone),
    pydantic.PlainSerializer(str),
    pydantic.WithJsonSchema({"type": "string", "description": "a name of the IANA time zone database"}),
]
Listed = Annotated[tuple[str, ...], NoDecode, pydantic.BeforeValidator(_listed)]
"""Several values; in the environment separated by commas."""
Urls = Annotated[tuple[pydantic.SecretStr, ...], NoDecode, pydantic.BeforeValidator(_urls)]
"""Secrets: most of them hold a token."""
ScheduleText = Annotated[str, pydantic.AfterValidator(_schedule)]
"""See schedule.Schedule."""


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Rules(pydantic.BaseModel):
    """Which archives to keep, as restic's rules of the same names mean it."""

    keep_last: Count = None
    keep_hourly: Count = None
    keep_daily: Count = None
    keep_weekly: Count = None
    keep_monthly: Count = None
    keep_yearly: Count = None
    keep_within: Duration | None = None

    @property
    def policy_set(self) -> Policy | None:
        """None when no rule is set here."""
        found = Policy(**{name: getattr(self, name) for name in Rules.model_fields})
        return found if found != Policy() else None


class Habits(pydantic.BaseModel):
    """What can be set for one target, in its section or by labels on its container."""

    enable: bool | None = None
    schedule: ScheduleText | None = None
    timezone: Zone | None = None
    jitter: Duration | None = None
    max_duration: Duration | None = None
    max_age: Duration | None = None


class LabelSection(Section, Habits, Rules):
    pass


class TargetSection(Section, Habits, Rules):
    user: str | None = None
    password: pydantic.SecretStr | None = None
    password_file: Path | None = None
    ping: pydantic.SecretStr | None = None

    def login(self) -> Login | None:
        """The configured login, its password read now. Raises ConfigError."""
        if self.user is None and self.password is None and self.password_file is None:
            return None
        return Login(user=self.user or "root", password=secret("password", self.password, self.password_file) or "")


class BucketSection(Section):
    """How to reach and use a bucket; see storages.options.BucketOptions."""

    endpoint_url: str | None = None
    region: str | None = None
    addressing: Addressing | None = None
    profile: str | None = None
    access_key_id: str | None = None
    access_key_id_file: Path | None = None
    secret_access_key: pydantic.SecretStr | None = None
    secret_access_key_file: Path | None = None
    sse: Encryption | None = None
    sse_kms_key_id: str | None = None
    storage_class: str | None = None
    checksums: Literal["auto", "always", "never"] | None = None
    ca_bundle: Path | None = None

    def options(self) -> dict[str, str]:
        """What is set, files of secrets read now. Raises ConfigError."""
        found = self.model_dump(exclude={name for name in BucketSection.model_fields if "access_key" in name})
        key = None if self.access_key_id is None else pydantic.SecretStr(self.access_key_id)
        found["access_key_id"] = secret("access_key_id", key, self.access_key_id_file)
        found["secret_access_key"] = secret("secret_access_key", self.secret_access_key, self.secret_access_key_file)
        return {name: str(value) for name, value in found.items() if name in _OPTIONS and value is not None}


_OPTIONS = set(BucketOptions.__dataclass_fields__)


class StorageSection(BucketSection, Rules):
    pass


def secret(name: str, value: pydantic.SecretStr | None, file: Path | None) -> str | None:
    """As it was set, or as the file holds it, without the line break that editors add."""
    if value is not None or file is None:
        return value.get_secret_value() if value is not None else None
    try:
        return file.read_text().removesuffix("\n")
    except OSError as error:
        raise ConfigError(f"{name}_file {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}_file {file}: it is not UTF-8 text") from error


class GuardSection(Section):
    """What it takes to let a volume be deleted."""

    require: Literal["exact", "recent", "complete"] = "exact"
    """A verified backup since which nothing was written; or that is young; or a young one, verified or not."""
    recent: Duration = timedelta(minutes=15)
    """What young is."""
    on_delete: Literal["refuse", "ask", "backup"] = "ask"
    """What to do where a backup is missing: nothing; on a terminal ask whether to take it first; take it."""
    others: Literal["allow", "databases", "refuse"] = "databases"
    """Which volumes are refused of those that cannot be backed up: none; other databases; all that are not empty."""
    ignore: Listed = ()
    """Volumes that may always go, by name."""
    anchor: bool = False
    """Whether the sidecar keeps an anchor on the volumes of each target."""


class QuerySection(Section):
    """A statement whose answer, the first column of its first row, says whether a restored database is good."""

    statement: str
    target: str | None = None
    equals: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    @pydantic.model_validator(mode="after")
    def _can_fail(self) -> QuerySection:
        if self.equals is None and self.at_least is None and self.at_most is None:
            raise ValueError("a check that cannot fail: give equals, at_least or at_most")
        return self


class VerifySection(Section):
    """The throw-away server, when there is one, and what it is asked."""

    when: Literal["after-backup", "schedule", "off"] = "after-backup"
    schedule: ScheduleText | None = None
    memory: pydantic.ByteSize = pydantic.ByteSize(1 << 30)
    time: Duration = pydantic.Field(default=timedelta(hours=4), gt=timedelta(0))
    options: Listed = ()
    query: tuple[QuerySection, ...] = ()

    @pydantic.model_validator(mode="after")
    def _timed(self) -> VerifySection:
        if self.when == "schedule" and self.schedule is None:
            raise ValueError('when = "schedule" needs a schedule, such as "30 5 * * *" or "every 24h"')
        if self.when != "schedule" and self.schedule is not None:
            raise ValueError(f'the schedule would never be looked at: when = "{self.when}"')
        return self
