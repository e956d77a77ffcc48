"""What a shim calls."""

from __future__ import annotations

import os
from typing import NoReturn

import click

from dbguard import argv, behind
from dbguard.argv import Invocation
from dbguard.cli.compose import compose_command
from dbguard.errors import EngineUnavailable, Refused
from dbguard.shim import words


class _Verbatim(click.Command):
    """Every word is somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["args"] = tuple(args)
        return []


@click.command("shim", cls=_Verbatim, hidden=True, add_help_option=False)
@click.pass_context
def shim_command(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Judge what the shim of that kind in front of the program REAL was given: KIND REAL WORDS…"""
    kind, *command = args
    before = {key: value for key, value in os.environ.items() if key != behind.THROUGH}
    call = words.of_plugin(command[1:]) if kind == "plugin" else words.of_standalone(command[1:])
    if call is None:
        _become(command, before)
    if isinstance(call, words.Unclear):
        if not all(map(_harmless, call.readings)):
            raise Refused(f"nobody can say which engine is meant: {call.reason}", hint="nothing was stopped or deleted")
        _become(command, before)
    for name, value in call.variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    standalone = _standalone(ctx) if kind == "standalone" else None
    spelled = ("docker-compose", *command[1:]) if standalone else ("docker", "compose", *call.args)
    behind.shimmed.set(behind.Shimmed(words=spelled, command=tuple(command), environment=before))
    judging = standalone or compose_command
    given = command[1:] if standalone else list(call.args)
    with judging.make_context(judging.name, given, parent=ctx) as inner:
        judging.invoke(inner)


def _standalone(ctx: click.Context) -> click.Command | None:
    """`dbguard docker-compose`, which knows version 1 too."""
    group = ctx.find_root().command
    return group.get_command(ctx, "docker-compose") if isinstance(group, click.Group) else None


def _harmless(args: tuple[str, ...]) -> bool:
    understood = argv.parse(args)
    return not (understood.deletes if isinstance(understood, Invocation) else understood.may_delete)


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    try:
        behind.execute(command, environment)
    except OSError as error:
        raise EngineUnavailable(f"{command[0]}: {error.strerror}") from error
