"""What follows a good backup: it is proven, missing copies are made, and the rules decide what goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from dbguard.backup import Outcome
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.copies import Copies
from dbguard.errors import Busy, DbguardError, told
from dbguard.mirror import repair
from dbguard.prune import prune, sweep
from dbguard.report import Report, quiet
from dbguard.verify import Check, verify

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """How it went. Neither kind of failure harms the archive that was just taken."""

    uncopied: list[str] = field(default_factory=list)  # copies that are still missing, the new archive's too
    unpruned: list[str] = field(default_factory=list)  # archives that should have gone and are still there


def prove(
    outcome: Outcome, *, containers: Containers, settings: Settings, say: Say, report: Report = quiet
) -> Check | None:
    """In the nearest storage, and what is encrypted with the key that only this run has. None where that is not wished
    for, and where nobody could tell, which `say` then says: a backup that is not proven is a backup all the same."""
    if settings.verify.when != "after-backup":
        return None
    keys = () if outcome.identity is None else (outcome.identity,)
    try:
        return verify(
            outcome.archive,
            catalog=outcome.saved[0],
            containers=containers,
            settings=settings,
            keys=keys,
            report=report,
        )
    except DbguardError as error:
        say(f"not verified: {told(error)}; the backup is good all the same")
        return None


def keep_up(outcome: Outcome, *, copies: Copies, settings: Settings, now: datetime, say: Say) -> Upkeep:
    """Only where the new archive has arrived is anything removed."""
    done = Upkeep(uncopied=_uncopied(outcome, copies, settings, now, say))
    name = outcome.archive.name
    for catalog in outcome.saved:
        try:
            pruned = prune(name, catalog=catalog, settings=settings, now=now)
            swept = sweep(name, catalog=catalog, now=now)
        except Busy:
            continue  # another run does it
        except DbguardError as refused:
            done.unpruned.append(str(refused))
            continue
        for archive in pruned.removed:
            say(f"removed {name}  {archive.id} from {catalog.url}: no rule keeps it")
        for what in swept:
            say(f"removed {what} from {catalog.url}")
        done.unpruned += [f"{archive_id} could not be removed: {why}" for archive_id, why in pruned.stuck.items()]
    return done


def _uncopied(outcome: Outcome, copies: Copies, settings: Settings, now: datetime, say: Say) -> list[str]:
    """Makes the copies that are missing, also those of this run where the storage answers. Says which still are."""
    new, name = outcome.archive.id, outcome.archive.name
    missing = {(new, url): f"not in {url}: {error}" for url, error in outcome.failed.items()}
    if len(copies.catalogs) == 1:
        return [*missing.values()]
    copies.note_down(outcome.failed)
    try:
        for stored, url, error in repair(name, copies=copies, settings=settings, now=now):
            if error is None:
                missing.pop((stored.id, url), None)
                say(f"copied  {name}  {stored.id} to {url}")
            else:
                missing[stored.id, url] = f"{stored.id} could not be copied to {url}: {error}"
    except DbguardError as error:
        missing["", ""] = f"nobody could see which copies are missing: {error}"
    return [*missing.values()]
