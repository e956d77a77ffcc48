"""`dbguard restore`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from dbguard.accounts import Loaded
from dbguard.backup import Wish, back_up
from dbguard.cli import output
from dbguard.cli.choosing import manifest, newest
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.copies import Copied
from dbguard.encryption import identities
from dbguard.errors import NotFound, Partly, UsageError
from dbguard.lock import target_lock
from dbguard.model import Target, TargetName
from dbguard.report import Report
from dbguard.restore import Existing, Restored, restore
from dbguard.restore_plan import RestorePlan, plan
from dbguard.swap.recovery import recover


@click.command("restore")
@click.argument("target", required=False)
@click.option("--latest", is_flag=True, help="The newest good archive: complete, not suspicious, no failed check.")
@click.option("--id", "archive_id", help="This archive; the beginning of its id is enough.")
@click.option(
    "--at", metavar="TIME", help="The last good archive before this time: 2026-11-24T03:00, UTC or `timezone`."
)
@click.option("--database", metavar="NAME[:NEWNAME]", help="Only this database, optionally under another name.")
@click.option("--identity", type=click.Path(path_type=Path), help="The file of the private key, where it is encrypted.")
@click.option("--into", metavar="TARGET", help="Load into this running database instead.")
@click.option("--replace", is_flag=True, help="Exchange databases that hold data, in one short moment at the end.")
@click.option("--in-place", is_flag=True, help="Drop them first and load over them: for those without room for both.")
@click.option("--no-safety-backup", is_flag=True, help="Do not back up what --replace or --in-place takes away.")
@click.option("--force-version", is_flag=True, help="Also into an older server than the archive is from.")
@click.option(
    "--accounts/--no-accounts",
    default=None,
    help="Users, roles and grants too. By default where no database holds anything yet.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def restore_command(
    ctx: click.Context,
    target: str | None,
    latest: bool,
    archive_id: str | None,
    at: str | None,
    database: str | None,
    identity: Path | None,
    into: str | None,
    replace: bool,
    in_place: bool,
    no_safety_backup: bool,
    force_version: bool,
    accounts: bool | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Load an archive into the running database TARGET.

    \b
    dbguard restore shop/db --latest
    dbguard restore db --id 20261123T01 --database shop:shop_copy
    dbguard restore shop/db --at 2026-11-24T03:00 --replace
    dbguard restore shop/db --latest --into test/db --yes

    --replace takes a backup of what is there and holds it, loads the archive beside the live databases, compares, and
    exchanges all tables at once. Until that moment nothing that is live is touched.
    """
    if [latest, archive_id is not None, at is not None].count(True) != 1:
        raise UsageError("say which archive: one of --latest, --id ID and --at TIME")
    world = World(ctx)
    found = _archive(world, target, archive_id, _time(world, at))
    archive = manifest(found)
    keys = identities(identity or world.settings.identity_file)
    old, _, new = (database or "").partition(":")
    running = _running(world, into or str(archive.target), finish=not dry_run)
    todo = plan(
        archive,
        running,
        containers=world.containers,
        database=old or None,
        new_name=new or None,
        accounts=accounts,
        force_version=force_version,
    )
    existing: Existing = "drop" if in_place else "exchange" if replace else "keep"
    for line in todo.lines():
        output.say(output.printable(line))
    if as_json:
        output.emit(_facts(todo))
    if dry_run:
        return
    _ask(todo, yes=yes, replace=existing != "keep")
    with output.progress() as report:
        restored = restore(
            todo,
            containers=world.containers,
            catalogs=found.catalogs,
            settings=world.settings,
            keys=keys,
            existing=existing,
            save=None if no_safety_backup else partial(_save, world, running, report),
            report=report,
        )
    _tell(todo, restored)


def _tell(todo: RestorePlan, restored: Restored) -> None:
    for what in restored.passed_over:
        output.say(f"warning: another copy was used: {output.printable(what)}")
    output.say(f"restored {todo.archive.id} into {todo.target.name}: every object that was saved is there")
    if restored.window is not None:
        output.say(f"exchanged in {restored.window:.1f} s: who has tables open in a transaction, begins it again")
    if restored.accounts is not None:
        _tell_accounts(restored.accounts)


def _tell_accounts(accounts: Loaded) -> None:
    """Raises Partly when some could not be loaded: the data is there all the same."""
    output.say(f"accounts {len(accounts.created)} made, {len(accounts.existing)} were there and keep their password")
    for failure in accounts.failed:
        output.say(f"failed  {output.printable(failure)}")
    if accounts.failed:
        raise Partly(
            f"the data is there, but {output.count(len(accounts.failed), 'account or grant')} could not be loaded"
        )


def _time(world: World, at: str | None) -> datetime | None:
    if at is None:
        return None
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise UsageError(f"{at!r} is no time", hint="write it as 2026-11-24T03:00 or 2026-11-24T03:00+01:00") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=world.settings.timezone)


def _finished(world: World, target: Target) -> Target:
    with target_lock(world.settings.state, target.name):
        for what in recover(target, world.containers, world.settings):
            output.say(output.printable(what))
    return world.target(str(target.name))


def _save(world: World, target: Target, report: Report) -> None:
    """What is there now, held until somebody releases it."""
    outcome = back_up(
        target,
        containers=world.containers,
        catalogs=world.copies.catalogs,
        settings=world.settings,
        wish=Wish(),
        report=report,
    )
    for catalog in outcome.saved:
        catalog.mark(outcome.archive.summary, "hold", datetime.now(UTC))
    archive_id = outcome.archive.id
    output.say(
        f"saved   what is there now as {archive_id}, and held; when you need it no more: dbguard release {archive_id}"
    )


def _archive(world: World, wanted: str | None, archive_id: str | None, until: datetime | None) -> Copied:
    names = world.stored_target(wanted)
    if archive_id is not None:
        return world.copies.find(archive_id, names)
    if wanted is None or "/" not in wanted:  # a short name is meant for this project, if there is one here
        names = [name for name in names if world.scope.project in {None, name.project}]
    if not names:
        here = f" of project {world.scope.project}" if world.scope.project else ""
        raise NotFound(f"no archives of {wanted or 'any target'}{here} in {world.copies}")
    if len(names) > 1:
        raise UsageError(f"there are several targets: {', '.join(map(str, names))}", hint="name one of them")
    return newest(world, names[0], until=until)


def _running(world: World, wanted: str, *, finish: bool) -> Target:
    """With `finish` a restore that was cut short there is brought to its end first."""
    try:
        target = world.target(wanted)
        return _finished(world, target) if finish and target.server.unfinished else target
    except NotFound as error:
        service = TargetName.parse(wanted).service
        raise NotFound(str(error), hint=f"start it: docker compose up -d --no-deps {service}") from error


def _ask(todo: RestorePlan, *, yes: bool, replace: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="give --yes in scripts, or --dry-run to see the plan")
    output.confirm(replace=bool(todo.replaced) and replace)


def _facts(todo: RestorePlan) -> dict[str, object]:
    return {
        "archive": todo.archive.id,
        "target": str(todo.target.name),
        "databases": [{"from": saved.name, "to": name} for saved, name in todo.databases],
        "replaced": list(todo.replaced),
        "max_allowed_packet": todo.packet,
        "accounts": todo.accounts,
    }
