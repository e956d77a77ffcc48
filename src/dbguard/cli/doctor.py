"""`dbguard doctor`."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.doctor import examine
from dbguard.doctor.findings import Finding
from dbguard.doctor.shims import look_at
from dbguard.errors import DbguardError
from dbguard.shim.places import Surroundings
from dbguard.sidecar import ANSWERING

_SHOWN = {"ok": "ok", "warning": "WARN", "failed": "FAIL"}


@click.command("doctor")
@click.option("--project", help="The compose project; by default that of the working directory.")
@click.option("--clean", is_flag=True, help="Remove what was left behind and nobody needs any more.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON on stdout.")
@click.pass_context
def doctor_command(ctx: click.Context, project: str | None, clean: bool, as_json: bool) -> None:
    """Look at the engine, each database, each storage and what earlier runs have left behind.

    Exits with 1 when something is wrong; warnings do not count.

    \b
    dbguard doctor
    dbguard doctor --clean
    """
    shims = [] if os.environ.get(ANSWERING) else [*look_at(Surroundings.here())]
    ctx.obj["shims"] = shims
    if not as_json:
        for finding in shims:
            _print(finding)
    _examine(ctx, project=project, clean=clean, as_json=as_json)


@answered_by_sidecar
def _examine(ctx: click.Context, *, project: str | None, clean: bool, as_json: bool) -> None:
    """Where a sidecar answers, this host's own shims are looked at here all the same."""
    world = World(ctx, project)
    found: list[Finding] = list(ctx.obj["shims"])
    for finding in examine(world.containers, world.sightings, world.copies.catalogs, world.settings, clean=clean):
        found.append(finding)
        if not as_json:
            _print(finding)
    failed = [finding for finding in found if finding.state == "failed"]
    if as_json:
        output.emit({"healthy": not failed, "findings": [asdict(finding) for finding in found]})
    if failed:
        raise DbguardError(f"{output.count(len(failed), 'thing')} to mend: {', '.join(one.about for one in failed)}")


def _print(finding: Finding) -> None:
    line = f"{_SHOWN[finding.state]:<5} {finding.about}: {finding.text}"
    click.echo(output.printable(line))
    if finding.hint:
        click.echo(output.printable(f"      hint: {finding.hint}"))
