"""`dbguard run`."""

from __future__ import annotations

import click

from dbguard.cli.world import World
from dbguard.run import Keeper, check_storage, configure_log


@click.command("run")
@click.pass_context
def run_command(ctx: click.Context) -> None:
    """Be the sidecar: back up every database of the project on schedule, until stopped.

    \b
    DBGUARD_SCHEDULE="30 3 * * *" DBGUARD_KEEP_LAST=7 dbguard run
    """
    world = World(ctx)
    configure_log()
    check_storage(world.containers, world.settings.storage_url)
    Keeper(world.containers, world.catalog, world.settings, world.scope).run()
