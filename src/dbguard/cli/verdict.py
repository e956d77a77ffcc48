"""The guard's question, answered here or by the sidecar that knows the archives."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import click
import pydantic

from dbguard import sidecar
from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.cli import output
from dbguard.cli.sidecar import find_brain
from dbguard.cli.verify import checked
from dbguard.cli.world import World
from dbguard.compose import Deletion
from dbguard.encryption import identities
from dbguard.errors import InternalError
from dbguard.freshness import Contents, Rules
from dbguard.guard.judging import judge, rely_on
from dbguard.guard.written import since
from dbguard.model import Verdict
from dbguard.since import Since

_DELETION = pydantic.TypeAdapter(Deletion)
_VERDICT = pydantic.TypeAdapter(Verdict)
_HELD = timedelta(days=7)
"""For how long an archive stays that a deletion relied on."""


class Judge:
    """See guard.Judge. Each project that the command would hurt is served by at most one sidecar."""

    def __init__(self, ctx: click.Context, world: World) -> None:
        self._ctx = ctx
        self._world = world

    def __call__(self, deletion: Deletion, *, before: Verdict | None = None, last: bool = False) -> Verdict:
        whole = sorted(volume.archive for volume in before.volumes if volume.archive) if before is not None else []
        brain = find_brain(self._ctx, self._world.containers, _project(self._world, deletion))
        if brain is None:
            return _judged_here(self._world, deletion, frozenset(whole), last=last)
        said: list[bytes] = []
        question = ["judge", _DELETION.dump_json(deletion).decode(), *whole, *(["--last"] if last else [])]
        code = sidecar.answer(self._world.containers, brain, question, out=said.append, message=output.say)
        if code != 0:
            sys.exit(code)
        try:
            return _VERDICT.validate_json(b"".join(said))
        except pydantic.ValidationError as error:
            raise InternalError(f"the sidecar {brain.name} gave no verdict: nothing is deleted") from error


@click.command("judge", hidden=True)
@click.argument("deletion")
@click.argument("whole", nargs=-1)
@click.option("--last", is_flag=True)
@click.pass_context
def judge_command(ctx: click.Context, deletion: str, whole: tuple[str, ...], last: bool) -> None:
    """Answer the guard's question for the host: a deletion as JSON in, a verdict as JSON out."""
    verdict = _judged_here(World(ctx), _DELETION.validate_json(deletion), frozenset(whole), last=last)
    click.echo(_VERDICT.dump_json(verdict))


class _Witness:
    """See judging.Witness."""

    def __init__(self, world: World) -> None:
        self._world = world

    def since(self, contents: Contents, archive: Archive) -> Since:
        return since(self._world.containers, self._world.settings, contents, archive)

    def verify(self, archive: Archive, catalog: Catalog) -> str:
        settings = self._world.settings
        output.say(output.printable(f"dbguard: nobody has verified {archive.id} of {archive.target} yet: doing it now"))
        check = checked(self._world, archive, catalog, identities(settings.identity_file))
        return "" if check.passed else str(check)


def _judged_here(world: World, deletion: Deletion, whole: frozenset[str], *, last: bool) -> Verdict:
    now, section = datetime.now(UTC), world.settings.guard
    catalogs = world.copies.catalogs
    verdict = judge(
        world.containers,
        catalogs,
        deletion,
        rules=Rules(
            require=section.require,
            recent=section.recent,
            others=section.others,
            ignore=frozenset(section.ignore),
        ),
        witness=_Witness(world),
        state=world.settings.state,
        now=now,
        whole=whole,
    )
    if last:  # also where another volume is refused here: the user may have named that one
        rely_on(catalogs, verdict, now + _HELD)
    if verdict.refused:
        names = ",".join(volume.volume for volume in verdict.refused)
        said = "; ".join(f"{volume.volume} ({volume.what}): {volume.reason}" for volume in verdict.refused)
        for trouble in world.teller("guard").once(f"guard refused to delete {names}", said, now):
            output.say(output.printable(trouble))
    return replace(verdict, on_delete=section.on_delete)


def _project(world: World, deletion: Deletion) -> str | None:
    """The compose project of the volumes; Compose deletes those of one project only."""
    for volume in deletion.volumes:
        if project := (world.containers.volume_labels(volume.name) or {}).get("com.docker.compose.project"):
            return project
    places = [place.project for volume in deletion.volumes for place in volume.places]
    return next(iter(places), world.scope.project)
