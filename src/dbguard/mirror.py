"""Make the copies that an earlier run could not make."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from dbguard import retention
from dbguard.archive import Archive, Blob, Stored
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.copies import Copied, Copies
from dbguard.errors import AlreadyExists, DbguardError
from dbguard.habits import remembered
from dbguard.layout import MANIFEST
from dbguard.model import TargetName
from dbguard.storages import Storage, read_whole
from dbguard.suspicion import suspicious


def missing(copied: Sequence[Copied], here: Sequence[Stored], kept: set[str]) -> list[Copied]:
    """Of the archives in any storage those that one storage should have and has not, oldest first.

    It should have what its own rules would keep, from its oldest archive on: what is older was pruned, or the
    storage was added later. An empty one gets the newest.
    """
    ids = {stored.id for stored in here}
    since = min(ids, default=max((one.stored.id for one in copied), default=""))
    return [
        one for one in reversed(copied) if one.stored.id >= since and one.stored.id in kept and one.stored.id not in ids
    ]


def repair(
    name: TargetName, *, copies: Copies, settings: Settings, now: datetime
) -> Iterator[tuple[Stored, str, DbguardError | None]]:
    """Copies what is missing, and says of each archive and storage whether that went well."""
    merged = copies.listing(name)
    rules = remembered(settings, name, merged.stored)
    for catalog in copies.catalogs:
        if catalog.url not in merged.listings:
            continue
        odd = suspicious(merged.stored)  # they keep what is older where it is: no reason to bring it back
        sound = [one for one in merged.stored if one.id not in odd]
        seen = _as_seen_by(merged.listings[catalog.url].archives, sound)
        plan = retention.plan(seen, rules.policy(catalog.url), now=now, zone=rules.zone)
        if plan.refusal:
            continue
        kept = {decision.archive.id for decision in plan.keep} | odd.keys()
        damaged = {bad.id for bad in merged.listings[catalog.url].damaged}
        for one in missing(merged.archives, merged.listings[catalog.url].archives, kept - damaged):
            try:
                copy(one.stored, one.catalogs[0], catalog, now)
            except DbguardError as error:
                yield one.stored, catalog.url, error
            else:
                yield one.stored, catalog.url, None


def _as_seen_by(here: Sequence[Stored], everywhere: Sequence[Stored]) -> list[Stored]:
    """Checks are of one copy: what was verified elsewhere is no reason to keep it here."""
    verified = {stored.id: stored.marks.verified for stored in here}
    return [replace(one, marks=replace(one.marks, verified=verified.get(one.id))) for one in everywhere]


def copy(stored: Stored, source: Catalog, to: Catalog, now: datetime) -> None:
    """The same archive in another storage, its data checked on the way, its manifest last.

    What was copied before a failure stays, unfinished: it may be another host's by then, and the next try uses it.
    """
    summary = stored.summary
    archive = source.archive(summary)
    for blob in archive.blobs.values():
        _copy_blob(archive, blob, source, to)
    for said, kind in ((stored.marks.held, "hold"), (stored.marks.confirmed, "confirm")):
        if said:
            with contextlib.suppress(AlreadyExists):
                to.mark(summary, kind, now)  # type: ignore[arg-type]
    _copy_manifest(f"{summary.target}/{summary.id}/{MANIFEST}", source.storage, to.storage)


def _copy_blob(archive: Archive, blob: Blob, source: Catalog, to: Catalog) -> None:
    """Takes over what a run that was cut short, or another host, has put there; raises ArchiveDamaged when it is not
    what it should be."""
    try:
        with to.create(archive.name, archive.id, blob.key) as out:
            for chunk in source.chunks(archive, blob):
                out.write(chunk)
    except AlreadyExists:
        deque(to.chunks(archive, blob), maxlen=0)


def _copy_manifest(key: str, source: Storage, to: Storage) -> None:
    """As it is: a newer dbguard may have written more into it than this one understands."""
    text = read_whole(source, key)
    with to.create(key) as out:
        out.write(text)
