"""Dump a target's databases into the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from dbguard import inventory, layout, manifest, sql
from dbguard.accounts import Accounts, read
from dbguard.archive import Archive, Blob, Owner, Stored, Summary, new_archive_id
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.connections import Sessions
from dbguard.containers import Containers
from dbguard.copies import Round
from dbguard.ddl import tables_held
from dbguard.dumping import Dump
from dbguard.encryption import Keys, recipients
from dbguard.errors import (
    ArchiveDamaged,
    DbguardError,
    DumpFailed,
    ExecFailed,
    NotFound,
    NothingToDump,
    QueryFailed,
    StorageError,
)
from dbguard.intake import Intake, store
from dbguard.inventory import Inventory
from dbguard.lock import target_lock
from dbguard.model import Progress, Target
from dbguard.obstacles import Obstacle
from dbguard.report import Report, Throttled, quiet
from dbguard.suspicion import losses
from dbguard.swap.recovery import recover


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for beyond the defaults."""

    databases: tuple[str, ...] = ()  # empty: all
    skip_invalid_views: bool = False
    counts: bool = True
    adopt: bool = False
    verify: bool = True  # where the settings say so


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished backup: where it is, and which copies failed."""

    archive: Archive
    saved: tuple[Catalog, ...]
    failed: Mapping[str, DbguardError]  # by the storage's URL
    identity: Any = field(default=None, repr=False)
    """The one-time key that opens this archive, where it is encrypted; nowhere else, and gone with this object."""


def back_up(
    target: Target,
    *,
    containers: Containers,
    catalogs: Sequence[Catalog],
    settings: Settings,
    wish: Wish,
    report: Report = quiet,
) -> Outcome:
    """Takes one archive of one target, and publishes it when everything about it is proven.

    One pass writes to all storages, and each commits on its own. Raises DumpFailed, StorageError or Busy when
    nothing was published anywhere.
    """
    with target_lock(settings.state, target.name):
        recovered = recover(target, containers, settings) if target.server.unfinished else []
        started = datetime.now(UTC)
        owner = Owner(engine_id=containers.engine_id, project=target.name.project, service=target.name.service)
        keys, identity = _keys(settings)
        archive_id = new_archive_id(started)
        round_ = Round(catalogs, target.name, archive_id)
        round_.each(lambda catalog: catalog.prepare(owner, adopt=wish.adopt))
        before = _before(round_, target)
        with _all_or_nothing(round_), _explained(target):
            sessions = Sessions(containers, target)
            with tables_held(containers, sessions, target, settings.block_ddl) as held:
                found = _what(target, held.asking, wish)
                accounts = None if wish.databases else read(sql.session(containers, target), target.server)
                blobs = [_store(accounts, round_, settings.level, keys)] if accounts and accounts.script else []
                with round_.create(data := layout.data(encrypted=keys is not None)) as out:
                    dump = Dump(target, containers, sessions, settings, found, counts=wish.counts)
                    with contextlib.closing(Intake(out, packed=dump.packed, level=settings.level, keys=keys)) as intake:
                        dumped = dump.take(intake, held, _listener(target, before, report))
            archive = manifest.describe(
                target,
                archive_id=archive_id,
                owner=owner,
                times=manifest.Times(started=started, snapshot=dumped.snapshot, finished=datetime.now(UTC)),
                dumped=dumped,
                left_out=found.invalid_views,
                only=wish.databases,
                no_accounts=accounts.skipped if accounts else (),
                blobs=[intake.blob(data), *blobs],
                largest_statement=intake.checker.largest_statement,
            )
            archive = replace(
                archive,
                warnings=(*archive.warnings, *recovered),
                suspicious=losses(archive.summary, before),
            )
            round_.publish(archive)
        return Outcome(archive=archive, saved=tuple(round_.alive), failed=round_.failed, identity=identity)


@contextlib.contextmanager
def _explained(target: Target) -> Iterator[None]:
    """Says which target it was; and what its account lacks, as that may be why."""
    try:
        yield
    except (ExecFailed, QueryFailed, NotFound, ArchiveDamaged) as error:
        if str(target.name) in str(error):
            raise
        hint = error.hint or "; ".join(target.server.blind_spots) or "nothing was published"
        raise DumpFailed(f"{target.name}: {error}", hint=hint) from error


def _store(accounts: Accounts, round_: Round, level: int, keys: Keys | None) -> Blob:
    name = layout.accounts(encrypted=keys is not None)
    with round_.create(name) as out:
        return store(accounts.script, out, name, level=level, keys=keys)


def _keys(settings: Settings) -> tuple[Keys | None, Any]:
    keys = recipients(settings.recipients, settings.recipients_file)
    return keys.with_one_time_key() if keys is not None else (None, None)


def _before(round_: Round, target: Target) -> list[Stored]:
    """The archives there are, newest first; and room for one more like the newest in each storage."""
    found: dict[str, Stored] = {}

    def look(catalog: Catalog) -> None:
        archives = catalog.listing(target.name).archives
        _check_room(catalog, archives[0].summary if archives else None)
        found.update({archive.id: archive for archive in archives})

    round_.each(look)
    return sorted(found.values(), key=lambda archive: archive.id, reverse=True)


# --- what to dump ---


def _what(target: Target, asking: sql.Asking, wish: Wish) -> Inventory:
    """The databases to dump, with the views to leave out. Raises when something in them cannot be dumped."""
    found = inventory.take(asking, target.server)
    names = [database.name for database in found.databases]
    if missing := sorted(set(wish.databases) - set(names)):
        raise NotFound(f"{target.name}: there is no database {', '.join(missing)}")
    found = found.only(wish.databases or names)
    if not found.databases:
        raise NothingToDump(f"{target.name}: there is no database to back up", hint="system databases are never dumped")
    if found.invalid_views and not wish.skip_invalid_views:
        raise DumpFailed(
            f"{target.name}: these views cannot be dumped and loaded again: {_listed(found.invalid_views)}",
            hint="repair or drop them, or leave them out with --skip-invalid-views",
        )
    if found.obstacles:
        raise DumpFailed(
            f"{target.name}: these cannot be dumped and loaded again: {_listed(found.obstacles)}",
            hint="change their text so; this server's dump program has no way round it",
        )
    return found


def _listed(obstacles: Sequence[Obstacle]) -> str:
    return "; ".join(map(str, obstacles))


def _check_room(catalog: Catalog, previous: Summary | None) -> None:
    free = catalog.free()
    if previous is not None and free is not None and free < previous.size:
        raise StorageError(
            f"{catalog.url}: {free} bytes are free, the last archive took {previous.size}",
            hint="make room, or keep fewer archives",
        )


@contextlib.contextmanager
def _all_or_nothing(round_: Round) -> Iterator[None]:
    try:
        yield
    except BaseException:
        round_.discard()
        raise


def _listener(target: Target, before: Sequence[Stored], report: Report) -> Callable[[Intake], None]:
    """Reports how far a dump is, measured by the previous archive."""
    total = before[0].summary.plain_size if before else None
    throttled = Throttled(report)

    def listen(intake: Intake) -> None:
        throttled(
            lambda: Progress(
                target=str(target.name),
                phase="dumping",
                done=intake.plain.size,
                total=total,
                stored=intake.stored.size,
                current=intake.checker.current,
            )
        )

    return listen
