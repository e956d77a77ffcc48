"""May all these volumes be deleted? What is on them, and which archives say so."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from dbguard.archive import Archive, Stored
from dbguard.catalog import Catalog
from dbguard.compose import Deletion
from dbguard.containers import Containers
from dbguard.errors import (
    ArchiveDamaged,
    DbguardError,
    InternalError,
    NoKey,
    NotFound,
    NotSetUp,
    NotVerified,
    StorageUnavailable,
)
from dbguard.freshness import Backups, Contents, Rules, candidates, decide, relied_on
from dbguard.guard.contents import look
from dbguard.lock import target_lock
from dbguard.model import TargetName, Verdict, VolumeVerdict
from dbguard.scope import own_container
from dbguard.since import Since

_MOST = 3
"""Archives of one volume that are asked about: an older one says nothing that a newer one would not."""


class Witness(Protocol):
    """Who finds out what no listing shows."""

    def since(self, contents: Contents, archive: Archive) -> Since:
        """What was written to this server after the archive."""
        ...

    def verify(self, archive: Archive, catalog: Catalog) -> str:
        """Why it cannot be relied on, found by loading it; empty when it can. Raises DbguardError when nobody knows."""
        ...


def judge(
    containers: Containers,
    catalogs: Sequence[Catalog],
    deletion: Deletion,
    *,
    rules: Rules,
    witness: Witness,
    state: Path,
    now: datetime,
    whole: frozenset[str] = frozenset(),
) -> Verdict:
    """Decided for each by `freshness.decide`; those that do not exist are left out. Archives in `whole` were read
    a moment ago.

    Raises StorageUnavailable, never "no backup", when a storage that might hold the proof cannot be read, and Busy
    while one of the targets is backed up.
    """
    if deletion.engine_id != containers.engine_id:
        raise InternalError(f"asked about engine {deletion.engine_id}, but this is {containers.engine_id}")
    homes = [home for catalog in catalogs for home in _homes(containers, catalog.url)]
    with contextlib.ExitStack() as stack:
        found = [
            look(containers, doomed, deletion, folder, homes, stack)
            for doomed in deletion.volumes
            if (folder := containers.volume_folder(doomed.name)) is not None
        ]
        for name in sorted({contents.targets[0] for contents in found if contents.identity and contents.targets}):
            stack.enter_context(target_lock(state, name))
        judged = _Judging(catalogs, rules, witness, now, whole)
        return Verdict(volumes=tuple(map(judged.volume, found)))


def _homes(containers: Containers, url: str) -> Iterator[str]:
    """Where the archives lie: the folder itself and, in a sidecar, the volume that is mounted there."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return
    folder = PurePosixPath(unquote(parts.path))
    yield str(folder)
    own = own_container(containers)
    for mount in own.mounts if own is not None else ():
        if mount.name and folder.is_relative_to(mount.destination):
            yield mount.name


T = TypeVar("T")


class _Judging:
    def __init__(
        self, catalogs: Sequence[Catalog], rules: Rules, witness: Witness, now: datetime, whole: frozenset[str]
    ) -> None:
        self._catalogs = catalogs
        self._rules = rules
        self._witness = witness
        self._now = now
        self._whole = whole

    def volume(self, contents: Contents) -> VolumeVerdict:
        """One readable storage with a good backup is enough; without one, each must be readable to say so."""
        backups, failure = Backups(), None
        if contents.identity and not contents.kept_by and not contents.waived:
            backups, failure = self._stored(contents.targets)
            backups = self._asked(contents, backups)
        while stored := relied_on(contents, backups, self._rules, self._now):
            why_not = self._why_not(stored)
            if not why_not:
                backups = replace(backups, archives=[_verified(one, stored) for one in backups.archives])
                break
            backups = replace(backups, damaged={**backups.damaged, stored.id: why_not})
        verdict = decide(contents, backups, rules=self._rules, now=self._now)
        if failure is not None and not verdict.allowed:
            raise failure
        return verdict

    def _stored(self, targets: Sequence[TargetName]) -> tuple[Backups, DbguardError | None]:
        archives: dict[str, Stored] = {}
        damaged: dict[str, str] = {}
        failure: DbguardError | None = None
        for catalog in self._catalogs:
            try:
                listings = [catalog.listing(target) for target in targets or catalog.targets()]
            except NotSetUp:
                continue  # nobody remembers that it was ever used: never backed up
            except DbguardError as error:
                failure = error
                continue
            for listing in listings:
                damaged |= {bad.id: bad.reason for bad in listing.damaged}
                damaged |= {one.id: "its check failed" for one in listing.archives if one.marks.failed}
                for one in listing.archives:
                    if not one.marks.failed and not (one.id in archives and archives[one.id].marks.verified):
                        archives[one.id] = one
        newest_first = sorted(archives.values(), key=lambda one: one.id, reverse=True)
        bad = {archive_id: reason for archive_id, reason in damaged.items() if archive_id not in archives}
        return Backups(archives=newest_first, damaged=bad), failure

    def _asked(self, contents: Contents, backups: Backups) -> Backups:
        """With what was written since the newest archives."""
        since: dict[str, Since] = {}
        for stored in list(candidates(contents, backups, self._now))[:_MOST]:
            try:
                said = self._copy(stored, lambda _, archive: self._witness.since(contents, archive))
            except (ArchiveDamaged, NotFound) as error:
                said = Since.unknown(str(error))
            since[stored.id] = said
            if said.unchanged:
                break
        return replace(backups, since=since)

    def _why_not(self, stored: Stored) -> str:
        """Reads the archive that would be relied on, and verifies it if nobody has: a listing shows its size, only
        reading shows its bytes."""
        try:
            if stored.id not in self._whole:
                self._copy(stored, _read)
            if stored.marks.verified or self._rules.require == "complete":
                return ""
            return self._copy(stored, lambda catalog, archive: self._witness.verify(archive, catalog))
        except (ArchiveDamaged, NotFound, NotVerified, NoKey) as error:
            return str(error)

    def _copy(self, stored: Stored, act: Callable[[Catalog, Archive], T]) -> T:
        """With the first copy that it can be done with; else raises why not, an unreadable storage before all."""
        errors: list[DbguardError] = []
        for catalog in self._catalogs:
            try:
                return act(catalog, catalog.archive(stored.summary))
            except (ArchiveDamaged, NotFound, StorageUnavailable) as error:
                errors.append(error)
        raise next((error for error in errors if isinstance(error, StorageUnavailable)), errors[-1])


def _verified(one: Stored, proven: Stored) -> Stored:
    return replace(one, marks=replace(one.marks, verified=True)) if one.id == proven.id else one


def _read(catalog: Catalog, archive: Archive) -> None:
    for blob in archive.blobs.values():
        deque(catalog.chunks(archive, blob), maxlen=0)


def rely_on(catalogs: Sequence[Catalog], verdict: Verdict, until: datetime) -> None:
    """The archives that allow it stay until then, whatever the rules say, in every storage that has them."""
    for volume in verdict.volumes:
        for catalog in catalogs if volume.archive else ():
            with contextlib.suppress(StorageUnavailable):
                for stored in catalog.listing(TargetName.parse(volume.target)).archives:
                    if stored.id == volume.archive:
                        catalog.mark(stored.summary, "relied", until)
