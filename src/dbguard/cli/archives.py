"""`dbguard list`, `cat`, `hold`, `release` and `confirm`: what is stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from dbguard.archive import Stored
from dbguard.catalog import Catalog
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.copies import Merged
from dbguard.encryption import identities
from dbguard.errors import DbguardError, NotFound, Partly
from dbguard.script import Script
from dbguard.suspicion import suspicious

_ID = click.argument("archive_id", metavar="ID")


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
        raise NotFound(f"no archives of {target} in {world.copies}", hint="`dbguard list` shows all of them")
    merged = [world.copies.listing(name) for name in names]
    unreadable = {url: error for one in merged for url, error in one.unreadable.items()}
    if as_json:
        output.emit(_json(world, merged))
    else:
        several = len(world.copies.catalogs) > 1
        rows = [row for one in merged for row in _rows(one, several=several)]
        if rows:
            output.table(("ID", "TARGET", "AGE", "SIZE", "SERVER", "STATE", "DATABASES"), rows)
        else:
            output.say(f"no archives in {world.copies}")
    for error in unreadable.values():
        output.say(f"cannot be read: {output.printable(str(error))}")
    if unreadable:
        raise Partly(f"this is not all: {', '.join(unreadable)} cannot be read")


@click.command("cat")
@_ID
@click.option("--database", help="Only the statements of this database.")
@click.option("--identity", type=click.Path(path_type=Path), help="The file of the private key, where it is encrypted.")
@click.pass_context
@answered_by_sidecar
def cat_command(ctx: click.Context, archive_id: str, database: str | None, identity: Path | None) -> None:
    """Write the plain SQL of archive ID to stdout; its checksum is verified on the way.

    \b
    dbguard cat 20261123T013000Z-7f3a9c | less
    dbguard cat 20261123 --database shop > shop.sql
    """
    world = World(ctx)
    found = world.copies.find(archive_id)
    catalog = found.catalogs[0]
    archive = catalog.archive(found.stored.summary)
    names = [saved.name for saved in archive.databases if database in {None, saved.name}]
    if not names:
        raise NotFound(f"{archive.id} holds no database {database}")
    keys = identities(identity or world.settings.identity_file)
    for chunk in Script(archive, dict(zip(names, names, strict=True)), catalog, keys=keys):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


@click.command("hold")
@_ID
@click.pass_context
@answered_by_sidecar
def hold_command(ctx: click.Context, archive_id: str) -> None:
    """Never prune archive ID, until it is released.

    \b
    dbguard hold 20261123T013000Z-7f3a9c
    """
    _everywhere(ctx, archive_id, "held", lambda catalog, one: catalog.mark(one.summary, "hold", datetime.now(UTC)))


@click.command("release")
@_ID
@click.pass_context
@answered_by_sidecar
def release_command(ctx: click.Context, archive_id: str) -> None:
    """Take the hold of archive ID back: the rules decide about it again.

    \b
    dbguard release 20261123T013000Z-7f3a9c
    """
    _everywhere(ctx, archive_id, "released", lambda catalog, one: catalog.release(one.summary))


@click.command("confirm")
@_ID
@click.pass_context
@answered_by_sidecar
def confirm_command(ctx: click.Context, archive_id: str) -> None:
    """Say that the suspicious archive ID is as it should be, and those before it too.

    \b
    dbguard confirm 20261123T013000Z-7f3a9c
    """
    _everywhere(
        ctx, archive_id, "confirmed", lambda catalog, one: catalog.mark(one.summary, "confirm", datetime.now(UTC))
    )


def _everywhere(ctx: click.Context, archive_id: str, done: str, act: Callable[[Catalog, Stored], None]) -> None:
    """In each storage that has it. One that could not be told is an error: it would go on as before."""
    world = World(ctx)
    found = world.copies.find(archive_id)
    failed: list[DbguardError] = []
    for catalog in found.catalogs:
        try:
            act(catalog, found.stored)
        except DbguardError as error:
            failed.append(error)
    if len(failed) == len(found.catalogs):
        raise failed[0]
    failed += world.copies.listing(found.stored.summary.name).unreadable.values()  # there may be a copy there too
    for failure in failed:
        output.say(f"failed  {output.printable(str(failure))}")
    if failed:
        raise Partly(f"{found.stored.id} is {done}, but not in every storage", hint="type it again when all answer")
    output.say(f"{done}  {found.stored.summary.target}  {found.stored.id}")


def _rows(merged: Merged, *, several: bool) -> Iterator[tuple[str, ...]]:
    odd = suspicious(merged.stored)
    for copied in merged.archives:
        archive = copied.stored.summary
        where = f", only in {copied.catalogs[0].url}" if several and len(copied.catalogs) == 1 else ""
        state = ", ".join(_states(copied.stored, odd.get(archive.id, ()))) + where
        server = f"{archive.engine} {archive.server_version.split('-')[0]}"
        age, size = output.age(archive.snapshot), output.size(archive.size)
        yield archive.id, archive.target, age, size, server, state, ", ".join(archive.databases)
    for url, bad in merged.damaged:
        yield bad.id, bad.target, "", "", "", f"damaged in {url}" if several else "damaged", bad.reason


def _states(stored: Stored, odd: Sequence[str]) -> Iterator[str]:
    yield "complete" if stored.summary.complete else "partial"
    if stored.marks.verified is not None:
        yield "verified" if stored.marks.verified else "CHECK FAILED"
    if stored.summary.recipients:
        yield "encrypted"
    if stored.marks.held:
        yield "held"
    if odd:
        yield f"SUSPICIOUS ({'; '.join(odd)})"


def _json(world: World, merged: Sequence[Merged]) -> dict[str, object]:
    import pydantic

    from dbguard.archive import Summary

    dump = pydantic.TypeAdapter(Summary).dump_python
    return {
        "storages": [catalog.url for catalog in world.copies.catalogs],
        "archives": [
            {
                **dump(copied.stored.summary, mode="json"),
                "size": copied.stored.summary.size,
                "held": copied.stored.marks.held,
                "confirmed": copied.stored.marks.confirmed,
                "verified": copied.stored.marks.verified,
                "suspicious": list(odd.get(copied.stored.id, ())),
                "copies": [catalog.url for catalog in copied.catalogs],
            }
            for one in merged
            for odd in (suspicious(one.stored),)
            for copied in one.archives
        ],
        "damaged": [
            {"target": bad.target, "id": bad.id, "reason": bad.reason, "storage": url}
            for one in merged
            for url, bad in one.damaged
        ],
        "unreadable": {url: str(error) for one in merged for url, error in one.unreadable.items()},
    }
