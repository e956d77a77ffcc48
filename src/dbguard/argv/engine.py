"""The command line of `docker` itself: does it delete volumes, or lead to Compose? Pure.

The tables are cli/command/{volume,system,container}/*.go and cli/flags/options.go of docker/cli 20.10 to 29.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dbguard import pflag
from dbguard.argv import Unparsable
from dbguard.pflag import Assigned, Flags, UnknownFlag, WrongFlag

Verb = Literal["volume rm", "volume prune", "system prune", "container prune", "rm", "compose"]

GLOBAL = Flags.of(
    "config context/c log-level/l host/H tlscacert tlscert tlskey", "debug/D tls tlsverify version/v help/h"
)
_GROUP = Flags.of("", "help/h")
_PRUNE = "force/f all/a help/h"
_VERBS: dict[Verb, Flags] = {
    "volume rm": Flags.of("", "force/f help/h"),
    "volume prune": Flags.of("filter", _PRUNE),
    "system prune": Flags.of("filter", f"{_PRUNE} volumes"),
    "container prune": Flags.of("filter", "force/f help/h"),
    "rm": Flags.of("", "force/f link/l volumes/v help/h"),
}
_ALIASES: dict[tuple[str, ...], Verb] = {
    ("volume", "rm"): "volume rm",
    ("volume", "remove"): "volume rm",
    ("volume", "prune"): "volume prune",
    ("system", "prune"): "system prune",
    ("container", "prune"): "container prune",
    ("container", "rm"): "rm",
    ("container", "remove"): "rm",
    ("rm",): "rm",
    ("compose",): "compose",
}
_GROUPS = {words[0] for words in _ALIASES if len(words) > 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCommand:
    """A command line of `docker` that may delete volumes, or hand them over to the next prune."""

    verb: Verb
    engine: tuple[str, ...]  # flags before the verb
    names: tuple[str, ...] = ()  # of volumes or containers
    filters: tuple[str, ...] = ()
    everything: bool = False  # --all
    forced: bool = False
    deletes: bool = True  # else it only leaves volumes behind that nothing holds

    @property
    def asks(self) -> bool:
        """It deletes only when it reads a "yes" on its stdin."""
        return self.verb.endswith("prune") and not self.forced

    @property
    def sparing(self) -> tuple[str, ...]:
        """The same command without the flag that deletes volumes; empty where there is none."""
        filters = [f"--filter={one}" for one in self.filters]
        if self.verb == "rm":
            return ("docker", *self.engine, "rm", *(["--force"] if self.forced else []), *self.names)
        if self.verb == "system prune":
            return ("docker", *self.engine, "system", "prune", *(["--all"] if self.everything else []), *filters)
        return ()


def parse(args: Sequence[str]) -> EngineCommand | Unparsable | None:
    """What the words after `docker` mean; None for what cannot delete a volume.

    Of `docker compose`, `names` are the words after it.
    """
    try:
        before, rest = pflag.parse(GLOBAL, args, interspersed=False)
        path = _path(rest)
    except (UnknownFlag, WrongFlag) as error:
        known = isinstance(error, WrongFlag)
        return Unparsable(reason=str(error), may_delete=not known and bool({*args} & {"rm", "prune", "compose"}))
    engine = _spelled(GLOBAL, before)
    if path is None or pflag.TRUE & {dict(before).get("help"), dict(before).get("version")}:
        return None
    verb, rest = path
    if verb == "compose":
        return EngineCommand(verb=verb, engine=engine, names=tuple(rest))
    try:
        after, names = pflag.parse(_VERBS[verb], rest, interspersed=True)
    except WrongFlag as error:
        return Unparsable(reason=str(error), may_delete=False)
    except UnknownFlag as error:
        return Unparsable(reason=str(error), may_delete=verb != "container prune")
    return _command(verb, engine, after, names)


def _path(words: list[str]) -> tuple[Verb, list[str]] | None:
    """The verb and what follows it. A group of commands has flags of its own, and only `--help`."""
    if words and words[0] in _GROUPS:
        flags, rest = pflag.parse(_GROUP, words[1:], interspersed=False)
        verb = _ALIASES.get((words[0], *rest[:1]))
        return (verb, rest[1:]) if verb is not None and not flags else None
    verb = _ALIASES.get(tuple(words[:1]))
    return (verb, words[1:]) if verb is not None else None


def _command(verb: Verb, engine: tuple[str, ...], after: Assigned, names: list[str]) -> EngineCommand | None:
    on = {name for name, value in after if dict(after)[name] in pflag.TRUE}
    if "help" in on:
        return None
    return EngineCommand(
        verb=verb,
        engine=engine,
        names=tuple(names),
        filters=tuple(value for name, value in after if name == "filter"),
        everything="all" in on,
        forced="force" in on,
        deletes=verb.startswith("volume") or "volumes" in on,
    )


def _spelled(flags: Flags, assigned: Assigned) -> tuple[str, ...]:
    plain = [(name, value, flags.long[name][1] or value != "true") for name, value in assigned]
    return tuple(f"--{name}={value}" if valued else f"--{name}" for name, value, valued in plain)
