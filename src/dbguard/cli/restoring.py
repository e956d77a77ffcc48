"""What the forms of `dbguard restore` have in common: which archive, into which server, after which question."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Protocol

from dbguard.backup import Wish, back_up
from dbguard.cli import output
from dbguard.cli.choosing import newest
from dbguard.cli.world import World
from dbguard.copies import Copied
from dbguard.errors import NotFound, UsageError
from dbguard.lock import target_lock
from dbguard.model import Target, TargetName
from dbguard.report import Report
from dbguard.swap.recovery import recover


class Shown(Protocol):
    """What some form of restore would do."""

    def lines(self) -> list[str]:
        """For a person."""
        ...

    def facts(self) -> dict[str, object]:
        """For a program."""
        ...


def moment(world: World, at: str | None) -> datetime | None:
    """Of `--at`. Raises UsageError."""
    if at is None:
        return None
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise UsageError(f"{at!r} is no time", hint="write it as 2026-11-24T03:00 or 2026-11-24T03:00+01:00") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=world.settings.timezone)


def save(world: World, target: Target, report: Report) -> None:
    """What is there now, held until somebody releases it."""
    outcome = back_up(
        target,
        containers=world.containers,
        catalogs=world.copies.catalogs,
        settings=world.settings,
        wish=Wish(),
        report=report,
    )
    for catalog in outcome.saved:
        catalog.mark(outcome.archive.summary, "hold", datetime.now(UTC))
    archive_id = outcome.archive.id
    output.say(
        f"saved   what is there now as {archive_id}, and held; when you need it no more: dbguard release {archive_id}"
    )


def stored(world: World, wanted: str | None, archive_id: str | None, until: datetime | None) -> Copied:
    """The archive that is meant."""
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
    return newest(world, names[0], until=until)


def running(world: World, wanted: str, *, finish: bool) -> Target:
    """With `finish` a restore that was cut short there is brought to its end first."""
    try:
        target = world.target(wanted)
        return _finished(world, target) if finish and target.server.unfinished else target
    except NotFound as error:
        service = TargetName.parse(wanted).service
        raise NotFound(str(error), hint=f"start it: docker compose up -d --no-deps {service}") from error


def show(todo: Shown, *, as_json: bool) -> None:
    """The plan, before the question."""
    for line in todo.lines():
        output.say(output.printable(line))
    if as_json:
        output.emit(todo.facts())


def ask(*, yes: bool, replace: bool) -> None:
    """Raises UsageError where nobody can answer, DbguardError when the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="give --yes in scripts, or --dry-run to see the plan")
    output.confirm(replace=replace)


def _finished(world: World, target: Target) -> Target:
    with target_lock(world.settings.state, target.name):
        for what in recover(target, world.containers, world.settings):
            output.say(output.printable(what))
    return world.target(str(target.name))
