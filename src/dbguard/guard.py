"""No volume with a database is deleted without a fresh backup of it."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from dbguard import compose
from dbguard.archive import Summary
from dbguard.argv import Invocation
from dbguard.catalog import Catalog
from dbguard.compose import Deletion, Doomed
from dbguard.containers import Containers
from dbguard.discover import is_database_image, looks_like_database, name_of
from dbguard.engines import ENGINES
from dbguard.errors import (
    ArchiveDamaged,
    Busy,
    DbguardError,
    InternalError,
    NotFound,
    NotSetUp,
    Refused,
    StorageUnavailable,
)
from dbguard.freshness import Backups, Contents, decide, relied_on
from dbguard.model import Container, Mount, TargetName, Verdict, VolumeVerdict
from dbguard.scope import own_container

_BELOW = ("", "data", "mysql", "mysql/data", "mariadb/data", "databases")
"""Where in a volume images keep the data directory: Docker's, Bitnami's, linuxserver.io's; and a whole /var/lib."""

_HARMLESS = ("/etc/", "/docker-entrypoint-initdb.d", "/var/log", "/var/run", "/run/", "/tmp")  # noqa: S108
_DATA_FOLDERS = tuple(map(PurePosixPath, ("/var/lib/mysql", "/bitnami/mysql", "/bitnami/mariadb", "/config/databases")))
_LOG_TABLE = "mysql/general_log.CSM"
"""A small file that every data directory of MySQL and MariaDB has, should the one that names the server be gone."""


def run(
    invocation: Invocation,
    args: Sequence[str],
    *,
    containers: Containers,
    judge: Callable[[Deletion], Verdict],
    say: Callable[[str], None],
) -> NoReturn:
    """Becomes `docker compose ARGS…` when every volume it would delete may go. Else raises Refused.

    `judge` is the function of that name, called here or in the sidecar.
    """
    deletion = compose.resolve(invocation, containers)
    if deletion.volumes:
        verdict = judge(deletion)
        if not verdict.allowed:
            raise _refusal(verdict, invocation, args)
        if verdict.volumes:
            say("\n".join([f"dbguard: {_command('docker', args)} may delete", *_table(verdict)]))
        if compose.resolve(invocation, containers) != deletion:
            raise Busy("what would be deleted has changed while it was judged", hint="type the same command again")
    compose.execute(args)


def judge(
    containers: Containers, catalogs: Sequence[Catalog], deletion: Deletion, *, recent: timedelta, now: datetime
) -> Verdict:
    """May all these volumes be deleted? Decided for each by `freshness.decide`; those that do not exist are left out.

    Raises StorageUnavailable, never "no backup", when a storage that might hold the proof cannot be read.
    """
    if deletion.engine_id != containers.engine_id:
        raise InternalError(f"asked about engine {deletion.engine_id}, but this is {containers.engine_id}")
    homes = [home for catalog in catalogs for home in _homes(containers, catalog.url)]
    found = [
        _contents(containers, doomed, deletion, folder, homes)
        for doomed in deletion.volumes
        if (folder := containers.volume_folder(doomed.name)) is not None
    ]
    return Verdict(volumes=tuple(_judged(contents, catalogs, recent, now) for contents in found))


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


def _judged(contents: Contents, catalogs: Sequence[Catalog], recent: timedelta, now: datetime) -> VolumeVerdict:
    """One readable storage with a good backup is enough; without one, each must be readable to say so."""
    backups, failure = Backups(archives=(), damaged={}), None
    if contents.identity:
        backups, failure = _stored(catalogs, contents.targets)
    if archive := relied_on(contents, backups, recent, now):
        backups = _without_damage(catalogs, archive, backups)
    verdict = decide(contents, backups, recent=recent, now=now)
    if failure is not None and not verdict.allowed:
        raise failure
    return verdict


def _without_damage(catalogs: Sequence[Catalog], summary: Summary, backups: Backups) -> Backups:
    """Reads the archive that would be relied on: a listing shows its size, only reading shows its bytes."""
    reason, failure = "", None
    for catalog in catalogs:
        try:
            archive = catalog.archive(summary)
            for blob in archive.blobs.values():
                deque(catalog.chunks(archive, blob), maxlen=0)
        except (ArchiveDamaged, NotFound) as error:
            reason = str(error)
        except StorageUnavailable as error:
            failure = error
        else:
            return backups
    if failure is not None:
        raise failure
    others = [one for one in backups.archives if one.id != summary.id]
    return Backups(archives=others, damaged={**backups.damaged, summary.id: reason})


def _stored(catalogs: Sequence[Catalog], targets: Sequence[TargetName]) -> tuple[Backups, DbguardError | None]:
    archives: list[Summary] = []
    damaged: dict[str, str] = {}
    failure: DbguardError | None = None
    for catalog in catalogs:
        for target in targets:
            try:
                listing = catalog.listing(target)
            except NotSetUp:
                continue  # nobody remembers that it was ever used: never backed up
            except DbguardError as error:
                failure = error
            else:
                archives += [stored.summary for stored in listing.archives if not stored.marks.failed]
                damaged |= {bad.id: bad.reason for bad in listing.damaged}
                damaged |= {stored.id: "its check failed" for stored in listing.archives if stored.marks.failed}
    archives.sort(key=lambda archive: archive.id, reverse=True)
    return Backups(archives=archives, damaged=damaged), failure


