"""The command line of Compose 2 when it is spelled `docker-compose`: cmd/compatibility/convert.go. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbguard import argv
from dbguard.argv import Invocation, Unparsable

_SWITCHES = {"--debug", "-D", "--verbose", "--tls", "--tlsverify"}
_VALUES = ("--tlscacert", "--tlscert", "--tlskey", "--host", "-H", "--context", "--log-level")
_SPELLINGS = {"--verbose": "--debug", "-h": "--help", "--version": "version", "-v": "version"}
_COMPLETIONS = {"__complete", "__completeNoDesc"}


def parse(args: Sequence[str]) -> Invocation | Unparsable:
    """What the words after `docker-compose` mean to Compose 2."""
    engine, (name, *rest) = converted(args)
    if name in _COMPLETIONS:
        return Invocation(program=("docker-compose",))
    understood = argv.parse(rest[1:] if rest[:1] == ["compose"] else rest)
    if isinstance(understood, Unparsable):
        return understood
    return replace(understood, program=("docker-compose", *engine), engine=tuple(engine))


def converted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """As the plugin gets them: docker's own flags, and what follows, from `compose` on (convert.go)."""
    flags: list[str] = []
    command = ["compose"]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _COMPLETIONS:
            command.insert(0, word)
        elif word and not word.startswith("-"):
            return flags, [*command, word, *rest]
        elif (spelled := _SPELLINGS.get(word, word)) in _SWITCHES:
            flags.append(spelled)
        elif word in _VALUES:
            flags += [word, *rest[:1]]
            rest = rest[1:]
        elif "=" in word and (flag := next((flag for flag in _VALUES if word.startswith(flag)), None)):
            flags += [flag, word.partition("=")[2]]
        else:
            command.append(spelled)
    return flags, command
