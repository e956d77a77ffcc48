"""Which stored copy of an archive is whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.errors import ArchiveDamaged, DbguardError, NotFound, StorageError
from dbguard.model import Progress
from dbguard.report import Report, Throttled
from dbguard.script import packed


def whole_copy(
    archive: Archive, catalogs: Sequence[Catalog], keys: Sequence[Any], report: Report
) -> tuple[Catalog, tuple[str, ...]]:
    """Raises what is wrong with the nearest copy when there is no better one."""
    errors: list[DbguardError] = []
    for catalog in catalogs:
        try:
            _check_whole(archive, catalog, keys, report)
        except (ArchiveDamaged, StorageError, NotFound) as error:
            errors.append(error)
        else:
            return catalog, tuple(map(str, errors))
    raise errors[0]


def _check_whole(archive: Archive, catalog: Catalog, keys: Sequence[Any], report: Report) -> None:
    total = sum(blob.plain_size for blob in archive.blobs.values())
    throttled, before = Throttled(report), 0
    for blob in archive.blobs.values():
        done = 0
        for chunk in packed(catalog, archive, blob, keys):
            done += len(chunk)
            share = before + blob.plain_size * done // max(blob.size, 1)
            throttled(
                lambda share=share: Progress(  # type: ignore[misc]
                    target=archive.target, phase="checking", done=share, total=total
                )
            )
        before += blob.plain_size
