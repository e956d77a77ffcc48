"""`dbguard restore --from-file`."""

from __future__ import annotations

from pathlib import Path

import click

from dbguard.cli import output, restoring
from dbguard.cli.again import back_up
from dbguard.cli.world import World
from dbguard.errors import UsageError
from dbguard.foreign import examine
from dbguard.restore_file import plan_file, restore_file


def load(
    ctx: click.Context,
    file: Path,
    target: str | None,
    database: str | None,
    *,
    in_place: bool,
    no_safety_backup: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """The file is on this host, so it is read here; the backup before it is the sidecar's where there is one."""
    if target is None:
        raise UsageError("say which database server to load into", hint=f"dbguard restore TARGET --from-file {file}")
    world = World(ctx)
    running = restoring.running(world, target, finish=not dry_run)
    todo = plan_file(examine(file), running, database, containers=world.containers)
    restoring.show(todo, as_json=as_json)
    if dry_run:
        return
    restoring.ask(yes=yes, replace=bool(todo.used) and in_place)
    with output.progress() as report:
        tables = restore_file(
            todo,
            containers=world.containers,
            settings=world.settings,
            in_place=in_place,
            save=None if no_safety_backup else lambda: back_up(ctx, str(running.name)),
            report=report,
        )
    names = output.printable(", ".join(todo.databases))
    output.say(f"loaded {file} into {running.name}: {output.count(tables, 'table')} in {names}; `dbguard backup now`")
