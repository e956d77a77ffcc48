"""Settings, weakest to strongest: built-in defaults, `dbguard.toml`, environment `DBGUARD_*`, flags."""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import durationpy
import pydantic
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from pydantic_settings import TomlConfigSettingsSource as TomlSource

from dbguard.errors import ConfigError
from dbguard.model import Login
from dbguard.retention import Policy

_FILE = "dbguard.toml"
_OTHER_VARIABLES = {"DBGUARD_CONFIG", "DBGUARD_DEBUG", "DBGUARD_ANSWERING"}
_SYSTEM_FILE = Path("/etc/dbguard/dbguard.toml")


def _duration(value: object) -> object:
    """`90s`, `15m`, `26h`, `7d`: the spelling Compose uses."""
    if isinstance(value, str):
        try:
            duration = durationpy.from_str(value)
        except durationpy.DurationError as error:
            raise ValueError(f"{value!r} is not a duration such as 15m, 26h or 7d") from error
        if duration < timedelta(0):
            raise ValueError(f"{value!r} is less than nothing")
        return duration
    return value


def _urls(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Duration = Annotated[timedelta, pydantic.BeforeValidator(_duration)]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Account(_Section):
    user: str | None = None
    password: pydantic.SecretStr | None = None
    password_file: Path | None = None

    def login(self) -> Login | None:
        """The configured login, its password read now. Raises ConfigError."""
        if self.user is None and self.password is None and self.password_file is None:
            return None
        return Login(user=self.user or "root", password=self._secret())

    def _secret(self) -> str:
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return ""
        try:
            return self.password_file.read_text().removesuffix("\n")
        except OSError as error:
            raise ConfigError(f"password_file {self.password_file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"password_file {self.password_file}: it is not UTF-8 text") from error


class Guard(_Section):
    recent: Duration = timedelta(minutes=15)
    """How old a complete backup may be for its volume to be deleted."""


class Settings(BaseSettings):
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

    storage: Annotated[tuple[str, ...], NoDecode, pydantic.BeforeValidator(_urls)] = ()
    scope: Literal["project", "all"] = "project"
    compression: Literal["auto", "container", "client"] = "auto"
    level: int = pydantic.Field(default=3, ge=1, le=19)
    stall: Duration = pydantic.Field(default=timedelta(minutes=30), gt=timedelta(0))
    user: str | None = None
    password: pydantic.SecretStr | None = None
    password_file: Path | None = None
    targets: dict[str, _Account] = {}
    guard: Guard = Guard()
    schedule: str = "@daily"
    keep_last: int | None = pydantic.Field(default=None, ge=1)
    state: Path = pydantic.Field(default_factory=lambda: _home("XDG_STATE_HOME", ".local/state"))

    @pydantic.field_validator("targets")
    @classmethod
    def _full_names(cls, targets: dict[str, _Account]) -> dict[str, _Account]:
        if short := [name for name in targets if "/" not in name]:
            raise ValueError(f"{short[0]!r} is no target: write project/service")
        return targets

    def login(self, target: str) -> Login | None:
        """The login configured for this target, or None: then the container's own environment is used."""
        everywhere = _Account(user=self.user, password=self.password, password_file=self.password_file)
        return self.targets.get(target, everywhere).login()

    @property
    def storage_url(self) -> str:
        """Where archives go."""
        if len(self.storage) > 1:
            raise ConfigError(f"storage: this version writes to one place, {len(self.storage)} are set")
        return self.storage[0] if self.storage else _home("XDG_DATA_HOME", ".local/share").as_uri()

    @property
    def policy(self) -> Policy:
        return Policy(keep_last=self.keep_last)

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
        where = _variable(str(first["loc"][0])) or path or "environment"
        raise ConfigError(f"{where}: {key}: {problem}", hint="`dbguard config schema` lists every key") from None


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


def _home(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "dbguard"
