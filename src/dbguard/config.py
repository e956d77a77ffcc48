"""Settings, weakest to strongest: built-in defaults, `dbguard.toml`, environment `DBGUARD_*`, flags."""

from __future__ import annotations

import os
import pickle
import tomllib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import pydantic
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from pydantic_settings import TomlConfigSettingsSource as TomlSource

from dbguard.errors import ConfigError
from dbguard.model import Login
from dbguard.sections import (
    BucketSection,
    Duration,
    GuardSection,
    Listed,
    Rules,
    ScheduleText,
    StorageSection,
    TargetSection,
    Urls,
    VerifySection,
    Zone,
    secret,
)
from dbguard.state import default_state, home
from dbguard.storages.options import BucketOptions

_FILE = "dbguard.toml"
_OTHER_VARIABLES = {
    "DBGUARD_CONFIG", "DBGUARD_DEBUG", "DBGUARD_ANSWERING", "DBGUARD_ASKED_FOR", "DBGUARD_ALLOW", "DBGUARD_THROUGH",
}  # fmt: skip
_SYSTEM_FILE = Path("/etc/dbguard/dbguard.toml")


class Settings(BaseSettings, Rules):
    """Everything that can be set. Names here are the keys of `dbguard.toml`; DBGUARD_<KEY> in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="DBGUARD_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )
    toml_file: ClassVar[Path | None] = None

    storage: Listed = ()
    storages: dict[str, StorageSection] = {}
    s3: BucketSection = BucketSection()
    recipients: Listed = ()
    recipients_file: Path | None = None
    identity_file: Path | None = None
    scope: Literal["project", "all"] = "project"
    compression: Literal["auto", "container", "client"] = "auto"
    level: int = pydantic.Field(default=1, ge=1, le=19)
    nice: int = pydantic.Field(default=10, ge=0, le=19)
    block_ddl: Literal["auto", "always", "never"] = "auto"
    gate: Literal["auto", "gentle", "never"] = "auto"
    counts: bool = True
    checksums: bool = False
    count_limit: Duration = pydantic.Field(default=timedelta(minutes=10), gt=timedelta(0))
    stall: Duration = pydantic.Field(default=timedelta(minutes=30), gt=timedelta(0))
    user: str | None = None
    password: pydantic.SecretStr | None = None
    password_file: Path | None = None
    targets: dict[str, TargetSection] = {}
    timezone: Zone = ZoneInfo("UTC")
    guard: GuardSection = GuardSection()
    verify: VerifySection = VerifySection()
    schedule: ScheduleText = "@daily"
    jitter: Duration = timedelta(0)
    retries: int = pydantic.Field(default=3, ge=0)
    retry_wait: Duration = pydantic.Field(default=timedelta(minutes=1), gt=timedelta(0))
    max_duration: Duration = pydantic.Field(default=timedelta(hours=24), gt=timedelta(0))
    max_age: Duration | None = None
    load_sessions: int | None = pydantic.Field(default=None, ge=1, le=64)
    parallel: int = pydantic.Field(default=2, ge=1)
    notify: Urls = ()
    notify_file: Path | None = None
    remind: Duration = timedelta(hours=24)
    ping: pydantic.SecretStr | None = None
    listen: str | None = pydantic.Field(default=None, pattern=r"^[^\s:]*:\d+$")
    metrics_file: Path | None = None
    log: Literal["auto", "json", "text"] = "auto"
    state: Path = pydantic.Field(default_factory=default_state)

    @pydantic.field_validator("targets")
    @classmethod
    def _full_names(cls, targets: dict[str, TargetSection]) -> dict[str, TargetSection]:
        if short := [name for name in targets if "/" not in name]:
            raise ValueError(f"{short[0]!r} is no target: write project/service")
        return targets

    @pydantic.field_validator("storage")
    @classmethod
    def _storages_by_url(cls, storage: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_url, storage))

    @pydantic.field_validator("storages")
    @classmethod
    def _sections_by_url(cls, storages: dict[str, StorageSection]) -> dict[str, StorageSection]:
        return {_url(place): section for place, section in storages.items()}

    @pydantic.model_validator(mode="after")
    def _used(self) -> Settings:
        """A section for a storage that is not used would be ignored in silence."""
        if unused := [url for url in self.storages if url not in self.storage_urls]:
            raise ValueError(f"storages.{unused[0]!r} is none of the storages: {', '.join(self.storage_urls)}")
        return self

    def login(self, target: str) -> Login | None:
        """The login configured for this target, or None: then the container's own environment is used."""
        everywhere = TargetSection(user=self.user, password=self.password, password_file=self.password_file)
        return self.targets.get(target, everywhere).login() or everywhere.login()

    @property
    def storage_urls(self) -> Sequence[str]:
        """Where archives go, each place once, nearest first: a folder before a bucket."""
        urls = self.storage or (home("XDG_DATA_HOME", ".local/share").as_uri(),)
        return sorted(dict.fromkeys(urls), key=lambda url: url.startswith("s3:"))

    def bucket_options(self, url: str) -> BucketOptions:
        """For this storage: its own section, above `s3`. Raises ConfigError."""
        own = self.storages.get(url, StorageSection())
        options: dict[str, Any] = self.s3.options() | own.options()
        return BucketOptions(**options)

    @property
    def notify_urls(self) -> Sequence[str]:
        """Where messages go, the file read now. Raises ConfigError."""
        urls = secret("notify", None, self.notify_file) or ""
        return [*(url.get_secret_value() for url in self.notify), *urls.split()]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = (TomlSource(settings_cls, toml_file=cls.toml_file),) if cls.toml_file else ()
        return (init_settings, env_settings, *file)


