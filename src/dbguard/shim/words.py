"""What a shim was given, as words of `docker compose` and as the engine they are meant for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dbguard import pflag
from dbguard.argv.engine import GLOBAL
from dbguard.argv.standalone import converted
from dbguard.pflag import UnknownFlag, WrongFlag

_NAMED_BY = {"host": "DOCKER_HOST", "context": "DOCKER_CONTEXT", "config": "DOCKER_CONFIG"}
_EXCLUDES = {"DOCKER_HOST": "DOCKER_CONTEXT", "DOCKER_CONTEXT": "DOCKER_HOST"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`docker compose ARGS`, for the engine that these variables name; without a value they must not be set."""

    args: tuple[str, ...]
    variables: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nobody can tell which engine is meant. `readings` are all that may be asked of Compose there."""

    reason: str
    readings: tuple[tuple[str, ...], ...]


def of_plugin(words: Sequence[str]) -> Call | Unclear | None:
    """Docker hands the plugin everything it was given, its own flags before `compose` included.

    They are read as docker does to find the plugin's name (HandleGlobalFlags of docker/cli). None for what is no
    command of Compose: completion, and what the plugin is asked about itself.
    """
    try:
        assigned, rest = pflag.parse(GLOBAL, words, interspersed=False)
    except (UnknownFlag, WrongFlag) as error:
        return _unclear(str(error), words)
    if rest[:1] != ["compose"]:
        asked = not rest or rest[0].startswith(("docker-cli-plugin-", "__complete"))
        return None if asked else _unclear(f"{rest[0]} is not the plugin's name", words)
    given = dict(assigned)
    if certain := [name for name in given if name.startswith("tls")]:
        return _unclear(f"--{certain[0]} is not followed: set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH", words)
    variables: dict[str, str | None] = {}
    for name, variable in _NAMED_BY.items():
        if name in given:
            variables |= {variable: given[name]} | ({_EXCLUDES[variable]: None} if variable in _EXCLUDES else {})
    return Call(args=tuple(rest[1:]), variables=variables)


def _unclear(reason: str, words: Sequence[str]) -> Unclear:
    """What follows the word `compose`, wherever that stands."""
    readings = tuple(tuple(words[at + 1 :]) for at, word in enumerate(words) if word == "compose")
    return Unclear(reason=reason, readings=readings)


def of_standalone(words: Sequence[str]) -> Call | Unclear | None:
    """`docker-compose` of version 2 first writes its words anew, as the plugin gets them."""
    return of_plugin([word for part in converted(words) for word in part])
