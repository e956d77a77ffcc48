"""What runs that were killed have left behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbguard.catalog import Catalog
from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.containers.onlooker import ROLE as ONLOOKER
from dbguard.containers.onlooker import SINCE
from dbguard.doctor.findings import Finding, ok, warning
from dbguard.errors import Busy, NotSetUp
from dbguard.lock import target_lock
from dbguard.model import Container, Login, Target, TargetName
from dbguard.prune import ABANDONED, begun, sweep
from dbguard.throwaway import ROLE

_SCRIPTS = r"""
for d in /proc/[0-9]*; do
  pid=${d#/proc/}
  [ "$pid" = "$PPID" ] && continue
  tr '\0' ' ' 2>/dev/null <"$d/cmdline" | grep -Eq ' dbguard [0-9a-f]{16} ' || continue
  kill -s "$1" -- "-$pid" 2>/dev/null && echo "$pid"
done
exit 0
"""
"""Finds our own script (see command.py) in the container, and signals the process group that each one leads."""

_A_LOOK = timedelta(minutes=10)
"""A container that only looks into a volume lives for seconds; one that copies it holds its target meanwhile."""


def in_storage(catalog: Catalog, clean: bool) -> Iterator[Finding]:
    """Archives without a manifest, and writes that never ended."""
    now = datetime.now(UTC)
    try:
        names = catalog.targets()
    except NotSetUp:
        return
    moments = [leftover.modified for leftover in begun(catalog)]
    moments += [unfinished.modified for name in names for unfinished in catalog.listing(name).unfinished]
    old = sum(now - moment > ABANDONED for moment in moments)
    if young := len(moments) - old:
        yield ok(catalog.url, f"{young} unfinished: being written, or left behind by a run that was killed")
    if old and not clean:
        yield warning(
            catalog.url,
            f"{old} unfinished since more than {ABANDONED.days} days",
            hint="`dbguard doctor --clean` removes them, and so does the next prune",
        )
    for what in (what for name in names for what in sweep(name, catalog=catalog, now=now)) if clean else ():
        yield ok(catalog.url, f"removed: {what}")


def in_container(containers: Containers, target: Target, state: Path, clean: bool) -> Iterator[Finding]:
    """Dumps that go on for nobody: no dbguard is at work on the target, and yet its script runs there."""
    if not _is_idle(target.name, state):
        return
    command = Command(argv=("sh", "-c", _SCRIPTS, "look", "TERM" if clean else "0"), login=Login())
    found = len(containers.run(target.container.id, command).stdout.split())
    if found and clean:
        yield ok(str(target.name), f"ended: {found} of our programs in its container, which nobody listened to")
    elif found:
        yield warning(
            str(target.name),
            f"{found} of our programs run in its container, and nobody on this host listens",
            hint="is another host at work on it? if not, `dbguard doctor --clean` ends them",
        )


def throwaways(containers: Containers, state: Path, clean: bool) -> Iterator[Finding]:
    """One that runs is in use: it ends with whoever started it."""
    for container in containers.list(stopped=True, label="=".join(ROLE)):
        if container.running:
            continue
        owner = container.labels.get("dbguard.target")
        if owner is not None and not _is_idle(TargetName.parse(owner), state):
            continue
        if clean:
            containers.remove(container.id)
            yield ok(container.name, "removed: a throw-away container that nobody used any more")
        else:
            yield warning(
                container.name, "a throw-away container that nobody uses", hint="`dbguard doctor --clean` removes it"
            )


def onlookers(containers: Containers, state: Path, clean: bool) -> Iterator[Finding]:
    """They never run, and the engine deletes no volume that one of them has."""
    for container in containers.list(stopped=True, label="=".join(ONLOOKER)):
        if _looks_still(container, state):
            continue
        if clean:
            containers.remove(container.id)
            yield ok(container.name, "removed: a container that looked into a volume for nobody any more")
        else:
            yield warning(
                container.name,
                f"a container that looks into {', '.join(map(str, container.mounts))} for nobody",
                hint="`dbguard doctor --clean` removes it; until then that volume cannot be deleted",
            )


def _looks_still(container: Container, state: Path) -> bool:
    owner = container.labels.get("dbguard.target")
    if owner is not None and not _is_idle(TargetName.parse(owner), state):
        return True
    try:
        since = datetime.fromisoformat(container.labels.get(SINCE, ""))
    except ValueError:
        return False
    return datetime.now(UTC) - since < _A_LOOK


def _is_idle(name: TargetName, state: Path) -> bool:
    try:
        with target_lock(state, name):
            return True
    except Busy:
        return False
