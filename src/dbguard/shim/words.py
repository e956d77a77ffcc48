"""What a shim was given, as words of `docker compose` and as the engine they are meant for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dbguard import pflag
from dbguard.pflag import Flags, UnknownFlag, WrongFlag

_DOCKER = Flags.of(
    "config context/c log-level/l host/H tlscacert tlscert tlskey", "debug/D tls tlsverify version/v help/h"
)
"""The flags before the subcommand: cli/flags/options.go of docker/cli."""
_SWITCHES = {"--debug", "-D", "--verbose", "--tls", "--tlsverify"}
_VALUES = ("--tlscacert", "--tlscert", "--tlskey", "--host", "-H", "--context", "--log-level")
_SPELLINGS = {"--verbose": "--debug", "-h": "--help", "--version": "version", "-v": "version"}
_COMPLETIONS = {"__complete", "__completeNoDesc"}
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
        assigned, rest = pflag.parse(_DOCKER, words, interspersed=False)
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
    return of_plugin(_converted(words))


def _converted(words: Sequence[str]) -> list[str]:
    """cmd/compatibility/convert.go of docker/compose."""
    flags: list[str] = []
    command = ["compose"]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _COMPLETIONS:
            command.insert(0, word)
        elif word and not word.startswith("-"):
            return [*flags, *command, word, *rest]
        elif (spelled := _SPELLINGS.get(word, word)) in _SWITCHES:
            flags.append(spelled)
        elif word in _VALUES:
            flags += [word, *rest[:1]]
            rest = rest[1:]
        elif "=" in word and (flag := next((flag for flag in _VALUES if word.startswith(flag)), None)):
            flags += [flag, word.partition("=")[2]]
        else:
            command.append(spelled)
    return [*flags, *command]
