"""Where archives live: names, manifests, publish, list, forget.

An archive *is* its manifest: the manifest is written last and deleted first, so that what is listed is whole.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pydantic

from dbguard.archive import FORMAT, Archive, Blob, Entry, Owner, is_archive_id
from dbguard.errors import (
    AlreadyExists,
    ArchiveDamaged,
    DbguardError,
    DumpFailed,
    NewerFormat,
    NotFound,
    NotSetUp,
    Refused,
    StorageUnavailable,
)
from dbguard.model import TargetName
from dbguard.state import KnownStorages
from dbguard.storages import Storage, Writer
from dbguard.stream import CHUNK, Meter

DATA = "data.sql.zst"
_MANIFEST = "manifest.json"
_ROOT_MARK = "dbguard.json"
_OWNER_FILE = re.compile(r"owner(?:-([0-9]+))?\.json")
_MANIFEST_LIMIT = 256 << 20
_ARCHIVE = pydantic.TypeAdapter(Archive)
_OWNER = pydantic.TypeAdapter(Owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An archive that cannot be relied on: listed, never counted as good, never deleted in silence."""

    target: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Good archives newest first, and those that are not good."""

    archives: tuple[Archive, ...]
    damaged: tuple[Damaged, ...]


class Catalog:
    """The archives in one storage."""

    def __init__(self, storage: Storage, state: Path) -> None:
        """`state` remembers, outside the storage, which storages have been used before."""
        self._storage = storage
        self._known = KnownStorages(state)
        self._opened = False

    @property
    def url(self) -> str:
        return self._storage.url

    # --- reading ---

    def targets(self) -> list[TargetName]:
        self._open()
        parts = [entry.key.split("/") for entry in self._storage.list()]
        ours = {(part[0], part[1]) for part in parts if len(part) > 2 and _is_ours(part[2])}
        return sorted(TargetName(project=project, service=service) for project, service in ours)

    def listing(self, target: TargetName) -> Listing:
        """Every archive of one target, its manifest read and the sizes of its data compared."""
        self._open()
        found: dict[str, dict[str, Entry]] = defaultdict(dict)
        for entry in self._storage.list(f"{target}/"):
            archive_id, _, name = entry.key.removeprefix(f"{target}/").partition("/")
            if is_archive_id(archive_id):
                found[archive_id][name] = entry
        archives, damaged = [], []
        for archive_id, entries in sorted(found.items(), reverse=True):
            if _MANIFEST not in entries:
                continue  # unfinished: being written, or left behind by a run that was killed
            try:
                archives.append(self._checked(target, archive_id, entries))
            except NotFound:
                continue  # removed since we looked
            except (ArchiveDamaged, NewerFormat) as error:
                damaged.append(Damaged(target=str(target), id=archive_id, reason=str(error)))
        return Listing(archives=tuple(archives), damaged=tuple(damaged))

    def find(self, archive_id: str, targets: Sequence[TargetName] | None = None) -> Archive:
        """By id, or by the beginning of one that fits no other. Raises NotFound, or why it is damaged."""
        matches: list[Archive] = []
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

    def chunks(self, archive: Archive, blob: Blob) -> Iterator[bytes]:
        """The stored bytes of one blob. Raises ArchiveDamaged at the end unless size and SHA-256 are right."""
        meter = Meter()
        with self._storage.open(f"{archive.target}/{archive.id}/{blob.key}") as reader:
            while data := reader.read(CHUNK):
                meter.update(data)
                yield data
        if (meter.size, meter.sha256) != (blob.size, blob.sha256):
            raise ArchiveDamaged(
                f"archive {archive.id}: {blob.key} is not what was stored",
                hint="its checksum differs: restore another archive, and look after that disk",
            )

    # --- writing ---

    def prepare(self, owner: Owner, *, adopt: bool = False) -> None:
        """Makes the storage and the target's folder ours. Raises Refused when another owner has it."""
        self._open(create=True)
        name = TargetName(project=owner.project, service=owner.service)
        before, present = self._owner(name)
        if present == owner:
            return
        if before and not adopt:
            raise _refused(name, present)
        try:
            with self._storage.create(f"{name}/{_owner_file(before)}") as out:
                out.write(_OWNER.dump_json(owner, indent=1))
        except AlreadyExists as error:  # another run was quicker
            present = self._owner(name)[1]
            if present != owner:
                raise _refused(name, present) from error

    def create(self, target: TargetName, archive_id: str, name: str) -> AbstractContextManager[Writer]:
        return self._storage.create(f"{target}/{archive_id}/{name}")

    def publish(self, archive: Archive) -> None:
        """From here on the archive exists."""
        try:
            text = _ARCHIVE.dump_json(archive, indent=1)
        except ValueError as error:
            raise DumpFailed(f"{archive.target}: some name is not valid UTF-8: {error}") from error
        with self._storage.create(f"{archive.target}/{archive.id}/{_MANIFEST}") as out:
            out.write(text)

    def discard(self, target: TargetName, archive_id: str) -> None:
        """Removes the data of an archive that was never published; what cannot be removed is left as unfinished."""
        with contextlib.suppress(DbguardError):
            self._remove(f"{target}/{archive_id}/")

    def forget(self, archive: Archive) -> None:
        """From here on the archive does not exist."""
        self._remove(f"{archive.target}/{archive.id}/")

    def free(self) -> int | None:
        return self._storage.free()

    # --- inside ---

    def _open(self, *, create: bool = False) -> None:
        """A storage that was used before and has lost its mark is a disk that is not mounted."""
        if self._opened:
            return
        used_before = self.url in self._known  # asked first: a run beside this one may be setting it up now
        try:
            mark = self._small(_ROOT_MARK)
        except NotFound as error:
            if used_before:
                raise StorageUnavailable(
                    f"{self.url} has been used before, but {_ROOT_MARK} is not there",
                    hint=f"is the disk mounted? if it was emptied on purpose, remove it from {self._known.file}",
                ) from error
            if not create:
                raise NotSetUp(
                    f"{self.url} holds no archives: {_ROOT_MARK} is not there",
                    hint="is the disk mounted? a first `dbguard backup now` sets the storage up",
                ) from error
            mark = json.dumps({"format": FORMAT}).encode()
            with contextlib.suppress(AlreadyExists), self._storage.create(_ROOT_MARK) as out:
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
                f"{self.url}: {_ROOT_MARK} cannot be read", hint=f'it should hold {{"format": {FORMAT}}}'
            ) from error
        if number > FORMAT:
            raise NewerFormat(f"{self.url} was made by a newer dbguard", hint="update dbguard")

    def _owner(self, target: TargetName) -> tuple[int, Owner | None]:
        """How often the folder was taken, and by whom last: None by nobody, or by somebody illegible."""
        names = [entry.key.rpartition("/")[2] for entry in self._storage.list(f"{target}/owner")]
        numbers = [int(match[1] or 0) for match in map(_OWNER_FILE.fullmatch, names) if match]
        if not numbers:
            return 0, None
        last = f"{target}/{_owner_file(max(numbers))}"
        try:
            return max(numbers) + 1, _OWNER.validate_json(self._small(last))
        except ValueError:
            return max(numbers) + 1, None

    def _checked(self, target: TargetName, archive_id: str, entries: dict[str, Entry]) -> Archive:
        if entries[_MANIFEST].size > _MANIFEST_LIMIT:
            raise ArchiveDamaged("its manifest is too large to be one")
        archive = _parsed(self._small(entries[_MANIFEST].key))
        if (archive.target, archive.id) != (str(target), archive_id):
            raise ArchiveDamaged(f"its manifest is that of {archive.target} {archive.id}")
        if "data" not in archive.blobs:
            raise ArchiveDamaged("its manifest names no data")
        for blob in archive.blobs.values():
            size = entries[blob.key].size if blob.key in entries else None
            if size != blob.size:
                state = "is missing" if size is None else f"has {size} bytes instead of {blob.size}"
                raise ArchiveDamaged(f"{blob.key} {state}")
        return archive

    def _remove(self, folder: str) -> None:
        """Manifest first: from then on it is not listed, whatever happens to the data."""
        self._storage.delete(folder + _MANIFEST)
        for entry in [*self._storage.list(folder)]:
            self._storage.delete(entry.key)

    def _small(self, key: str) -> bytes:
        with self._storage.open(key) as reader:
            return b"".join(iter(lambda: reader.read(CHUNK), b""))


def _is_ours(name: str) -> bool:
    """Below a project and a service: anything else there was left by others."""
    return is_archive_id(name) or _OWNER_FILE.fullmatch(name) is not None


def _owner_file(number: int) -> str:
    return f"owner-{number}.json" if number else "owner.json"


def _refused(target: TargetName, present: Owner | None) -> Refused:
    return Refused(
        f"{target}: these archives belong to the same name on another engine ({present and present.engine_id})",
        hint="label the container dbguard.name=OTHER/NAME, or take the folder over with --adopt",
    )


def _parsed(text: bytes) -> Archive:
    """Unknown keys are ignored, an unknown format is refused, anything else that does not fit is damage."""
    try:
        mark = json.loads(text)
        if isinstance(mark, dict) and isinstance(mark.get("format"), int) and mark["format"] > FORMAT:
            raise NewerFormat("made by a newer dbguard")
        archive = _ARCHIVE.validate_json(text, strict=True)
    except (ValueError, RecursionError) as error:
        raise ArchiveDamaged("its manifest cannot be read") from error
    if archive.format < 1 or None in {archive.snapshot.tzinfo, archive.started.tzinfo, archive.finished.tzinfo}:
        raise ArchiveDamaged("its manifest cannot be right")
    return archive