def load(file: Path | None = None, **flags: Any) -> Settings:  # noqa: ANN401 — any setting's type
    """Settings from all their sources; `flags` that are None are not set. Raises ConfigError."""
    path = file or _found(Path.cwd())
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: not found")

    _check_variables()

    class Here(Settings):
        toml_file = path

    try:
        return Here(**{key: value for key, value in flags.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, SettingsError) as error:
        raise ConfigError(f"{path or 'environment'}: {error}") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        where = _variable(str(first["loc"][0])) if first["loc"] else None  # without a key it is about several
        words = [str(where or path or "environment"), key, problem]
        raise ConfigError(": ".join(filter(None, words)), hint="`dbguard config schema` lists every key") from None


def packed(settings: Settings) -> bytes:
    """For another process of ours, through a pipe: secrets are in it as they are."""
    return pickle.dumps({key: getattr(settings, key) for key in Settings.model_fields})


def unpacked(data: bytes) -> Settings:
    """Only for what our own parent has packed."""
    return Settings.model_construct(**pickle.loads(data))  # noqa: S301


def _check_variables() -> None:
    """A misspelt variable would be ignored in silence."""
    keys = {f"DBGUARD_{key.upper()}" for key in Settings.model_fields} | _OTHER_VARIABLES
    for name in os.environ:
        if name.startswith("DBGUARD_") and not name.startswith("DBGUARD_TEST_") and name.split("__")[0] not in keys:
            raise ConfigError(f"environment: {name}: unknown key", hint="`dbguard config schema` lists every key")


def _variable(key: str) -> str | None:
    """The environment variable that sets this key, for it wins over the file."""
    name = f"DBGUARD_{key.upper()}"
    return next((one for one in os.environ if one == name or one.startswith(f"{name}__")), None)


def _found(folder: Path) -> Path | None:
    """`dbguard.toml` here or further up, else the system's."""
    if named := os.environ.get("DBGUARD_CONFIG"):
        return Path(named)
    candidates = [place / _FILE for place in (folder, *folder.parents)]
    return next((path for path in [*candidates, _SYSTEM_FILE] if path.is_file()), None)


def _url(place: str) -> str:
    """Of a storage: a folder may be given by its path, and is meant by its URL too."""
    return place if ":" in place.partition("/")[0] else Path(place).absolute().as_uri()
