"""`dbguard list` and `dbguard cat`."""

from __future__ import annotations

import sys

import click

from dbguard.archive import Archive
from dbguard.catalog import Catalog, Listing
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.errors import NotFound
from dbguard.model import TargetName
from dbguard.script import Script


@click.command("list")
@click.argument("target", required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def list_command(ctx: click.Context, target: str | None, as_json: bool) -> None:
    """List the archives, newest first, of one TARGET or of all.

    \b
    dbguard list
    dbguard list shop/db --json
    """
    world = World(ctx)
    names = world.stored_target(target)
    if target is not None and not names:
        raise NotFound(f"no archives of {target} in {world.catalog.url}", hint="`dbguard list` shows all of them")
    listings = {name: world.catalog.listing(name) for name in names}
    if as_json:
        output.emit(_json(world.catalog, listings))
        return
    rows = [_row(archive) for listing in listings.values() for archive in listing.archives]
    rows += [
        (bad.id, bad.target, "", "", "", "damaged", bad.reason) for one in listings.values() for bad in one.damaged
    ]
    if rows:
        output.table(("ID", "TARGET", "AGE", "SIZE", "SERVER", "STATE", "DATABASES"), rows)
    else:
        output.say(f"no archives in {world.catalog.url}")


@click.command("cat")
@click.argument("archive_id", metavar="ID")
@click.option("--database", help="Only the statements of this database.")
@click.pass_context
@answered_by_sidecar
def cat_command(ctx: click.Context, archive_id: str, database: str | None) -> None:
    """Write the plain SQL of archive ID to stdout; its checksum is verified on the way.

    \b
    dbguard cat 20261123T013000Z-7f3a9c | less
    dbguard cat 20261123 --database shop > shop.sql
    """
    catalog = World(ctx).catalog
    archive = catalog.find(archive_id)
    names = [saved.name for saved in archive.databases if database in {None, saved.name}]
    if not names:
        raise NotFound(f"{archive.id} holds no database {database}")
    for chunk in Script(archive, dict(zip(names, names, strict=True)), catalog):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _row(archive: Archive) -> tuple[str, ...]:
    databases = ", ".join(database.name for database in archive.databases)
    state = "complete" if archive.complete else "partial"
    server = f"{archive.software.engine} {archive.software.server_version.split('-')[0]}"
    return archive.id, archive.target, output.age(archive.snapshot), output.size(archive.size), server, state, databases


def _json(catalog: Catalog, listings: dict[TargetName, Listing]) -> dict[str, object]:
    import pydantic

    good = [archive for listing in listings.values() for archive in listing.archives]
    damaged = [bad for listing in listings.values() for bad in listing.damaged]
    return {
        "storage": catalog.url,
        "archives": pydantic.TypeAdapter(list[Archive]).dump_python(good, mode="json"),
        "damaged": [{"target": bad.target, "id": bad.id, "reason": bad.reason} for bad in damaged],
    }
