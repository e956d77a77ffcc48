"""Manifests as they are stored: read, checked, and remembered in few words."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pydantic

from dbguard.archive import FORMAT, Archive, Entry, Summary
from dbguard.cache import SummaryCache
from dbguard.errors import ArchiveDamaged, DbguardError, NewerFormat, NotFound
from dbguard.model import TargetName
from dbguard.storages import Storage, read_whole

_LIMIT = 256 << 20
_READERS = 8
_ARCHIVE = pydantic.TypeAdapter(Archive)


class ManifestReader:
    """Of one storage."""

    def __init__(self, storage: Storage, cache: SummaryCache) -> None:
        self._storage = storage
        self._cache = cache

    def archive(self, key: str) -> Archive:
        """Raises NotFound, ArchiveDamaged or NewerFormat."""
        return _parsed(read_whole(self._storage, key))

    def summaries(self, target: TargetName, manifests: dict[str, Entry]) -> dict[str, Summary | DbguardError]:
        """What each manifest says, or why it cannot be read; those that are gone by now are left out."""
        cached = self._cache.load(str(target))
        current = {(archive_id, entry.version) for archive_id, entry in manifests.items()}
        new = {key: manifests[key[0]] for key in sorted(current - cached.keys(), reverse=True)}
        with ThreadPoolExecutor(_READERS) as pool:
            read = dict(zip(new, pool.map(self._summary, new.values()), strict=True))
        fresh = {key: found for key, found in read.items() if isinstance(found, Summary)}
        self._cache.save(str(target), fresh, gone=cached.keys() - current)
        known = {key[0]: summary for key, summary in cached.items() if key in current}
        return known | {key[0]: found for key, found in read.items() if found is not None}

    def _summary(self, entry: Entry) -> Summary | DbguardError | None:
        if entry.size > _LIMIT:
            return ArchiveDamaged("its manifest is too large to be one")
        try:
            return self.archive(entry.key).summary
        except NotFound:
            return None
        except (ArchiveDamaged, NewerFormat) as error:
            return error


def written(archive: Archive) -> bytes:
    """The manifest's text. Raises ValueError for a name that is not valid UTF-8."""
    return _ARCHIVE.dump_json(archive, indent=1)


def _parsed(text: bytes) -> Archive:
    """Unknown keys are ignored, an unknown format is refused, anything else that does not fit is damage."""
    try:
        mark = json.loads(text)
        if isinstance(mark, dict) and isinstance(mark.get("format"), int) and mark["format"] > FORMAT:
            raise NewerFormat("made by a newer dbguard")
        archive = _ARCHIVE.validate_json(text, strict=True)
    except (ValueError, RecursionError) as error:
        raise ArchiveDamaged("its manifest cannot be read") from error
    if "data" not in archive.blobs:
        raise ArchiveDamaged("its manifest names no data")
    if archive.format < 1 or None in {archive.snapshot.tzinfo, archive.started.tzinfo, archive.finished.tzinfo}:
        raise ArchiveDamaged("its manifest cannot be right")
    return archive
