"""`dbguard status` and `dbguard health`."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from dbguard import pulse
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.errors import DbguardError, NotFound, UsageError
from dbguard.state import default_state

if TYPE_CHECKING:
    from dbguard.health import TargetHealth


@click.command("status")
@click.argument("target", required=False)
@click.option("--project", help="The compose project; by default that of the working directory.")
@click.option("--max-age", help="How old the newest backup may be, such as 26h; by default what the settings say.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def status_command(
    ctx: click.Context, target: str | None, project: str | None, max_age: str | None, as_json: bool
) -> None:
    """Say of TARGET, or of all, how old the newest good backup is, and what is not as it should be.

    Exits with 1 when one is older than its max-age. Made for monitoring: any other exit code but 0 means "unknown".

    \b
    dbguard status
    dbguard status shop/db --max-age 26h
    """
    import pydantic

    from dbguard import past
    from dbguard.cli.world import World
    from dbguard.health import TargetHealth
    from dbguard.roster import Roster

    world = World(ctx, project)
    now = datetime.now(UTC)
    limit = _duration(max_age)
    watched = Roster(world.settings, world.copies, world.scope).watched(
        world.sightings, past.load(world.settings.state), now
    )
    found = [one.health(now, max_age=limit) for one in watched if target in {None, str(one.name), one.name.service}]
    if not found:
        raise NotFound(f"no target {target or 'at all'} is known here", hint="`dbguard discover` says what there is")
    if as_json:
        facts = pydantic.TypeAdapter(TargetHealth).dump_python
        targets = [{**facts(one, mode="json"), "healthy": one.healthy} for one in found]
        output.emit({"healthy": all(one.healthy for one in found), "targets": targets})
    else:
        output.table(("TARGET", "STATE", "NEWEST", "MAX AGE", "NEXT", "ARCHIVES", "SIZE"), [*map(_row, found)])
        for one in found:
            for problem, text in one.problems.items():
                output.say(output.printable(f"{one.target}: {problem}: {text}"))
    if bad := [one.target for one in found if not one.healthy]:
        raise DbguardError(f"not backed up as it should be: {', '.join(bad)}")


@click.command("health")
def health_command() -> None:
    """Exit with 0 when the sidecar works and every newest good backup is as young as it should be, else with 1.

    The container's health check: it reads what `dbguard run` has noted down, and asks nobody. People have
    `dbguard status`.

    \b
    dbguard health
    """
    state = Path(os.environ["DBGUARD_STATE"]) if "DBGUARD_STATE" in os.environ else default_state()
    problems = pulse.read(state)
    for about, problem in problems.items():
        output.say(output.printable(f"{about}: {problem}"))
    if problems:
        sys.exit(1)
    output.say("healthy")


def _duration(text: str | None) -> timedelta | None:
    from dbguard.sections import duration

    try:
        return None if text is None else cast(timedelta, duration(text))
    except ValueError as error:
        raise UsageError(f"--max-age: {error}") from error


def _row(one: TargetHealth) -> tuple[str, ...]:
    state = "ok" if not one.problems else ", ".join(one.problems)
    newest = output.age(one.newest) if one.newest is not None else "none"
    next_run = output.local(one.next_run) if one.next_run is not None else ""
    size = output.size(one.size) if one.newest is not None else ""
    return one.target, state, newest, output.duration(one.max_age.total_seconds()), next_run, str(one.archives), size
