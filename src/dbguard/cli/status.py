"""`dbguard status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import click
import pydantic

from dbguard import anchors, past
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.errors import DbguardError, NotFound, StorageUnavailable, UsageError
from dbguard.health import TargetHealth, with_problem
from dbguard.model import Sighting
from dbguard.past import Past
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
    sightings = world.lookout.look(now)
    watched = Roster(world.settings, world.copies, world.scope).watched(
        sightings, past.load(world.settings.state), now, elsewhere=world.lookout.elsewhere
    )
    meant = [one for one in watched if target in {None, str(one.name), one.name.service}]
    found = [_sternly(one.health(now, max_age=limit), one.past) for one in meant]
    if world.settings.guard.anchor:
        found = _unlocked(found, anchors.missing(world.containers, sightings))
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
    nameless = [seen.container.name for seen in sightings if seen.name is None]
    for name in nameless:
        output.say(output.printable(f"{name}: unreachable: its name cannot be a target's"))
    if unknown := [one for one in found if one.newest is None and "unreadable" in one.problems]:
        raise StorageUnavailable(f"nobody can tell what backups there are: {unknown[0].problems['unreadable']}")
    if bad := [*(one.target for one in found if not one.healthy), *(nameless if target is None else ())]:
        raise DbguardError(f"not backed up as it should be: {', '.join(bad)}")


def _unlocked(found: list[TargetHealth], missing: Mapping[str, Sighting]) -> list[TargetHealth]:
    texts = {str(seen.name): f"volume {volume} has no anchor" for volume, seen in missing.items()}
    return [with_problem(one, "unlocked", texts[one.target]) if one.target in texts else one for one in found]


def _sternly(health: TargetHealth, past: Past) -> TargetHealth:
    """Who asks now wants to know of a first backup that is still being made, too."""
    if health.newest is not None or health.problems or past.nothing:
        return health
    return replace(health, problems={"stale": "there is no good backup yet"})


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
