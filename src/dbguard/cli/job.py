"""`dbguard job`: one run of the sidecar. `dbguard run` starts it, people have `dbguard backup now`."""

from __future__ import annotations

import sys

import click
import pydantic

from dbguard.cli.world import World
from dbguard.config import unpacked
from dbguard.job import Job, Level, Report
from dbguard.logs import configure, logger
from dbguard.model import TargetName

_REPORT = pydantic.TypeAdapter(Report)


@click.command("job", hidden=True)
@click.argument("target")
@click.argument("work", type=click.Choice(["backup", "copies"]))
@click.option("--run", "run_id", required=True, help="The id that each line of the log carries.")
@click.pass_context
def job_command(ctx: click.Context, target: str, work: str, run_id: str) -> None:
    """Do one run for TARGET; its report is JSON on stdout, its log goes to stderr."""
    world = World(ctx, settings=unpacked(sys.stdin.buffer.read()))
    configure(world.settings.log)
    log = logger().bind(target=target, run=run_id)

    def say(level: Level, line: str) -> None:
        getattr(log, level)(line)

    job = Job(
        name=TargetName.parse(target),
        run=run_id,
        containers=world.containers,
        copies=world.copies,
        settings=world.settings,
        scope=world.scope,
        say=say,
    )
    report = job.back_up() if work == "backup" else job.copy()
    click.echo(_REPORT.dump_json(report))
