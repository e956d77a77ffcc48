"""The guard's question, answered here or by the sidecar that knows the archives."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click
import pydantic

from dbguard import guard, sidecar
from dbguard.cli import output
from dbguard.cli.sidecar import find_brain
from dbguard.cli.world import World
from dbguard.compose import Deletion
from dbguard.errors import InternalError
from dbguard.model import Verdict

_DELETION = pydantic.TypeAdapter(Deletion)
_VERDICT = pydantic.TypeAdapter(Verdict)


def judged(ctx: click.Context, world: World, deletion: Deletion) -> Verdict:
    """May these volumes go? Each project that the command would hurt is served by at most one sidecar."""
    brain = find_brain(ctx, world.containers, _project(world, deletion))
    if brain is None:
        return _judged_here(world, deletion)
    said: list[bytes] = []
    question = ["judge", _DELETION.dump_json(deletion).decode()]
    code = sidecar.answer(world.containers, brain, question, out=said.append, message=output.say)
    if code != 0:
        sys.exit(code)
    try:
        return _VERDICT.validate_json(b"".join(said))
    except pydantic.ValidationError as error:
        raise InternalError(f"the sidecar {brain.name} gave no verdict: nothing is deleted") from error


@click.command("judge", hidden=True)
@click.argument("deletion")
@click.pass_context
def judge_command(ctx: click.Context, deletion: str) -> None:
    """Answer the guard's question for the host: a deletion as JSON in, a verdict as JSON out."""
    verdict = _judged_here(World(ctx), _DELETION.validate_json(deletion))
    click.echo(_VERDICT.dump_json(verdict))


def _judged_here(world: World, deletion: Deletion) -> Verdict:
    now = datetime.now(UTC)
    verdict = guard.judge(
        world.containers, world.copies.catalogs, deletion, recent=world.settings.guard.recent, now=now
    )
    if refused := [volume for volume in verdict.volumes if not volume.allowed]:
        names = ",".join(volume.volume for volume in refused)
        said = "; ".join(f"{volume.volume} ({volume.what}): {volume.reason}" for volume in refused)
        for trouble in world.teller("guard").once(f"guard refused to delete {names}", said, now):
            output.say(output.printable(trouble))
    return verdict


def _project(world: World, deletion: Deletion) -> str | None:
    """The compose project of the volumes; Compose deletes those of one project only."""
    for volume in deletion.volumes:
        if project := (world.containers.volume_labels(volume.name) or {}).get("com.docker.compose.project"):
            return project
    places = [place.project for volume in deletion.volumes for place in volume.places]
    return next(iter(places), world.scope.project)
