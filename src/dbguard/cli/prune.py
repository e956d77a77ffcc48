"""`dbguard prune`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from dbguard.catalog import Catalog
from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.errors import DbguardError, NotFound, NotSetUp, Partly, PruneRefused, UsageError
from dbguard.model import TargetName
from dbguard.prune import Pruned, plan, prune, sweep
from dbguard.retention import Plan


@click.command("prune")
@click.argument("target", required=False)
@click.option("--dry-run", is_flag=True, help="Print what would go and what stays, and why; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, also when most would go.")
@click.option("--json", "as_json", is_flag=True, help="The decisions as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def prune_command(ctx: click.Context, target: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the archives of TARGET, or of all, that no rule keeps.

    The rules are keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly and keep_within. Without
    any, nothing goes. The last good archive never goes, nor a held one, nor what is older than a suspicious one.

    \b
    dbguard prune --dry-run
    dbguard prune shop/db --yes
    """
    world = World(ctx, read_only=dry_run)
    now = datetime.now(UTC)
    names = world.stored_target(target)
    if target is not None and not names:
        raise NotFound(f"no archives of {target} in {world.copies}", hint="`dbguard list` shows all of them")
    plans = list(_plans(world, names, now))
    if as_json:
        output.emit({"dry_run": dry_run, "plans": [_facts(*one) for one in plans]})
    else:
        output.table(("ID", "TARGET", "STORAGE", "DECISION", "WHY"), [row for one in plans for row in _rows(*one)])
    for name, catalog, decided in plans:
        if decided.refusal:
            output.say(f"{name} in {catalog.url}: nothing goes: {decided.refusal}")
    if dry_run:
        return
    _ask(sum(len(decided.remove) for _, _, decided in plans), yes=yes)
    _carry_out(world, plans, now)


def _plans(world: World, names: list[TargetName], now: datetime) -> Iterator[tuple[TargetName, Catalog, Plan]]:
    for name in names:
        for catalog in world.copies.catalogs:
            try:
                yield name, catalog, plan(name, catalog, world.settings, now)
            except NotSetUp:
                continue  # nothing was ever written there


def _ask(count: int, *, yes: bool) -> None:
    if yes or not count:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="give --yes in scripts, or --dry-run to see the plan")
    output.confirm_removal()


def _carry_out(world: World, plans: list[tuple[TargetName, Catalog, Plan]], now: datetime) -> None:
    """One after the other: what fails for one target or storage neither stops nor hides the rest."""
    failed: list[DbguardError] = []
    for name, catalog, shown in plans:
        if shown.refusal:
            failed.append(PruneRefused(f"{name} in {catalog.url}: {shown.refusal}"))
            continue
        try:
            pruned = prune(name, catalog=catalog, settings=world.settings, now=now, shown=shown, sure=True)
            swept = sweep(name, catalog=catalog, now=now)
        except DbguardError as error:
            failed.append(error)
            output.say(f"failed  {output.printable(str(error))}")
            continue
        failed += pruned.stuck.values()
        for line in _told(name, catalog, pruned, swept):
            output.say(output.printable(line))
    if len(failed) == 1 and len(plans) == 1:
        raise failed[0]
    if failed:
        raise Partly(
            f"{output.count(len(failed), 'removal')} failed",
            hint="of these something is still there; the next prune tries again",
        )


def _told(name: TargetName, catalog: Catalog, pruned: Pruned, swept: list[str]) -> Iterator[str]:
    yield from (f"removed {name}  {archive.id} from {catalog.url}" for archive in pruned.removed)
    yield from (f"removed {what} from {catalog.url}" for what in swept)
    yield from (f"failed  {archive_id} is still there: {why}" for archive_id, why in pruned.stuck.items())


def _rows(name: TargetName, catalog: Catalog, decided: Plan) -> Iterator[tuple[str, ...]]:
    rows = [(one.archive.id, "keep", one.reasons) for one in decided.keep]
    rows += [(one.archive.id, "remove", one.reasons) for one in decided.remove]
    for archive_id, decision, reasons in sorted(rows, reverse=True):
        yield archive_id, str(name), catalog.url, decision, ", ".join(reasons)


def _facts(name: TargetName, catalog: Catalog, decided: Plan) -> dict[str, object]:
    return {
        "target": str(name),
        "storage": catalog.url,
        "refusal": decided.refusal,
        "keep": [{"id": one.archive.id, "reasons": list(one.reasons)} for one in decided.keep],
        "remove": [{"id": one.archive.id, "reasons": list(one.reasons)} for one in decided.remove],
    }
