"""`dbguard backup now`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import click

from dbguard.archive import Archive
from dbguard.backup import Outcome, Wish, back_up
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.discover import meant, reachable
from dbguard.errors import CheckFailed, DbguardError, DumpFailed, Partly, UsageError
from dbguard.model import Sighting, Target
from dbguard.upkeep import Upkeep, keep_up, prove
from dbguard.verify import Check


@click.group("backup")
def backup_command() -> None:
    """Take backups."""


@backup_command.command("now")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--project", help="The compose project; by default that of the working directory.")
@click.option("--database", "databases", multiple=True, help="Only this database; makes a partial archive. Repeatable.")
@click.option("--skip-invalid-views", is_flag=True, help="Leave out views that do not open; makes a partial archive.")
@click.option("--no-counts", is_flag=True, help="Do not count the rows: `verify` can then compare less.")
@click.option("--no-verify", is_flag=True, help="Do not load it into a throw-away server, whatever `verify.when` says.")
@click.option("--adopt", is_flag=True, help="Take over a folder that another engine's archives are in.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def now(
    ctx: click.Context,
    targets: tuple[str, ...],
    project: str | None,
    databases: tuple[str, ...],
    skip_invalid_views: bool,
    no_counts: bool,
    no_verify: bool,
    adopt: bool,
    as_json: bool,
) -> None:
    """Back up TARGETs (project/service, service, or container name), or all that are found.

    Each archive is then verified: loaded into a throw-away server, and compared (`verify.when`). One that fails is
    kept, marked, and makes the exit code 4; where no such server can be had a warning says so.

    \b
    dbguard backup now
    dbguard backup now shop/db --no-verify
    dbguard backup now db --database shop
    """
    world = World(ctx, project)
    wish = Wish(
        databases=databases,
        skip_invalid_views=skip_invalid_views,
        counts=not no_counts,
        adopt=adopt,
        verify=not no_verify,
    )
    sought: list[Callable[[], Target]] = [partial(world.target, name) for name in targets]
    sought = sought or [partial(reachable, seen) for seen in meant(_in_scope(world))]
    done, failed = _each(world, sought, wish)
    if as_json:
        output.emit({"archives": [_facts(one) for one in done], "failed": [str(error) for error in failed]})
    if len(sought) == 1 and failed:
        raise failed[0]
    if failed:
        raise (Partly if done else DumpFailed)(f"{len(failed)} of {len(sought)} targets failed")
    if bad := [one.outcome.archive.id for one in done if one.check is not None and not one.check.passed]:
        raise CheckFailed(f"{output.count(len(bad), 'archive')} failed the check: {', '.join(bad)}")
    if uncopied := sum(1 for one in done if one.uncopied):
        raise Partly(
            f"{output.count(uncopied, 'archive')} not in every storage",
            hint="the next backup of the same target makes the missing copies",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A backup that was saved, and what of it was not as it should be."""

    outcome: Outcome
    check: Check | None
    uncopied: tuple[str, ...]
    unpruned: tuple[str, ...]


def _in_scope(world: World) -> list[Sighting]:
    if world.scope.project is None and world.settings.scope != "all":
        raise UsageError(
            "this folder belongs to no compose project that runs",
            hint="name targets, or a project with --project, or set DBGUARD_SCOPE=all for the whole engine",
        )
    return world.lookout.look(datetime.now(UTC))


def _each(world: World, sought: Sequence[Callable[[], Target]], wish: Wish) -> tuple[list[_Done], list[DbguardError]]:
    """One target after the other: a failure neither stops nor hides the rest."""
    done: list[_Done] = []
    failed: list[DbguardError] = []
    for find in sought:
        try:
            done.append(_one(world, find(), wish))
        except DbguardError as error:
            failed.append(error)
            if len(sought) > 1:
                output.say(output.printable(f"failed  {error}"))
                if error.hint:
                    output.say(output.printable(f"hint: {error.hint}"))
    return done, failed


def _one(world: World, target: Target, wish: Wish) -> _Done:
    containers, settings = world.containers, world.settings
    with output.progress() as report:
        outcome = back_up(
            target,
            containers=containers,
            catalogs=world.copies.catalogs,
            settings=settings,
            wish=wish,
            report=report,
        )
    archive = outcome.archive
    output.say(f"saved   {summary(archive)}")
    for remark in remarks(archive):
        output.say(output.printable(remark))
    check = None
    if wish.verify:
        with output.progress() as report:
            check = prove(outcome, containers=containers, settings=settings, say=_warn, report=report)
    if check is not None:
        output.say(output.printable(str(check)))
    if wish.databases:  # it is no backup of this target that could stand for an older one
        upkeep = Upkeep(uncopied=[f"not in {url}: {error}" for url, error in outcome.failed.items()])
    else:
        upkeep = keep_up(outcome, copies=world.copies, settings=settings, now=datetime.now(UTC), say=output.say)
    for what in (*upkeep.uncopied, *upkeep.unpruned):
        output.say(f"failed  {output.printable(what)}")
    return _Done(outcome=outcome, check=check, uncopied=tuple(upkeep.uncopied), unpruned=tuple(upkeep.unpruned))


def _warn(line: str) -> None:
    output.say(output.printable(f"warning {line}"))


def remarks(archive: Archive) -> Iterator[str]:
    """What a person should know about an archive that was saved."""
    yield from (f"warning {warning}" for warning in archive.warnings)
    yield from (f"partial {reason}" for reason in archive.partial_reasons)
    for reason in archive.suspicious:
        yield f"suspicious {reason}: `restore --latest` skips it; if it is right: dbguard confirm {archive.id}"


def summary(archive: Archive) -> str:
    """One line about a finished archive."""
    tables = sum(len(database.tables) for database in archive.databases)
    took = output.duration((archive.finished - archive.started).total_seconds())
    plain = sum(blob.plain_size for blob in archive.blobs.values())
    return (
        f"{archive.target}  {archive.id}  {output.count(len(archive.databases), 'database')}, "
        f"{output.count(tables, 'table')}, "
        f"{output.size(plain)} in {output.size(archive.size)}, {took}"
    )


def _facts(done: _Done) -> dict[str, object]:
    archive = done.outcome.archive
    return {
        "id": archive.id,
        "target": archive.target,
        "size": archive.size,
        "complete": archive.complete,
        "suspicious": list(archive.suspicious),
        "copies": [catalog.url for catalog in done.outcome.saved],
        "uncopied": list(done.uncopied),
        "unpruned": list(done.unpruned),
        "verified": done.check.passed if done.check is not None else None,
    }
