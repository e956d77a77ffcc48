"""Carry out a retention plan, and sweep up what runs that were killed have left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbguard import retention
from dbguard.archive import Entry, Stored
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.errors import DbguardError, PruneRefused, StorageError, StorageUnavailable
from dbguard.habits import remembered
from dbguard.lock import target_lock
from dbguard.model import TargetName
from dbguard.retention import Plan

ABANDONED = timedelta(days=7)
"""After so long nobody is still writing it, our clock against the storage's. Should one be wrong: a backup whose data
was swept away under it fails, see Catalog.publish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went. `stuck` names those that the storage would not let go, and why: of those something is still there."""

    removed: tuple[Stored, ...]
    stuck: Mapping[str, DbguardError]


def plan(name: TargetName, catalog: Catalog, settings: Settings, now: datetime) -> Plan:
    """What the rules say of one target's good archives in one storage."""
    archives = catalog.listing(name).archives
    rules = remembered(settings, name, archives)
    return retention.plan(archives, rules.policy(catalog.url), now=now, zone=rules.zone)


def prune(
    name: TargetName,
    *,
    catalog: Catalog,
    settings: Settings,
    now: datetime,
    shown: Plan | None = None,
    sure: bool = False,
) -> Pruned:
    """Removes what the rules do not keep, and of that only what was `shown`; damaged archives are left alone.

    Raises PruneRefused when a clock cannot be right, or when most would go and nobody said that this is meant.
    """
    with target_lock(settings.state, name):
        decided = plan(name, catalog, settings, now)
        if decided.refusal:
            raise PruneRefused(f"{name} in {catalog.url}: {decided.refusal}", hint="nothing was removed; set the clock")
        if decided.sweeping and not sure:
            raise PruneRefused(
                f"{name} in {catalog.url}: the rules would remove {len(decided.remove)} archives and keep "
                f"{len(decided.keep)}: nothing was removed",
                hint=f"look with `dbguard prune {name} --dry-run`; if it is meant, `dbguard prune {name} --yes`",
            )
        allowed = {decision.archive.id for decision in (shown or decided).remove}
        return _removed(catalog, [one.archive for one in decided.remove if one.archive.id in allowed])


def _removed(catalog: Catalog, archives: list[Stored]) -> Pruned:
    """Oldest first, so that one that is cut short leaves the younger ones."""
    removed: list[Stored] = []
    stuck: dict[str, DbguardError] = {}
    for archive in reversed(archives):
        try:
            catalog.forget(archive.summary)
        except DbguardError as error:
            stuck[archive.id] = error
        else:
            removed.append(archive)
    return Pruned(removed=tuple(removed), stuck=stuck)


def sweep(name: TargetName, *, catalog: Catalog, now: datetime) -> list[str]:
    """Removes what of this target was begun and never finished, when it is old enough; says what went."""
    gone: list[str] = []
    for unfinished in catalog.listing(name).unfinished:
        if now - unfinished.modified > ABANDONED:
            catalog.forget(unfinished)
            gone.append(f"unfinished archive {unfinished.target}/{unfinished.id}")
    for leftover in begun(catalog):
        if leftover.key.startswith(f"{name}/") and now - leftover.modified > ABANDONED:
            catalog.storage.clear(leftover)
            gone.append(f"unfinished write of {leftover.key}")
    return gone


def begun(catalog: Catalog) -> list[Entry]:
    """Writes that have not ended; none where the storage cannot list them, which `dbguard doctor` then says."""
    try:
        return [*catalog.storage.leftovers()]
    except StorageUnavailable:
        raise
    except StorageError:
        return []
