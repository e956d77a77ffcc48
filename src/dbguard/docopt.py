"""How docopt 0.6.2 reads options, for usages of the form `[options] [--] [ARGUMENT…]`. Pure.

Compose v1 reads its command line with it: any unique prefix of a long option is that option.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

Given = list[tuple[str, str]]
"""Options with their values, in the order given; without a value, it is empty."""


class UsageWrong(Exception):
    """The program prints its usage and does nothing."""


class HelpWanted(Exception):
    """The program prints its help or version and does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one command: each by its long name, or its letter where it has no other."""

    takes_value: dict[str, bool]
    letters: dict[str, str]
    repeatable: frozenset[str]
    arguments: bool  # it takes words that are no options
    dashes: bool  # `[--]` is in its usage; else `--` is a word like any other

    @classmethod
    def of(
        cls, values: str, switches: str, *, repeatable: str = "", arguments: bool = True, dashes: bool = True
    ) -> Options:
        """From words such as `timeout/t`, or `/v` for one that has a letter only."""
        takes_value: dict[str, bool] = {}
        letters: dict[str, str] = {}
        for words, valued in ((values, True), (switches, False)):
            for word in words.split():
                name, _, letter = word.partition("/")
                takes_value[name or letter] = valued
                if letter:
                    letters[letter] = name or letter
        return cls(
            takes_value=takes_value,
            letters=letters,
            repeatable=frozenset(repeatable.split()),
            arguments=arguments,
            dashes=dashes,
        )


def parse(options: Options, args: Sequence[str]) -> tuple[Given, list[str]]:
    """What was given, and the words from the first that is no option on (docopt.py, parse_argv with options_first).

    Raises UsageWrong or HelpWanted.
    """
    given: Given = []
    rest = deque(args)
    while rest and rest[0] != "--" and rest[0].startswith("-") and rest[0] != "-":
        word = rest.popleft()
        given += _long(options, word, rest) if word.startswith("--") else _shorts(options, word.lstrip("-"), rest)
    names = [name for name, _ in given]
    if {"help", "h", "version"} & set(names):
        raise HelpWanted
    words = list(rest)
    if options.dashes and words[:1] == ["--"]:
        words = words[1:]
    twice = {name for name in names if names.count(name) > 1} - options.repeatable
    if twice or set(names) - options.takes_value.keys() or (words and not options.arguments):
        raise UsageWrong
    return given, words


def _long(options: Options, word: str, rest: deque[str]) -> Given:
    spelling, equals, value = word[2:].partition("=")
    known = [name for name in options.takes_value if name not in options.letters or len(name) > 1]
    similar = [spelling] if spelling in known else [name for name in known if name.startswith(spelling)]
    if len(similar) > 1:
        raise UsageWrong
    if not similar:
        return [(spelling, value)]  # unknown: wrong, unless help is wanted too
    (name,) = similar
    if options.takes_value[name]:
        return [(name, value if equals else _next(rest))]
    if equals:
        raise UsageWrong
    return [(name, "")]


def _shorts(options: Options, cluster: str, rest: deque[str]) -> Given:
    given: Given = []
    while cluster:
        letter, cluster = cluster[0], cluster[1:]
        name = options.letters.get(letter, letter)
        value = ""
        if options.letters.get(letter) and options.takes_value[name]:
            value, cluster = cluster or _next(rest), ""
        given.append((name, value))
    return given


def _next(rest: deque[str]) -> str:
    if not rest:
        raise UsageWrong
    return rest.popleft()
