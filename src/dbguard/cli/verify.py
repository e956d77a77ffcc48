"""`dbguard verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.cli import output
from dbguard.cli.choosing import manifest, newest
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.copies import Copied
from dbguard.encryption import identities
from dbguard.errors import CheckFailed, DbguardError, NotFound, Partly, UsageError
from dbguard.verify import Check, verify


@click.command("verify")
@click.argument("target", required=False)
@click.option("--latest", is_flag=True, help="The newest good archive of each target; so it is when nothing is said.")
@click.option("--id", "archive_id", help="This archive; the beginning of its id is enough.")
@click.option("--all", "everything", is_flag=True, help="Every archive, newest first.")
@click.option("--identity", type=click.Path(path_type=Path), help="The file of the private key, where it is encrypted.")
@click.option("--json", "as_json", is_flag=True, help="The results as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def verify_command(
    ctx: click.Context,
    target: str | None,
    latest: bool,
    archive_id: str | None,
    everything: bool,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Load archives of TARGET, or of all targets, into a server that is thrown away, and compare.

    The server is a new container of the database's own image, without a network. The result is kept beside the
    archive: `list` and `status` show it.

    \b
    dbguard verify
    dbguard verify shop/db --all
    dbguard verify --id 20261123T01 --identity key.txt
    """
    if latest + everything + (archive_id is not None) > 1:
        raise UsageError("say which archives: one of --latest, --id ID and --all")
    world = World(ctx)
    keys = identities(identity or world.settings.identity_file)
    checks: list[Check] = []
    errors: list[DbguardError] = []
    chosen = [*_chosen(world, target, archive_id, everything=everything)]
    for copied in chosen:
        try:
            checks.append(_verified(world, copied, keys))
        except DbguardError as error:
            errors.append(error)
            if len(chosen) > 1:
                output.say(output.printable(f"unknown  {error}"))
    if as_json:
        output.emit({"checks": [*map(_facts, checks)], "unknown": [str(error) for error in errors]})
    if failed := [check for check in checks if not check.passed]:
        raise CheckFailed(
            f"{output.count(len(failed), 'archive')} failed: {', '.join(check.id for check in failed)}",
            hint="do not rely on it; `dbguard backup now` takes another one",
        )
    if errors:
        raise errors[0] if len(chosen) == 1 else Partly(f"{len(errors)} of {len(chosen)} could not be verified")


def _chosen(world: World, wanted: str | None, archive_id: str | None, *, everything: bool) -> Iterator[Copied]:
    names = world.stored_target(wanted)
    if archive_id is not None:
        yield world.copies.find(archive_id, names)
        return
    if not names:
        raise NotFound(f"no archives of {wanted or 'any target'} in {world.copies}")
    for name in names:
        if everything:
            yield from world.copies.listing(name).archives
        else:
            yield newest(world, name, whatever_was_checked=True)


def checked(world: World, archive: Archive, catalog: Catalog, keys: Any) -> Check:  # noqa: ANN401 — pyrage has no types
    """With a bar to look at."""
    with output.progress() as report:
        return verify(
            archive,
            catalog=catalog,
            containers=world.containers,
            settings=world.settings,
            keys=keys,
            report=report,
        )


def _verified(world: World, copied: Copied, keys: Any) -> Check:  # noqa: ANN401
    check = checked(world, manifest(copied), copied.catalogs[0], keys)
    output.say(output.printable(f"{check.target}: {check}"))
    return check


def _facts(check: Check) -> dict[str, object]:
    return {
        "target": check.target,
        "id": check.id,
        "storage": check.storage,
        "result": "passed" if check.passed else "failed",
        "differences": list(check.differences),
        "seconds": round(check.seconds, 1),
        "rows": check.rows,
        "uncounted": check.uncounted,
    }
