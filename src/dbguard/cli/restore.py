"""`dbguard restore`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from dbguard.accounts import Loaded
from dbguard.cli import output, restoring
from dbguard.cli.choosing import manifest
from dbguard.cli.from_file import load
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.encryption import identities
from dbguard.errors import Partly, UsageError
from dbguard.restore import Existing, Restored, restore
from dbguard.restore_plan import RestorePlan, plan
from dbguard.restore_tables import TablesRestored, restore_tables
from dbguard.tables_plan import TablesPlan, plan_tables


@click.command("restore")
@click.argument("target", required=False)
@click.option("--latest", is_flag=True, help="The newest good archive: complete, not suspicious, no failed check.")
@click.option("--id", "archive_id", help="This archive; the beginning of its id is enough.")
@click.option(
    "--at", metavar="TIME", help="The last good archive before this time: 2026-11-24T03:00, UTC or `timezone`."
)
@click.option("--database", metavar="NAME[:NEWNAME]", help="Only this database, optionally under another name.")
@click.option(
    "--table",
    "tables",
    metavar="DB.TABLE[:DB.NEW]",
    multiple=True,
    help="Only this table, optionally under another name; several of them in several options.",
)
@click.option("--identity", type=click.Path(path_type=Path), help="The file of the private key, where it is encrypted.")
@click.option(
    "--from-file", type=click.Path(path_type=Path), help="A dump of another tool: plain, .gz, .zst, .bz2 or .xz."
)
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
@click.option("--schema-only", is_flag=True, help="All definitions, and no rows.")
@click.option("--accounts-only", is_flag=True, help="Users, roles and grants alone; who is there keeps the password.")
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
    tables: tuple[str, ...],
    identity: Path | None,
    from_file: Path | None,
    into: str | None,
    replace: bool,
    in_place: bool,
    no_safety_backup: bool,
    force_version: bool,
    accounts: bool | None,
    schema_only: bool,
    accounts_only: bool,
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
    dbguard restore shop/db --latest --table shop.orders:shop.orders_then
    dbguard restore shop/db --latest --schema-only --into test/db
    dbguard restore shop/db --from-file dump.sql.gz --database shop

    --replace takes a backup of what is there and holds it, loads the archive beside the live databases, compares, and
    exchanges all tables at once. Until that moment nothing that is live is touched.

    --table brings a table with its rows, indexes and triggers, and touches nothing else. Under another name it is a
    copy to look into, without triggers and foreign keys.

    --from-file loads what mysqldump or another tool has written. What its statements do is done: there is no manifest
    to compare with. A dump that was cut is refused where its tool writes a last line.
    """
    if from_file is not None:
        _alone(latest, archive_id, at, tables, into, replace, schema_only, accounts_only, accounts)
        load(
            ctx,
            from_file,
            target,
            database,
            in_place=in_place,
            no_safety_backup=no_safety_backup,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
        return
    if [latest, archive_id is not None, at is not None].count(True) != 1:
        raise UsageError("say which archive: one of --latest, --id ID and --at TIME")
    if tables and (database or accounts or schema_only or accounts_only):
        raise UsageError("--table restores tables and nothing else", hint="leave --database and the others out")
    if accounts_only and (database or accounts is False or schema_only or replace or in_place):
        raise UsageError("--accounts-only restores accounts and nothing else", hint="leave the other options out")
    world = World(ctx)
    found = restoring.stored(world, target, archive_id, restoring.moment(world, at))
    archive = manifest(found)
    keys = identities(identity or world.settings.identity_file)
    old, _, new = (database or "").partition(":")
    running = restoring.running(world, into or str(archive.target), finish=not dry_run)
    todo: RestorePlan | TablesPlan
    if tables:
        todo = plan_tables(archive, running, tables, containers=world.containers, force_version=force_version)
    else:
        todo = plan(
            archive,
            running,
            containers=world.containers,
            database=old or None,
            new_name=new or None,
            accounts=accounts,
            force_version=force_version,
            part="accounts" if accounts_only else "schema" if schema_only else "all",
        )
    existing: Existing = "drop" if in_place else "exchange" if replace else "keep"
    restoring.show(todo, as_json=as_json)
    if dry_run:
        return
    restoring.ask(yes=yes, replace=bool(todo.replaced) and existing != "keep")
    with output.progress() as report:
        save = None if no_safety_backup else partial(restoring.save, world, running, report)
        how: dict[str, Any] = {
            "containers": world.containers,
            "catalogs": found.catalogs,
            "settings": world.settings,
            "keys": keys,
            "existing": existing,
            "save": save,
            "report": report,
        }
        restored = restore_tables(todo, **how) if isinstance(todo, TablesPlan) else restore(todo, **how)
    _tell(todo, restored)


def _alone(*others: object) -> None:
    if any(others):
        raise UsageError("--from-file goes with --database, --in-place, --no-safety-backup and --dry-run only")


def _tell(todo: RestorePlan | TablesPlan, restored: Restored | TablesRestored) -> None:
    for what in restored.passed_over:
        output.say(f"warning: another copy was used: {output.printable(what)}")
    if isinstance(todo, TablesPlan):
        output.say(output.printable(f"restored {', '.join(map(str, todo.tables))} from {todo.archive.id}"))
    elif todo.part == "accounts":
        output.say(f"restored the accounts of {todo.archive.id} into {todo.target.name}")
    elif todo.part == "schema":
        output.say(f"restored the definitions of {todo.archive.id} into {todo.target.name}: every object, and no rows")
    else:
        output.say(f"restored {todo.archive.id} into {todo.target.name}: every object that was saved is there")
    if restored.window is not None:
        output.say(f"exchanged in {restored.window:.1f} s: who has tables open in a transaction, begins it again")
    if isinstance(restored, TablesRestored):
        _tell_broken(restored)
    elif restored.accounts is not None:
        _tell_accounts(restored.accounts)


def _tell_broken(restored: TablesRestored) -> None:
    """Raises Partly when something of the database does not fit the table that came back."""
    for what in restored.broken:
        output.say(f"warning: {output.printable(what)}")
    if restored.broken:
        raise Partly(f"the table is there, but what is around it does not fit: {restored.broken[0]}")


def _tell_accounts(accounts: Loaded) -> None:
    """Raises Partly when some could not be loaded: the data is there all the same."""
    output.say(f"accounts {len(accounts.created)} made, {len(accounts.existing)} were there and keep their password")
    for failure in accounts.failed:
        output.say(f"failed  {output.printable(failure)}")
    if accounts.failed:
        raise Partly(
            f"the data is there, but {output.count(len(accounts.failed), 'account or grant')} could not be loaded"
        )
