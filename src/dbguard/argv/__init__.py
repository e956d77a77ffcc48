"""The command lines of Compose and Docker: do they delete volumes? Read exactly as those programs read them. Pure.

A grep for `-v` would miss `-t0vf`, `--volume` and `-- x down -v`, and would stop `down -t -v`. This module reads
`docker compose` of version 2 and later, `v1` the old `docker-compose`, `engine` what else `docker` deletes.
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
    "scale": Flags.of("", f"{_COMMON} no-deps"),
    "watch": Flags.of("", f"{_COMMON} no-up prune quiet"),
    "run": Flags.of(
        "cap-add cap-drop entrypoint env/e env-from-file label/l name publish/p pull user/u volume/v workdir/w",
        f"{_COMMON} build detach/d interactive/i no-TTY/T no-deps quiet/q quiet-build quiet-pull remove-orphans rm"
        " service-ports/P use-aliases tty/t",
        volumes="volume",
        labels="label",
    ),
}
"""The subcommands that can delete volumes: cmd/compose/*.go of Compose 2.26 to 5, hidden flags included."""

RECREATING = frozenset({"up", "create", "scale", "watch", "run"})
"""Where Compose asks whether a volume whose definition changed is to be deleted and made anew (from 2.32 on)."""

_DANGERS: dict[str, tuple[str, Danger]] = {
    "down": ("volumes", "volumes"),
    "rm": ("volumes", "anonymous volumes"),
}
"""The flag that makes these delete, and what they delete then."""

_BEARING = re.compile(
    "profile|project-name|file|env-file|project-directory|workdir|compatibility|all-resources|insecure-registry"
    "|volumes|remove-orphans|stop|yes|no-deps|no-build|pull|scale|(force|no)-recreate|always-recreate-deps"
    "|renew-anon-volumes"
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

    program: tuple[str, ...] = ("docker", "compose")  # with the flags of `engine` in their place
    v1: bool = False  # the program is the old one, which is asked in other ways
    engine: tuple[str, ...] = ()  # flags that say which engine is meant, as `docker` takes them
    subcommand: str = ""
    project: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # of -f and --env-file
    by_name: bool = False  # -p without -f: `down` and `rm` go by the project's labels and read no file
    deletes: Danger = ""
    asks: bool = False  # it deletes only when it reads a "yes" on its stdin
    abandons: bool = False  # it may remove containers and leave their anonymous volumes behind, held by nothing
    forgets: bool = False  # `run --rm` of a service's own program: what it writes to anonymous volumes ends with it

    @property
    def sparing(self) -> tuple[str, ...]:
        """The same command without the flag that deletes."""
        kept = (option for option in self.options if option not in {"--volumes", "--yes", "-v"})
        return (*self.program, *self.project, self.subcommand, *kept, *self.services)


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
        after, words = pflag.parse(flags, args[at + 1 :], interspersed=subcommand != "run")
    except WrongFlag as error:
        return Unparsable(reason=str(error), may_delete=False)
    except UnknownFlag as error:
        return _unknown(str(error), subcommand, args[:at], args[at + 1 :])
    last = dict([*before, *after])  # help and dry-run are one flag in both places
    on = {name for name, value in last.items() if value in pflag.TRUE}
    idle = bool(on & {"help", "dry-run"})
    danger, asks = _danger(subcommand, set() if idle else on)
    return Invocation(
        subcommand=subcommand,
        project=_plain(_COMPOSE, before),
        options=_plain(flags, after),
        services=tuple(words[:1] if subcommand == "run" else words),
        files=tuple(value for name, value in before if name in {"file", "env-file"}),
        by_name=bool(dict(before).get("project-name")) and "file" not in dict(before),
        deletes="" if idle else danger,
        asks=asks,
        abandons=not idle and _abandons(subcommand, on, after),
        forgets=not idle and subcommand == "run" and "rm" in on and len(words) == 1 and "entrypoint" not in last,
    )


def _unknown(reason: str, subcommand: str, before: Sequence[str], after: Sequence[str]) -> Invocation | Unparsable:
    """A flag of a newer Compose. `up` and its like still ask before they delete: of the whole project, to be safe."""
    may_delete = subcommand != "run" and _may_delete(after)
    try:
        known, _ = pflag.parse(_COMPOSE, before, interspersed=False)
    except (UnknownFlag, WrongFlag):
        return Unparsable(reason=reason, may_delete=may_delete)
    if may_delete or subcommand not in RECREATING:
        return Unparsable(reason=reason, may_delete=may_delete)
    return Invocation(
        subcommand=subcommand,
        project=(*_plain(_COMPOSE, known), "--profile=*"),
        files=tuple(value for name, value in known if name in {"file", "env-file"}),
        deletes="volumes whose definition changed",
        asks=True,
    )


def _danger(subcommand: str, on: set[str]) -> tuple[Danger, bool]:
    """What it deletes, and whether it asks first."""
    if subcommand in RECREATING:
        return "volumes whose definition changed", "yes" not in on
    flag, danger = _DANGERS[subcommand]
    return (danger, subcommand == "rm" and "force" not in on) if flag in on else ("", False)


def _abandons(subcommand: str, on: set[str], after: Assigned) -> bool:
    scaled = subcommand == "scale" or any(name == "scale" for name, _ in after)
    removes = subcommand in {"down", "rm"} and "volumes" not in on
    return removes or scaled or bool(on & {"remove-orphans", "renew-anon-volumes"})


def _plain(flags: Flags, assigned: Assigned) -> tuple[str, ...]:
    bearing = ((name, value) for name, value in assigned if _BEARING.fullmatch(name))
    return tuple(
        f"--{name}" if value in pflag.TRUE and not flags.long[name][1] else f"--{name}={value}"
        for name, value in bearing
    )


def _may_delete(words: Sequence[str]) -> bool:
    return any(_MAY_DELETE.match(word) for word in words)
