"""Which archive a command means."""

from __future__ import annotations

import contextlib
from datetime import datetime

from dbguard.archive import Archive
from dbguard.cli import output
from dbguard.cli.world import World
from dbguard.copies import Copied
from dbguard.errors import ArchiveDamaged, NotFound, StorageError
from dbguard.model import TargetName
from dbguard.suspicion import latest, unchecked


def newest(
    world: World, name: TargetName, *, whatever_was_checked: bool = False, until: datetime | None = None
) -> Copied:
    """The one that `latest` means, or would have meant at a time, or would mean if nothing had been checked. Says what
    it passes over, and which storage could not be asked."""
    merged = world.copies.listing(name)
    for error in merged.unreadable.values():
        output.say(f"warning: a newer one may be where nobody can look: {output.printable(str(error))}")
    for url, bad in merged.damaged:
        where = f" in {url}" if len(world.copies.catalogs) > 1 else ""
        output.say(f"skipped {bad.id}{where}: damaged: {bad.reason}")
    stored = [unchecked(one) for one in merged.stored] if whatever_was_checked else merged.stored
    if until is not None:
        stored = [one for one in stored if one.summary.snapshot <= until]
    chosen, skipped = latest(stored)
    for archive_id, why in skipped.items():
        output.say(f"skipped {archive_id}: {output.printable(why)}")
    if chosen is not None:
        return next(copied for copied in merged.archives if copied.stored.id == chosen.id)
    if merged.damaged and not merged.archives:
        raise ArchiveDamaged(f"every archive of {name} in {world.copies} is damaged")
    when = f" of {until:%Y-%m-%d %H:%M:%S %Z} or before" if until is not None else ""
    raise NotFound(f"no good archive of {name}{when} in {world.copies}", hint="`dbguard list` shows what there is")


def manifest(found: Copied) -> Archive:
    """From the first storage of those that hold it which still answers."""
    for catalog in found.catalogs[:-1]:
        with contextlib.suppress(StorageError, NotFound):
            return catalog.archive(found.stored.summary)
    return found.catalogs[-1].archive(found.stored.summary)
