"""`dbguard compose`, `dbguard docker-compose`, `dbguard docker`."""

from __future__ import annotations

import sys

import click

from dbguard import compose
from dbguard.compose import Deleting
from dbguard.model import Verdict

_BACKUP_FIRST = "--backup-first"


class _Verbatim(click.Command):
    """Everything behind the command's name is that program's, `--help` and `--` included; but a first word of ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours = args[:1] == [_BACKUP_FIRST]
        ctx.params |= {"backup_first": ours, "args": tuple(args[1:] if ours else args)}
        return []


@click.command("compose", cls=_Verbatim, add_help_option=False)
@click.pass_context
def compose_command(ctx: click.Context, backup_first: bool, args: tuple[str, ...]) -> None:
    """Run `docker compose ARGS…`, and refuse to delete database volumes that no fresh backup covers.

    \b
    dbguard compose up -d --build
    dbguard compose down                  keeps the data, as always
    dbguard compose down --volumes        exits 77 unless every database volume has a fresh backup
    dbguard compose --backup-first down --volumes
    """
    _guarded(ctx, backup_first, compose.plugin_or_standalone(args, _say))


@click.command("docker-compose", cls=_Verbatim, add_help_option=False)
@click.pass_context
def docker_compose_command(ctx: click.Context, backup_first: bool, args: tuple[str, ...]) -> None:
    """Run `docker-compose ARGS…` of version 1 or 2 in the same way.

    \b
    dbguard docker-compose down --volumes
    """
    _guarded(ctx, backup_first, compose.standalone_unless_harmless(args, _say))


@click.command("docker", cls=_Verbatim, add_help_option=False)
@click.pass_context
def docker_command(ctx: click.Context, backup_first: bool, args: tuple[str, ...]) -> None:
    """Run `docker ARGS…`, and refuse to delete database volumes that no fresh backup covers.

    \b
    dbguard docker volume rm shop_data
    dbguard docker volume prune --force
    dbguard docker system prune --volumes
    dbguard docker rm --force --volumes shop-db-1
    """
    from dbguard import removal

    _guarded(ctx, backup_first, removal.unless_harmless(args, _say))


def _say(text: str) -> None:
    click.echo(f"dbguard: {text}", err=True)


def _guarded(ctx: click.Context, backup_first: bool, command: Deleting) -> None:
    from dbguard import guard
    from dbguard.cli.output import say
    from dbguard.cli.verdict import Judge
    from dbguard.cli.world import World

    world = World(ctx)
    guard.run(
        command,
        containers=world.containers,
        judge=Judge(ctx, world),
        consent=_Consent(ctx, backup_first=backup_first),
        state=world.settings.state,
        say=say,
    )


class _Consent:
    """See guard.Consent."""

    def __init__(self, ctx: click.Context, *, backup_first: bool) -> None:
        self._ctx = ctx
        self._backup_first = backup_first

    def to_back_up(self, verdict: Verdict) -> bool:
        if self._backup_first or verdict.on_delete == "backup":
            return True
        if verdict.on_delete == "refuse" or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        from dbguard.cli.output import say
        from dbguard.guard.page import table

        say("\n".join(["dbguard: this would delete", *table(verdict.volumes)]))
        return click.confirm("back up now, and delete then?", err=True)

    def back_up(self, target: str) -> None:
        """See guard.Consent."""
        from dbguard.cli.again import back_up

        back_up(self._ctx, target)
