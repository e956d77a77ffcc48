"""`dbguard guard lock` and `unlock`."""

from __future__ import annotations

import click

from dbguard import anchors
from dbguard.cli import output
from dbguard.cli.world import World
from dbguard.discover import fits
from dbguard.errors import NotFound

_WHAT = click.argument("what", metavar="TARGET|VOLUME", nargs=-1, required=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="The volumes as JSON on stdout.")


@click.command("lock")
@_WHAT
@click.option("--image", help="For the anchor; by default that of a container which uses the volume.")
@_JSON
@click.pass_context
def lock_command(ctx: click.Context, what: tuple[str, ...], image: str | None, as_json: bool) -> None:
    """Let the engine itself refuse to delete these volumes, or the data volumes of these targets.

    An anchor, a small container outside of the project, holds each one: `docker volume rm --force`, `docker volume
    prune`, `docker system prune --volumes`, GUIs and scripts leave the volume alone, until `unlock`.

    \b
    dbguard guard lock shop/db
    dbguard guard lock shop_uploads
    """
    world = World(ctx)
    volumes = _volumes(world, what)
    new = {volume: anchors.lock(world.containers, volume, image) for volume in volumes}
    if as_json:
        output.emit({"volumes": [{"volume": volume, "locked": True, "changed": new[volume]} for volume in volumes]})
    for volume in volumes:
        output.say(output.printable(f"{volume} is locked" + ("" if new[volume] else ", and was before")))


@click.command("unlock")
@_WHAT
@_JSON
@click.pass_context
def unlock_command(ctx: click.Context, what: tuple[str, ...], as_json: bool) -> None:
    """Let the engine delete these volumes again. Deletes nothing, and so asks nothing.

    \b
    dbguard guard unlock shop/db
    """
    world = World(ctx)
    volumes = _volumes(world, what)
    released = {one.volume for one in anchors.release(world.containers, volumes)}
    if as_json:
        rows = [{"volume": volume, "locked": False, "changed": volume in released} for volume in volumes]
        output.emit({"volumes": rows})
    for volume in volumes:
        output.say(output.printable(f"{volume} is unlocked" if volume in released else f"{volume} was not locked"))
    if world.settings.guard.anchor and released:
        minutes = anchors.PATIENCE.total_seconds() / 60
        output.say(f"note: guard.anchor is on: a sidecar locks them again in {minutes:.0f} minutes")


def _volumes(world: World, what: tuple[str, ...]) -> list[str]:
    """Each once, in the order named. A word is a volume if there is one of that name. Raises NotFound."""
    found: dict[str, None] = {}
    anchored = {one.locks for one in anchors.all_of(world.containers)}
    for word in what:
        if word in anchored or ("/" not in word and world.containers.volume_labels(word) is not None):
            found[word] = None
            continue
        containers = [one for one in world.containers.list(stopped=True) if fits(one, word) and one.locks is None]
        near = [one for one in containers if "/" in word or world.scope.holds(one)]
        volumes = [volume for one in near for volume in anchors.data_volumes(one)]
        if not volumes:
            raise NotFound(
                f"there is no volume {word}, and no target {word} with a volume for its data",
                hint="`dbguard discover` and `docker volume ls` list what there is",
            )
        found |= dict.fromkeys(volumes)
    return list(found)
