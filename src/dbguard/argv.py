"""`docker compose`'s command line: does it delete volumes? Read exactly as Compose reads it. Pure.

A grep for `-v` would miss `-t0vf`, `--volume` and `-- x down -v`, and would stop `down -t -v`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dbguard import pflag
from dbguard.pflag import Assigned, Flags, UnknownFlag, WrongFlag

Danger = Literal["", "volumes", "anonymous volumes", "volumes whose definition changed"]

_COMMON = "dry-run help/h"
_RECREATING = f"{_COMMON} build no-build force-recreate no-recreate quiet-pull remove-orphans yes/y"
_COMPOSE = Flags.of(
    "profile project-name/p file/f env-file project-directory workdir progress ansi parallel insecure-registry",
    f"{_COMMON} compatibility all-resources version/v no-ansi verbose",
)
_SUBCOMMANDS = {
    "down": Flags.of("timeout/t rmi", f"{_COMMON} volumes/v remove-orphans", volume="volumes"),
    "rm": Flags.of("", f"{_COMMON} force/f stop/s volumes/v all/a"),
    "create": Flags.of("pull scale", _RECREATING, y="yes"),
    "up": Flags.of(
        "pull scale exit-code-from timeout/t attach no-attach wait-timeout",
        f"{_RECREATING} detach/d renew-anon-volumes/V watch/w quiet-build no-color no-log-prefix no-deps no-start"
        " always-recreate-deps attach-dependencies abort-on-container-exit abort-on-container-failure timestamps wait"
        " menu",
        y="yes",
    ),
}
"""The subcommands that can delete volumes: cmd/compose/*.go of Compose 2.26 to 5, hidden flags included."""

_DANGERS: dict[str, tuple[str, Danger]] = {
    "down": ("volumes", "volumes"),
    "rm": ("volumes", "anonymous volumes"),
    "create": ("yes", "volumes whose definition changed"),
    "up": ("yes", "volumes whose definition changed"),
}
"""The flag that makes each of them delete, and what it deletes then."""

_BEARING = re.compile(
    "profile|project-name|file|env-file|project-directory|workdir|compatibility|all-resources|insecure-registry"
    "|volumes|remove-orphans|stop|yes|no-deps|no-build|pull|scale|(force|no)-recreate|always-recreate-deps"
)
"""Flags that bear on what is deleted; the others change only how it is done or shown."""

_MAY_DELETE = re.compile(r"-[^-]*[vy]|--[vy]")
"""A word that could hold a deleting flag, in a command line that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command line of `docker compose`, understood.

    `project` and `options` are the flags that bear on what is deleted, those of Compose itself and those of the
    subcommand, each in one plain spelling. Neither holds `--dry-run`, so a dry run can be made of them.
    """

    subcommand: str = ""
    project: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # of -f and --env-file
    by_name: bool = False  # -p without -f: `down` and `rm` go by the project's labels and read no file
    deletes: Danger = ""

    @property
    def sparing(self) -> tuple[str, ...]:
        """The same command without the flag that deletes."""
        kept = (option for option in self.options if option not in {"--volumes", "--yes"})
        return (*self.project, self.subcommand, *kept, *self.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unparsable:
    """A command line that Compose refuses, or that only a Compose newer than these tables understands."""

    reason: str
    may_delete: bool


def parse(args: Sequence[str]) -> Invocation | Unparsable:
    """What the words after `docker compose` mean. Only subcommands that can delete volumes are read in full."""
    at, guessed = pflag.subcommand(_COMPOSE, args)
    subcommand = args[at] if at is not None else ""
    if at is None or subcommand not in _SUBCOMMANDS:
        if guessed and any(word in _SUBCOMMANDS and _may_delete(args[i:]) for i, word in enumerate(args)):
            return Unparsable(reason="a flag before the subcommand is unknown", may_delete=True)
        return Invocation(subcommand=subcommand)
    flags = _SUBCOMMANDS[subcommand]
    try:
        before, _ = pflag.parse(_COMPOSE, args[:at], interspersed=False)
        after, services = pflag.parse(flags, args[at + 1 :], interspersed=True)
    except WrongFlag as error:
        return Unparsable(reason=str(error), may_delete=False)
    except UnknownFlag as error:
        return Unparsable(reason=str(error), may_delete=_may_delete(args[at + 1 :]))
    return Invocation(
        subcommand=subcommand,
        project=_plain(_COMPOSE, before),
        options=_plain(flags, after),
        services=tuple(services),
        files=tuple(value for name, value in before if name in {"file", "env-file"}),
        by_name=bool(dict(before).get("project-name")) and "file" not in dict(before),
        deletes=_danger(subcommand, before, after),
    )


def _danger(subcommand: str, before: Assigned, after: Assigned) -> Danger:
    flag, danger = _DANGERS[subcommand]
    last = dict([*before, *after])  # help and dry-run are one flag in both places
    idle = last.get("help") in pflag.TRUE or last.get("dry-run") in pflag.TRUE
    return danger if last.get(flag) in pflag.TRUE and not idle else ""


def _plain(flags: Flags, assigned: Assigned) -> tuple[str, ...]:
    bearing = ((name, value) for name, value in assigned if _BEARING.fullmatch(name))
    return tuple(
        f"--{name}" if value in pflag.TRUE and not flags.long[name][1] else f"--{name}={value}"
        for name, value in bearing
    )


def _may_delete(words: Sequence[str]) -> bool:
    return any(_MAY_DELETE.match(word) for word in words)
