"""How Go programs read their flags: spf13/pflag, and spf13/cobra's walk to the subcommand. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
"""What Go's strconv.ParseBool takes; it refuses everything else."""

Assigned = list[tuple[str, str]]
"""Names of flags with their values, in the order given. The last one wins."""


class WrongFlag(Exception):
    """The program refuses this, whatever its version."""


class UnknownFlag(Exception):
    """A flag that is not in the table: the program refuses it, or is newer than the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags of one command: `long` and `short` spellings to (name, whether it takes a value)."""

    long: Mapping[str, tuple[str, bool]]
    short: Mapping[str, tuple[str, bool]]

    @classmethod
    def of(cls, values: str, switches: str, **also: str) -> Flags:
        """From words such as `timeout/t`. `also` maps a further long spelling to the name it stands for."""
        long: dict[str, tuple[str, bool]] = {}
        short: dict[str, tuple[str, bool]] = {}
        for words, takes_value in ((values, True), (switches, False)):
            for word in words.split():
                name, _, letter = word.partition("/")
                long[name] = (name, takes_value)
                if letter:
                    short[letter] = long[name]
        return cls(long=long | {spelling: long[name] for spelling, name in also.items()}, short=short)


def subcommand(flags: Flags, args: Sequence[str]) -> tuple[int | None, bool]:
    """Where cobra sees the subcommand (command.go, Traverse), and whether a flag unknown to us was on the way.

    It looks at each word by itself: a flag it does not know, and `--`, are taken to swallow the next word.
    """
    swallow = guessed = False
    for at, word in enumerate(args):
        if word.startswith("--") and "=" not in word:
            swallow = flags.long.get(word[2:], ("", True))[1]
            guessed |= word != "--" and word[2:] not in flags.long
        elif len(word) == 2 and word[0] == "-" and flags.short.get(word[1], ("", True))[1]:
            guessed |= word[1] not in flags.short
            swallow = True
        elif swallow:
            swallow = False
        elif _is_word(word):
            return at, guessed
    return None, guessed


def parse(flags: Flags, args: Sequence[str], *, interspersed: bool) -> tuple[Assigned, list[str]]:
    """Every assignment, and the words that are no flags (flag.go, parseArgs). Raises WrongFlag or UnknownFlag.

    Without `interspersed` the first such word ends the flags.
    """
    assigned: Assigned = []
    words: list[str] = []
    rest = deque(args)
    while rest:
        word = rest.popleft()
        if word == "--":
            words += rest
            break
        if _is_word(word):
            words.append(word)
            if not interspersed:
                words += rest
                break
        else:
            assigned += _long(flags, word[2:], rest) if word.startswith("--") else _shorts(flags, word[1:], rest)
    for name, value in assigned:
        if not flags.long[name][1] and value not in TRUE | FALSE:
            raise WrongFlag(f"--{name} is either true or false, not {value!r}")
    return assigned, words


def _is_word(word: str) -> bool:
    return not word.startswith("-") or word == "-"


def _long(flags: Flags, text: str, rest: deque[str]) -> Assigned:
    spelling, equals, value = text.partition("=")
    if not spelling or spelling.startswith("-"):
        raise WrongFlag(f"bad flag syntax: --{text}")
    if spelling not in flags.long:
        raise UnknownFlag(f"unknown flag: --{spelling}")
    name, takes_value = flags.long[spelling]
    return [(name, value if equals else _next(name, rest) if takes_value else "true")]


def _shorts(flags: Flags, cluster: str, rest: deque[str]) -> Assigned:
    """parseSingleShortArg, until the cluster is used up. What begins with `test.` is ignored, there too."""
    assigned: Assigned = []
    while cluster and not cluster.startswith("test."):
        if cluster[0] not in flags.short:
            raise UnknownFlag(f"unknown flag: -{cluster[0]}")
        name, takes_value = flags.short[cluster[0]]
        cluster = cluster[1:]
        if len(cluster) > 1 and cluster[0] == "=":
            value, cluster = cluster[1:], ""
        elif takes_value:
            value, cluster = cluster or _next(name, rest), ""
        else:
            value = "true"
        assigned.append((name, value))
    return assigned


def _next(name: str, rest: deque[str]) -> str:
    if not rest:
        raise WrongFlag(f"flag needs an argument: --{name}")
    return rest.popleft()
