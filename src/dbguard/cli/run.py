"""`dbguard run`."""

from __future__ import annotations

import signal

import click

from dbguard.cli.sidecar import find_brain
from dbguard.cli.world import World
from dbguard.errors import ConfigError, Interrupted, UsageError
from dbguard.logs import configure, logger
from dbguard.metrics import Metrics
from dbguard.placement import check_placement
from dbguard.run import Keeper, Means
from dbguard.scope import own_container
from dbguard.web import serve


@click.command("run")
@click.pass_context
def run_command(ctx: click.Context) -> None:
    """Be the sidecar: back up every database of the project on schedule, until stopped.

    SIGHUP makes it read its configuration again.

    \b
    DBGUARD_SCHEDULE="30 3 * * *" DBGUARD_KEEP_LAST=7 dbguard run
    """
    world = World(ctx)
    settings = world.settings
    if brain := find_brain(ctx, world.containers, world.scope.project):
        raise UsageError(f"the sidecar {brain.name} does this already", hint="stop one of the two: each would back up")
    own = own_container(world.containers)
    if settings.scope == "all" and own is not None and not own.serves_all:
        raise ConfigError("scope: in a sidecar it must be in its environment, DBGUARD_SCOPE=all: the host looks there")
    configure(settings.log)
    metrics = Metrics()
    keeper = Keeper(lambda: _means(ctx), metrics, logger())
    signal.signal(signal.SIGHUP, lambda *_: keeper.reload())
    if settings.listen is not None:
        serve(settings.listen, metrics, lambda: keeper.health)
    try:
        keeper.run()
    except Interrupted as stop:
        logger().info(str(stop))
        ctx.exit(stop.exit_code)


def _means(ctx: click.Context) -> Means:
    world = World(ctx)
    settings = world.settings
    for url in settings.storage_urls:
        check_placement(world.containers, url)
    return Means(
        settings=settings,
        containers=world.containers,
        copies=world.copies,
        scope=world.scope,
        teller=world.teller("run"),
    )
