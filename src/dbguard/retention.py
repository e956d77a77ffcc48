"""Which archives to keep, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbguard.archive import Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which archives to keep. Nothing set keeps everything."""

    keep_last: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    archive: Archive
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Retention's answer."""

    keep: tuple[Kept, ...]
    remove: tuple[Archive, ...]


def plan(archives: Sequence[Archive], policy: Policy) -> Plan:
    """What `policy` keeps and removes of the good archives of one target.

    The newest is always kept; so is the newest complete one, of this server and of each that had its name before:
    an empty server started after a disaster must not push the last good archive out. Complete and partial
    archives are counted apart, so that neither pushes the other out. A policy with nothing set removes nothing.
    """
    newest_first = sorted(archives, key=lambda archive: archive.id, reverse=True)
    reasons: dict[str, list[str]] = {archive.id: [] for archive in newest_first}
    complete = [archive for archive in newest_first if archive.complete]
    if newest_first:
        reasons[newest_first[0].id].append("newest")
    newest_of = {archive.source.identity: archive for archive in reversed(complete)}
    for archive in newest_of.values():
        own = archive is complete[0]
        reasons[archive.id].append("newest complete" if own else "newest complete of another server")
    if policy.keep_last is None:
        for archive in newest_first:
            reasons[archive.id].append("no rule set")
    partial = [archive for archive in newest_first if not archive.complete]
    for word, group in (("last", complete), ("last partial", partial)):
        for count, archive in enumerate(group[: policy.keep_last or 0], start=1):
            reasons[archive.id].append(f"{word} {count}")
    return Plan(
        keep=tuple(Kept(archive=a, reasons=tuple(reasons[a.id])) for a in newest_first if reasons[a.id]),
        remove=tuple(a for a in newest_first if not reasons[a.id]),
    )
