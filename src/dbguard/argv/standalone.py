"""The command line of Compose 2 when it is spelled `docker-compose`. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from dbguard import argv
from dbguard.argv import Invocation, Unparsable

_SWITCHES = {"--debug", "-D", "--tls", "--tlsverify"}
_VALUES = {"--tlscacert", "--tlscert", "--tlskey", "--host", "-H", "--context", "--log-level"}
_RENAMED = {"--verbose": "--debug", "-h": "--help", "--version": "version", "-v": "version"}


def parse(args: Sequence[str]) -> Invocation | Unparsable:
    """What the words after `docker-compose` mean to Compose 2 (cmd/compatibility/convert.go)."""
    engine: list[str] = []
    words: list[str] = []
    rest = deque(args)
    while rest:
        word = rest.popleft()
        if word.startswith("__complete"):
            return Invocation(program=("docker-compose",))
        if not word.startswith("-"):
            words += rest if word == "compose" else (word, *rest)
            break
        word = _RENAMED.get(word, word)
        if word in _SWITCHES or (word.partition("=")[0] in _VALUES and "=" in word):
            engine.append(word)
        elif word in _VALUES:
            engine += [word, rest.popleft() if rest else ""]
        else:
            words.append(word)
    understood = argv.parse(words)
    if isinstance(understood, Unparsable):
        return understood
    return replace(understood, program=("docker-compose", *engine), engine=tuple(engine))
