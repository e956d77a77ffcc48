"""What a shim calls."""

from __future__ import annotations

import os
from typing import NoReturn

import click

from dbguard import argv, behind
from dbguard.argv import Invocation
from dbguard.cli.compose import compose_command
from dbguard.errors import EngineUnavailable, InternalError, Refused
from dbguard.shim import words
from dbguard.shim.words import Unclear


class _Verbatim(click.Command):
    """Every word is somebody else's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["args"] = tuple(args)
        return []


@click.command("shim", cls=_Verbatim, hidden=True, add_help_option=False)
@click.pass_context
def shim_command(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Judge what the shim of that kind in front of the program REAL was given: KIND REAL WORDS…"""
    kind, real, *given = args
    before = {key: value for key, value in os.environ.items() if key != behind.THROUGH}
    if kind == "v1":
        _first_version(ctx, given)
    call = words.of_plugin(given) if kind == "plugin" else words.of_standalone(given)
    if call is None:
        _become([real, *given], before)
    if isinstance(call, Unclear):
        if not all(map(_harmless, call.readings)):
            raise Refused(f"nobody can say which engine is meant: {call.reason}", hint="nothing was stopped or deleted")
        _become([real, *given], before)
    behind.shimmed.set(behind.Shimmed(args=call.args, command=(real, *given), environment=before))
    for name, value in call.variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    ctx.invoke(compose_command, args=call.args)


def _harmless(args: tuple[str, ...]) -> bool:
    understood = argv.parse(args)
    return not (understood.deletes if isinstance(understood, Invocation) else understood.may_delete)


def _first_version(ctx: click.Context, given: list[str]) -> NoReturn:
    group = ctx.find_root().command
    command = group.get_command(ctx, "docker-compose") if isinstance(group, click.Group) else None
    if command is None:
        raise InternalError("Compose 1 cannot be judged by this dbguard", hint="use `docker compose`")
    ctx.exit(ctx.invoke(command, args=tuple(given)))


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    try:
        behind.become(command, environment)
    except OSError as error:
        raise EngineUnavailable(f"{command[0]}: {error.strerror}") from error
