"""`dbguard run`."""

from __future__ import annotations

import click

from dbguard.cli.world import World
from dbguard.placement import check_placement
from dbguard.run import Keeper, configure_log


@click.command("run")
@click.pass_context
def run_command(ctx: click.Context) -> None:
    """Be the sidecar: back up every database of the project on schedule, until stopped.

    \b
    DBGUARD_SCHEDULE="30 3 * * *" DBGUARD_KEEP_LAST=7 dbguard run
    """
    world = World(ctx)
    configure_log()
    for url in world.settings.storage_urls:
        check_placement(world.containers, url)
    Keeper(world.containers, world.copies, world.settings, world.scope).run()
