"""`dbguard status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import click
import pydantic

from dbguard import past
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.errors import DbguardError, NotFound, UsageError
from dbguard.health import TargetHealth
from dbguard.roster import Roster
from dbguard.sections import duration

_HEALTH = pydantic.TypeAdapter(TargetHealth)


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
        targets = [{**_HEALTH.dump_python(one, mode="json"), "healthy": one.healthy} for one in found]
        output.emit({"healthy": all(one.healthy for one in found), "targets": targets})
    else:
        output.table(("TARGET", "STATE", "NEWEST", "MAX AGE", "NEXT", "ARCHIVES", "SIZE"), [*map(_row, found)])
        for one in found:
            for problem, text in one.problems.items():
                output.say(output.printable(f"{one.target}: {problem}: {text}"))
    if bad := [one.target for one in found if not one.healthy]:
        raise DbguardError(f"not backed up as it should be: {', '.join(bad)}")


def _duration(text: str | None) -> timedelta | None:
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
