"""Where archives live: manifests, publish, list, forget.

An archive *is* its manifest: the manifest is written last and deleted first, so that what is listed is whole.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dbguard import layout, owners
from dbguard.archive import FORMAT, Archive, Blob, Entry, Owner, Stored, Summary, is_archive_id
from dbguard.cache import SummaryCache
from dbguard.errors import (
    AlreadyExists,
    ArchiveDamaged,
    DbguardError,
    DumpFailed,
    NewerFormat,
    NotFound,
    NotSetUp,
    StorageError,
    StorageUnavailable,
)
from dbguard.layout import MANIFEST, ROOT_MARK
from dbguard.model import TargetName
from dbguard.reader import ManifestReader, written
from dbguard.state import KnownStorages
from dbguard.storages import Storage, Writer, read_whole
from dbguard.stream import CHUNK, Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An archive that cannot be relied on: listed, never counted as good, never deleted in silence."""

    target: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Data without a manifest: being written, or left behind by a run that was killed."""

    target: str
    id: str
    size: int
    modified: datetime  # by the storage's clock, the newest of its files


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Of one target in one storage, newest first."""

    archives: tuple[Stored, ...] = ()
    damaged: tuple[Damaged, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()


class Catalog:
    """The archives in one storage."""

    def __init__(self, storage: Storage, state: Path) -> None:
        """`state` remembers, outside the storage, which storages have been used before, and what was read there."""
        self.storage = storage
        self._known = KnownStorages(state)
        self._reader = ManifestReader(storage, SummaryCache(state, storage.url))
        self._opened = False

    @property
    def url(self) -> str:
        return self.storage.url

    def look_again(self) -> None:
        """At the next question the storage's mark is read again: its disk may have been unmounted."""
        self._opened = False

    # --- reading ---

    def targets(self) -> list[TargetName]:
        self._open()
        found = []
        for project in self.storage.folders():
            for service in self.storage.folders(f"{project}/"):
                prefix = f"{project}/{service}/"
                below = (entry.key.removeprefix(prefix).partition("/")[0] for entry in self.storage.list(prefix))
                if any(map(layout.is_ours, below)):
                    found.append(TargetName(project=project, service=service))
        return sorted(found)

    def listing(self, target: TargetName) -> Listing:
        """Every archive of one target, its manifest read and the sizes of its data compared."""
        self._open()
        folders: dict[str, dict[str, Entry]] = defaultdict(dict)
        for entry in self.storage.list(f"{target}/"):
            archive_id, _, name = entry.key.removeprefix(f"{target}/").partition("/")
            if is_archive_id(archive_id):
                folders[archive_id][name] = entry
        summaries = self._reader.summaries(
            target, {id_: names[MANIFEST] for id_, names in folders.items() if MANIFEST in names}
        )
        archives, damaged, unfinished = [], [], []
        for archive_id, names in sorted(folders.items(), reverse=True):
            match summaries.get(archive_id):
                case Summary() as summary if reason := _wrong(summary, target, archive_id, names):
                    damaged.append(Damaged(target=str(target), id=archive_id, reason=reason))
                case Summary() as summary:
                    archives.append(Stored(summary=summary, marks=layout.marks(names)))
                case DbguardError() as error:
                    damaged.append(Damaged(target=str(target), id=archive_id, reason=str(error)))
                case None if MANIFEST not in names:
                    unfinished.append(_unfinished(target, archive_id, names.values()))
                case None:
                    pass  # removed since we looked
        return Listing(archives=tuple(archives), damaged=tuple(damaged), unfinished=tuple(unfinished))

    def find(self, archive_id: str, targets: Sequence[TargetName] | None = None) -> Stored:
        """By id, or by the beginning of one that fits no other. Raises NotFound, or why it is damaged."""
        matches: list[Stored] = []
        for target in targets if targets is not None else self.targets():
            listing = self.listing(target)
            matches += [archive for archive in listing.archives if archive_id and archive.id.startswith(archive_id)]
            for bad in listing.damaged:
                if archive_id and bad.id.startswith(archive_id):
                    raise ArchiveDamaged(f"archive {bad.target} {bad.id}: {bad.reason}")
        if len(matches) != 1:
            problem = "no archive" if not matches else "more than one archive"
            raise NotFound(f"{problem} with id {archive_id} in {self.url}", hint="`dbguard list` shows them all")
        return matches[0]

    def archive(self, summary: Summary) -> Archive:
        """The whole manifest."""
        return self._reader.archive(f"{summary.target}/{summary.id}/{MANIFEST}")

    def chunks(self, archive: Archive, blob: Blob) -> Iterator[bytes]:
        """The stored bytes of one blob. Raises ArchiveDamaged at the end unless size and SHA-256 are right."""
        meter = Meter()
        with self.storage.open(f"{archive.target}/{archive.id}/{blob.key}") as reader:
            while data := reader.read(CHUNK):
                meter.update(data)
                yield data
        if (meter.size, meter.sha256) != (blob.size, blob.sha256):
            raise ArchiveDamaged(
                f"archive {archive.id}: {blob.key} is not what was stored",
                hint="its checksum differs: restore another archive, and look after that disk",
            )

    def free(self) -> int | None:
        return self.storage.free()

    # --- writing ---

    def prepare(self, owner: Owner, *, adopt: bool = False) -> None:
        """Makes the storage and the target's folder ours. Raises Refused when another owner has it."""
        self._open(create=True)
        owners.take(self.storage, owner, adopt=adopt)

    def create(self, target: TargetName, archive_id: str, name: str) -> AbstractContextManager[Writer]:
        return self.storage.create(f"{target}/{archive_id}/{name}")

    def publish(self, archive: Archive) -> None:
        """From here on the archive exists. Raises StorageError when its data is not there in full: a host whose clock
        is a week ahead may have swept it up as abandoned."""
        folder = f"{archive.target}/{archive.id}/"
        there = {entry.key.removeprefix(folder): entry.size for entry in self.storage.list(folder)}
        if gone := [blob.key for blob in archive.blobs.values() if there.get(blob.key) != blob.size]:
            raise StorageError(f"{self.url}/{folder}{gone[0]} is not there any more, or not in full")
        try:
            text = written(archive)
        except ValueError as error:
            raise DumpFailed(f"{archive.target}: some name is not valid UTF-8: {error}") from error
        with self.create(archive.name, archive.id, MANIFEST) as out:
            out.write(text)

    def discard(self, target: TargetName, archive_id: str) -> None:
        """Removes the data of an archive that was never published; what cannot be removed is left as unfinished."""
        with contextlib.suppress(DbguardError):
            self._remove(f"{target}/{archive_id}/")

    def forget(self, archive: Summary | Unfinished) -> None:
        """From here on the archive does not exist."""
        self._remove(f"{archive.target}/{archive.id}/")

    def mark(self, archive: Summary, kind: layout.MarkKind, now: datetime) -> None:
        """Says something about a finished archive, in a file of its own."""
        with self.create(archive.name, archive.id, layout.mark(kind, now)) as out:
            out.write(b"{}\n")

    def check(self, archive: Summary, result: layout.CheckResult, now: datetime, told: Mapping[str, object]) -> None:
        """Says how a check of this copy went; of several the newest counts."""
        with self.create(archive.name, archive.id, layout.check(result, now)) as out:
            out.write(json.dumps(told, indent=1).encode() + b"\n")

    def release(self, archive: Summary) -> None:
        """Takes every hold back."""
        folder = f"{archive.target}/{archive.id}/"
        for entry in [*self.storage.list(folder)]:
            if layout.is_hold(entry.key.removeprefix(folder)):
                self.storage.delete(entry.key)

    # --- inside ---

    def _open(self, *, create: bool = False) -> None:
        """A storage that was used before and has lost its mark is a disk that is not mounted."""
        if self._opened:
            return
        used_before = self.url in self._known  # asked first: a run beside this one may be setting it up now
        try:
            mark = read_whole(self.storage, ROOT_MARK)
        except NotFound as error:
            if used_before:
                raise StorageUnavailable(
                    f"{self.url} has been used before, but {ROOT_MARK} is not there",
                    hint=f"is the disk mounted? if it was emptied on purpose, remove it from {self._known.file}",
                ) from error
            if not create:
                raise NotSetUp(
                    f"{self.url} holds no archives: {ROOT_MARK} is not there",
                    hint="is the disk mounted? a first `dbguard backup now` sets the storage up",
                ) from error
            mark = json.dumps({"format": FORMAT}).encode()
            with contextlib.suppress(AlreadyExists), self.storage.create(ROOT_MARK) as out:
                out.write(mark)
        self._check_mark(mark)
        self._known.add(self.url)
        self._opened = True

    def _check_mark(self, mark: bytes) -> None:
        try:
            found = json.loads(mark)
            number = int(found["format"])
        except (ValueError, TypeError, LookupError) as error:
            raise StorageUnavailable(
                f"{self.url}: {ROOT_MARK} cannot be read", hint=f'it should hold {{"format": {FORMAT}}}'
            ) from error
        if number > FORMAT:
            raise NewerFormat(f"{self.url} was made by a newer dbguard", hint="update dbguard")

    def _remove(self, folder: str) -> None:
        """Manifest first: from then on it is not listed, whatever happens to the data."""
        self.storage.delete(folder + MANIFEST)
        for entry in [*self.storage.list(folder)]:
            self.storage.delete(entry.key)


def _wrong(summary: Summary, target: TargetName, archive_id: str, names: dict[str, Entry]) -> str:
    """Why the manifest cannot be that of this folder, or what of its data is missing; empty when all is well."""
    if (summary.target, summary.id) != (str(target), archive_id):
        return f"its manifest is that of {summary.target} {summary.id}"
    for key, expected in summary.stored.items():
        size = names[key].size if key in names else None
        if size != expected:
            return f"{key} is missing" if size is None else f"{key} has {size} bytes instead of {expected}"
    return ""


def _unfinished(target: TargetName, archive_id: str, entries: Iterable[Entry]) -> Unfinished:
    files = [*entries]
    return Unfinished(
        target=str(target),
        id=archive_id,
        size=sum(file.size for file in files),
        modified=max(file.modified for file in files),
    )
