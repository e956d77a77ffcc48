"""`dbguard discover`."""

from __future__ import annotations

import click

from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.discover import discover
from dbguard.model import Sighting
from dbguard.scope import Scope


@click.command("discover")
@click.option("--project", help="The compose project; by default that of the working directory.")
@click.option("--all", "everything", is_flag=True, help="Every running container of the engine.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def discover_command(ctx: click.Context, project: str | None, everything: bool, as_json: bool) -> None:
    """Show each running container: is it a database, will it be backed up, and why not.

    \b
    dbguard discover
    dbguard discover --project shop
    dbguard discover --all --json
    """
    world = World(ctx, project)
    scope = Scope(None) if everything else world.scope
    running = [one for one in world.containers.list() if scope.holds(one)]
    sightings = discover(world.containers, world.settings, running)
    if as_json:
        output.emit({"project": scope.project, "containers": [_facts(seen) for seen in sightings]})
        return
    if not sightings:
        output.say(f"no running container in project {scope.project}" if scope.project else "no running container")
    rows = [_row(seen) for seen in sightings]
    if rows:
        output.table(("CONTAINER", "TARGET", "SERVER", "VOLUMES", "BACKED UP"), rows)


def _row(seen: Sighting) -> tuple[str, ...]:
    server = f"{seen.target.server.engine} {seen.target.server.version.split('-')[0]}" if seen.target else "-"
    volumes = ", ".join(str(mount) for mount in seen.container.mounts) or "-"
    verdict = f"no: {seen.why_not}" if seen.why_not else "yes"
    if seen.target and not seen.why_not and seen.target.server.blind_spots:
        verdict = f"partly: {'; '.join(seen.target.server.blind_spots)}"
    return seen.container.name, str(seen.name or "-"), server, volumes, verdict


def _facts(seen: Sighting) -> dict[str, object]:
    server = seen.target.server if seen.target else None
    return {
        "container": {"id": seen.container.id, "name": seen.container.name, "image": seen.container.image},
        "target": str(seen.name) if seen.name else None,
        "database": seen.database,
        "server": {"engine": server.engine, "version": server.version, "identity": server.identity} if server else None,
        "login": str(seen.target.login) if seen.target else None,
        "volumes": [
            {"kind": m.kind, "name": m.name, "source": m.source, "destination": m.destination, "anonymous": m.anonymous}
            for m in seen.container.mounts
        ],
        "backed_up": seen.database and seen.why_not is None,
        "complete": bool(server and not server.blind_spots),
        "why_not": seen.why_not,
    }
