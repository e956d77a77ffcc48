"""Is a storage a safe place, and does it do what it is asked?"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.doctor.findings import Finding, failed, ok, warning
from dbguard.errors import DbguardError, NotSetUp
from dbguard.model import Sighting
from dbguard.placement import check_placement
from dbguard.storages import Storage, read_whole

_SKEW = timedelta(minutes=1)


def look(containers: Containers, sightings: Sequence[Sighting], catalog: Catalog) -> Iterator[Finding]:
    check_placement(containers, catalog.url)
    for volume, target in _volumes_around(containers, sightings, catalog.url):
        yield failed(
            catalog.url, f"it lies in volume {volume} of {target}: what deletes the data deletes its backups with it"
        )
    with suppress(NotSetUp):  # then the probe says whether it can be set up
        catalog.targets()
    yield from _probe(catalog.storage)
    for doubt in catalog.storage.doubts():
        yield warning(catalog.url, doubt)


def _probe(storage: Storage) -> Iterator[Finding]:
    """Writes, reads, dates and deletes a small blob."""
    key, content = f"probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
    before = datetime.now(UTC)
    with storage.create(key) as out:
        out.write(content)
    after = datetime.now(UTC)
    if read_whole(storage, key) != content:
        yield failed(storage.url, "what was written comes back changed")
    listed = [entry.modified for entry in storage.list(key)]
    try:
        storage.delete(key)
    except DbguardError as error:
        yield warning(
            storage.url, f"{key} cannot be deleted, so nothing can be pruned: {error}", hint="let the account delete"
        )
    else:
        yield ok(storage.url, "can be written, read and deleted")
    if not listed:
        yield failed(storage.url, "what was written is not listed")
    for moment in listed:
        yield _clock(storage.url, max(before - moment, moment - after))


def _clock(url: str, off: timedelta) -> Finding:
    if off <= _SKEW:
        return ok(url, "its clock agrees with ours")
    text = f"its clock and ours are {off.total_seconds():.0f} seconds apart"
    return (failed if off > 5 * _SKEW else warning)(url, text, hint="set the clock of this machine")


def _volumes_around(containers: Containers, sightings: Sequence[Sighting], url: str) -> Iterator[tuple[str, str]]:
    """The volumes in whose folder on this host the storage lies, and whose they are."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return
    folder = PurePosixPath(unquote(parts.path))
    for seen in sightings:
        for mount in seen.container.mounts:
            if mount.name and folder.is_relative_to(containers.volume_folder(mount.name) or "/nowhere"):
                yield mount.name, str(seen.name or seen.container.name)
