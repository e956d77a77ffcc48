"""`dbguard restore`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dbguard.accounts import Loaded
from dbguard.cli import output
from dbguard.cli.choosing import manifest, newest
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.copies import Copied
from dbguard.encryption import identities
from dbguard.errors import NotFound, Partly, UsageError
from dbguard.model import Target, TargetName
from dbguard.restore import restore
from dbguard.restore_plan import RestorePlan, plan


@click.command("restore")
@click.argument("target", required=False)
@click.option("--latest", is_flag=True, help="The newest good archive: complete, not suspicious, no failed check.")
@click.option("--id", "archive_id", help="This archive; the beginning of its id is enough.")
@click.option("--database", metavar="NAME[:NEWNAME]", help="Only this database, optionally under another name.")
@click.option("--identity", type=click.Path(path_type=Path), help="The file of the private key, where it is encrypted.")
@click.option("--into", metavar="TARGET", help="Load into this running database instead.")
@click.option("--replace", is_flag=True, help="Drop databases of the same name first, with all they hold.")
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
    database: str | None,
    identity: Path | None,
    into: str | None,
    replace: bool,
    accounts: bool | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Load an archive into the running database TARGET.

    \b
    dbguard restore shop/db --latest
    dbguard restore db --id 20261123T01 --database shop:shop_copy
    dbguard restore shop/db --latest --into test/db --yes
    """
    if latest == (archive_id is not None):
        raise UsageError("say which archive: either --latest or --id ID")
    world = World(ctx)
    found = _archive(world, target, archive_id)
    archive = manifest(found)
    keys = identities(identity or world.settings.identity_file)
    old, _, new = (database or "").partition(":")
    todo = plan(
        archive,
        _running(world, into or str(archive.target)),
        containers=world.containers,
        database=old or None,
        new_name=new or None,
        accounts=accounts,
    )
    for line in todo.lines():
        output.say(output.printable(line))
    if as_json:
        output.emit(_facts(todo))
    if dry_run:
        return
    _ask(todo, yes=yes, replace=replace)
    with output.progress() as report:
        restored = restore(
            todo,
            containers=world.containers,
            catalogs=found.catalogs,
            settings=world.settings,
            keys=keys,
            replace_existing=replace,
            report=report,
        )
    for what in restored.passed_over:
        output.say(f"warning: another copy was used: {output.printable(what)}")
    output.say(f"restored {archive.id} into {todo.target.name}: every object that was saved is there")
    if restored.accounts is not None:
        _tell(restored.accounts)


def _tell(accounts: Loaded) -> None:
    """Raises Partly when some could not be loaded: the data is there all the same."""
    output.say(f"accounts {len(accounts.created)} made, {len(accounts.existing)} were there and keep their password")
    for failure in accounts.failed:
        output.say(f"failed  {output.printable(failure)}")
    if accounts.failed:
        raise Partly(
            f"the data is there, but {output.count(len(accounts.failed), 'account or grant')} could not be loaded"
        )


def _archive(world: World, wanted: str | None, archive_id: str | None) -> Copied:
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
    return newest(world, names[0])


def _running(world: World, wanted: str) -> Target:
    try:
        return world.target(wanted)
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
