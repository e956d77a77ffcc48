"""`dbguard compose`."""

from __future__ import annotations

import click

from dbguard import compose


class _Verbatim(click.Command):
    """Everything behind the command's name is Compose's, `--help` and `--` included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.params["args"] = tuple(args)
        return []


@click.command("compose", cls=_Verbatim, add_help_option=False)
@click.pass_context
def compose_command(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Run `docker compose ARGS…`, and refuse to delete database volumes that no fresh backup covers.

    \b
    dbguard compose up -d --build
    dbguard compose down                  keeps the data, as always
    dbguard compose down --volumes        exits 77 unless every database volume has a fresh backup
    """
    invocation = compose.execute_unless_deleting(args)
    from dbguard import guard
    from dbguard.cli.output import say
    from dbguard.cli.verdict import judged
    from dbguard.cli.world import World

    world = World(ctx)
    guard.run(
        invocation, args, containers=world.containers, judge=lambda deletion: judged(ctx, world, deletion), say=say
    )
