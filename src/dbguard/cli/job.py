"""`dbguard job`: one run of the sidecar. `dbguard run` starts it, people have `dbguard backup now`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import pydantic

from dbguard.cli.world import World
from dbguard.config import unpacked
from dbguard.errors import DbguardError, Interrupted
from dbguard.job import Job, Level, Report
from dbguard.logs import configure, logger
from dbguard.model import TargetName

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_REPORT = pydantic.TypeAdapter(Report)


@click.command("job", hidden=True)
@click.argument("target")
@click.argument("work", type=click.Choice(["backup", "copies", "verify"]))
@click.option("--run", "run_id", required=True, help="The id that each line of the log carries.")
@click.pass_context
def job_command(ctx: click.Context, target: str, work: str, run_id: str) -> None:
    """Do one run for TARGET; its report is JSON on stdout, its log goes to stderr."""
    settings = unpacked(sys.stdin.buffer.read())
    configure(settings.log)
    log = logger().bind(target=target, run=run_id)
    try:
        report = _done(World(ctx, settings=settings), TargetName.parse(target), work, run_id, log)
    except DbguardError as error:
        log.error(str(error))
        report = Report(target=target, run=run_id, error=str(error))
    except Interrupted as stop:
        log.warning(str(stop))
        ctx.exit(stop.exit_code)
    click.echo(_REPORT.dump_json(report))


def _done(world: World, name: TargetName, work: str, run: str, log: FilteringBoundLogger) -> Report:
    def say(level: Level, line: str) -> None:
        getattr(log, level)(line)

    job = Job(
        name=name,
        run=run,
        containers=world.containers,
        copies=world.copies,
        settings=world.settings,
        scope=world.scope,
        say=say,
    )
    runs = {"backup": job.back_up, "copies": job.copy, "verify": job.verify}
    return runs[work]()
