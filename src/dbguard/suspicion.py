"""Which archives are far off their predecessors. Pure.

An empty server that came up after a disaster dumps well. Its archive must not become "the latest backup", nor the
reason why an older one goes. Only losses are suspicious: a database that grows is what everybody wants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dbguard.archive import Stored, Summary

_HALF = 0.5
_NEARLY_ALL = 0.9
_NOISE = 64 << 10
"""Bytes of SQL by which small databases may differ without anybody being told."""


def suspicious(archives: Sequence[Stored]) -> Mapping[str, tuple[str, ...]]:
    """Id and reasons of each archive of one target that nobody should rely on before a person confirms it.

    The reasons were found when it was taken, and are part of its manifest. To confirm one says that the database
    really is so, which settles those before it too.
    """
    settled = max((one.summary.snapshot for one in archives if one.marks.confirmed), default=None)
    return {
        one.id: one.summary.suspicious
        for one in archives
        if one.summary.suspicious and (settled is None or one.summary.snapshot > settled)
    }


def losses(archive: Summary, before: Sequence[Stored]) -> tuple[str, ...]:
    """What a new archive has lost since the newest one before it that can be relied on; of accounts that see less
    than all, only those that see the same are compared."""
    odd = suspicious(before)
    like = [
        one.summary for one in before if one.summary.partial_reasons == archive.partial_reasons and one.id not in odd
    ]
    newest = max(like, key=lambda one: one.snapshot, default=None)
    return tuple(_losses(archive, newest)) if newest is not None else ()


def _losses(now: Summary, before: Summary) -> list[str]:
    moved = now.identity != before.identity
    share, of_what = (1.0, "of another server, with fewer") if moved else (_HALF, "less than half the")
    losses = []
    if now.tables < before.tables * share:
        losses.append(f"{of_what} tables: {now.tables}, before {before.tables}")
    if now.rows is not None and before.rows is not None and now.rows < before.rows * share:
        losses.append(f"{of_what} rows: {now.rows}, before {before.rows}")
    lost = before.plain_size - now.plain_size
    if lost > _NOISE and now.plain_size < before.plain_size * (_NEARLY_ALL if moved else _HALF):
        losses.append(f"{of_what} bytes of SQL: {now.plain_size}, before {before.plain_size}")
    return losses


def unchecked(archive: Stored) -> Stored:
    """As if nobody had ever verified it."""
    return replace(archive, marks=replace(archive.marks, verified=None))


def latest(archives: Sequence[Stored]) -> tuple[Stored | None, Mapping[str, str]]:
    """The archive that "the latest backup" means: the newest complete one that is not suspicious and whose check did
    not fail; a partial one only where there is no other. And each newer one that is passed over, with the reason."""
    newest_first = sorted(archives, key=lambda one: one.id, reverse=True)
    odd = suspicious(archives)
    skipped: dict[str, str] = {}
    sound = [one for one in newest_first if one.id not in odd and not one.marks.failed]
    chosen = next((one for one in sound if one.summary.complete), next(iter(sound), None))
    for one in newest_first:
        if chosen is not None and one.id <= chosen.id:
            break
        if one.marks.failed:
            skipped[one.id] = "its check failed"
        elif one.id in odd:
            skipped[one.id] = f"suspicious: {'; '.join(odd[one.id])} (`dbguard confirm {one.id}` if it is right)"
        else:
            skipped[one.id] = f"partial: {'; '.join(one.summary.partial_reasons)}"
    return chosen, skipped