# --- what is on a volume ---


def _contents(
    containers: Containers, doomed: Doomed, deletion: Deletion, folder: str, homes: Sequence[str]
) -> Contents:
    """Its files say it best, in running and stopped containers alike; then the path where it is mounted."""
    users = containers.list(stopped=True, volume=doomed.name)
    users.sort(key=lambda container: (not looks_like_database(container), container.name))
    contents = Contents(
        volume=doomed.name,
        targets=tuple(dict.fromkeys(map(name_of, users))) or _targets_in_file(doomed),
        running=any(container.running for container in users if looks_like_database(container)),
        kept_by=tuple(user.name for user in users if user.id not in deletion.containers and _lasts(user)),
    )
    if any(home == doomed.name or PurePosixPath(home).is_relative_to(folder) for home in homes):
        return replace(contents, unknown="the backups themselves lie on it")
    databases = set() if contents.kept_by else set(_databases(containers, users, doomed.name))
    if len(databases) > 1:
        return replace(contents, unknown="more than one database lies on it")
    for engine, identity in databases:
        return replace(contents, engine=engine, identity=identity)
    if _is_data_folder(users, doomed):
        return replace(contents, engine="database", unknown=_unseen(users, doomed))
    return replace(contents, unknown=_unseen(users, doomed))


def _lasts(container: Container) -> bool:
    """It will still hold the volume when Compose comes to delete it: no helper that ends by itself."""
    return container.running and not (container.auto_remove or container.one_off)


def _unseen(users: Sequence[Container], doomed: Doomed) -> str:
    """Why nobody can tell what is on it; empty when it can be told."""
    if not users:
        return "no container is left to look into it: `docker compose create` makes one"
    for user in filter(is_database_image, users):
        places = [mount.destination for mount in user.mounts if mount.name == doomed.name]
        if not all(place.startswith(_HARMLESS) for place in places):
            return f"the database server {user.name} mounts it, and no file on it says what it holds"
    return ""


def _databases(containers: Containers, users: Sequence[Container], volume: str) -> Iterator[tuple[str, str]]:
    """(engine, identity) of every data directory on the volume; the one that the volume is a part of counts too."""
    for container in users:
        for mount in container.mounts:
            if mount.name == volume:
                for folder in sorted(set(_folders(container, mount))):
                    yield from _database(containers, container, folder)


def _folders(container: Container, mount: Mount) -> Iterator[PurePosixPath]:
    """Paths in the container that may be the data directory this volume belongs to."""
    top = PurePosixPath(mount.destination)
    others = [PurePosixPath(other.destination) for other in container.mounts if other is not mount]
    below = [top / folder for folder in _BELOW]
    below += [PurePosixPath(word[10:]) for word in container.command if word.startswith("--datadir=")]
    for folder in below:
        hidden = any(other.is_relative_to(top) and folder.is_relative_to(other) for other in others)
        if folder.is_relative_to(top) and not hidden:
            yield folder
    yield from list(top.parents)[:-1]


def _database(containers: Containers, container: Container, folder: PurePosixPath) -> Iterator[tuple[str, str]]:
    """MariaDB made from MySQL's files has the files of both, and is MariaDB."""
    for engine in (ENGINES["mariadb"], ENGINES["mysql"]):
        data = containers.read_file(container.id, str(folder / engine.identity_file))
        if data is not None:
            yield engine.name, engine.identity(data)
            return
    if containers.read_file(container.id, str(folder / _LOG_TABLE)) is not None:
        yield "database", ""


def _is_data_folder(users: Sequence[Container], doomed: Doomed) -> bool:
    paths = [mount.destination for user in users for mount in user.mounts if mount.name == doomed.name]
    paths += [place.path for place in doomed.places]
    return any(PurePosixPath(path).is_relative_to(folder) for path in paths for folder in _DATA_FOLDERS)


def _targets_in_file(doomed: Doomed) -> tuple[TargetName, ...]:
    return tuple(TargetName(project=place.project or "_", service=place.service) for place in doomed.places)


# --- what people read ---


def _refusal(verdict: Verdict, invocation: Invocation, args: Sequence[str]) -> Refused:
    refused = [volume for volume in verdict.volumes if not volume.allowed]
    targets = sorted({volume.what.split()[-1] for volume in refused if "/" in volume.what})
    lines = [
        f"refused: {_command('docker', args)} would delete what no fresh backup holds",
        *_table(verdict),
        "nothing was stopped or deleted",
    ]
    steps = [
        *(f"back up first:  dbguard backup now {target}" for target in targets),
        f"then again:     {_command('dbguard', args)}",
        f"keep the data:  {_command('docker', invocation.sparing)}",
    ]
    return Refused("\n".join(lines), hint="\n      ".join(steps))


def _table(verdict: Verdict) -> list[str]:
    rows = [(_shown(v.volume), v.what, "ok" if v.allowed else "REFUSED", v.reason) for v in verdict.volumes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  " + "  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]


def _shown(volume: str) -> str:
    return f"{volume[:12]}… (anonymous)" if re.fullmatch("[0-9a-f]{64}", volume) else volume


def _command(program: str, args: Sequence[str]) -> str:
    return shlex.join([program, "compose", *args])
