"""The command line of Compose v1 (`docker-compose` 1.x), as docopt reads it. Pure.

The tables are the docstrings of compose/cli/main.py, 1.29.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbguard import docopt
from dbguard.argv import Danger, Invocation, Unparsable
from dbguard.docopt import Given, HelpWanted, Options, UsageWrong

_ENGINE = "context/c host/H tlscacert tlscert tlskey"
_COMPOSE = Options.of(
    f"file/f project-name/p profile log-level ansi project-directory env-file {_ENGINE}",
    "verbose no-ansi version/v tls tlsverify skip-hostname-check compatibility help /h",
    repeatable="file profile",
)
_SUBCOMMANDS = {
    "down": Options.of("rmi timeout/t", "volumes/v remove-orphans", arguments=False, dashes=False),
    "rm": Options.of("", "force/f stop/s /v all/a"),
    "create": Options.of("", "force-recreate no-recreate no-build build", dashes=False),
    "scale": Options.of("timeout/t", "", dashes=False),
    "up": Options.of(
        "timeout/t exit-code-from scale",
        "detach/d no-color quiet-pull no-deps force-recreate always-recreate-deps no-recreate no-build no-start build"
        " abort-on-container-exit attach-dependencies renew-anon-volumes/V remove-orphans no-log-prefix",
        repeatable="scale",
    ),
    "run": Options.of(
        "name entrypoint /e label/l user/u publish/p volume/v workdir/w",
        "detach/d no-deps rm service-ports use-aliases /T",
        repeatable="e label publish volume",
    ),
}
_BEARING = frozenset({"file", "project-name", "profile", "project-directory", "env-file", "compatibility"})
_ENGINES = frozenset({"context", "host", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify"})
_OPTIONS = frozenset({"volumes", "v", "stop", "force", "remove-orphans", "renew-anon-volumes", "scale"})


def parse(args: Sequence[str]) -> Invocation | Unparsable:
    """What the words after `docker-compose` mean. Only subcommands that can delete volumes are read in full."""
    try:
        before, words = docopt.parse(_COMPOSE, args)
        subcommand = words[0] if words else ""
        if subcommand not in _SUBCOMMANDS:
            return Invocation(program=("docker-compose",), v1=True, subcommand=subcommand)
        after, services = docopt.parse(_SUBCOMMANDS[subcommand], words[1:])
    except UsageWrong:
        return Unparsable(reason="docker-compose does not understand it", may_delete=False)
    except HelpWanted:
        return Invocation(program=("docker-compose",), v1=True)
    on = {name for name, _ in after}
    danger, asks = _danger(subcommand, on)
    engine = _plain(_COMPOSE, before, _ENGINES)
    return Invocation(
        program=("docker-compose", *engine),
        v1=True,
        engine=engine,
        subcommand=subcommand,
        project=_plain(_COMPOSE, before, _BEARING),
        options=_plain(_SUBCOMMANDS[subcommand], after, _OPTIONS),
        services=tuple(services[:1] if subcommand == "run" else services),
        files=tuple(value for name, value in before if name in {"file", "env-file"}),
        deletes=danger,
        asks=asks,
        abandons=_abandons(subcommand, on),
        forgets=subcommand == "run" and "rm" in on and len(services) == 1 and "entrypoint" not in on,
    )


def _danger(subcommand: str, on: set[str]) -> tuple[Danger, bool]:
    if subcommand == "down" and "volumes" in on:
        return "volumes", False
    if subcommand == "rm" and "v" in on:
        return "anonymous volumes", "force" not in on
    return "", False


def _abandons(subcommand: str, on: set[str]) -> bool:
    removes = subcommand in {"down", "rm"} and not on & {"volumes", "v"}
    return removes or subcommand == "scale" or bool(on & {"scale", "remove-orphans", "renew-anon-volumes"})


def _plain(options: Options, given: Given, wanted: frozenset[str]) -> tuple[str, ...]:
    return tuple(
        f"-{name}" if len(name) == 1 else f"--{name}={value}" if options.takes_value[name] else f"--{name}"
        for name, value in given
        if name in wanted
    )
