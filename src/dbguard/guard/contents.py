"""What is on a volume: its files say it best, in running and stopped containers alike; then where it is mounted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from dbguard.compose import Deletion, Doomed
from dbguard.containers import Containers
from dbguard.discover import is_database_image, looks_like_database, name_of
from dbguard.engines import ENGINES
from dbguard.errors import EngineUnavailable
from dbguard.freshness import Contents
from dbguard.model import Container, Mount, TargetName
from dbguard.sidecar import ROLE
from dbguard.signs import DATA_FOLDERS

WAIVERS = ("dbguard.ephemeral", "dbguard.ignore")
"""Labels, of a volume or of a container that mounts it: nobody will miss what is on it."""

_BELOW = ("", "data", "mysql", "mysql/data", "mariadb/data", "databases")
"""Where in a volume images keep the data directory: Docker's, Bitnami's, linuxserver.io's; and a whole /var/lib."""
_HARMLESS = ("/etc/", "/docker-entrypoint-initdb.d", "/var/log", "/var/run", "/run/", "/tmp")  # noqa: S108
_LOG_TABLE = "mysql/general_log.CSM"
"""A small file that every data directory of MySQL and MariaDB has, should the one that names the server be gone."""
_OTHERS = {
    "PG_VERSION": "postgresql",
    "data/PG_VERSION": "postgresql",
    "pgdata/PG_VERSION": "postgresql",
    "18/docker/PG_VERSION": "postgresql",
    "17/docker/PG_VERSION": "postgresql",
    "WiredTiger": "mongodb",
    "dump.rdb": "redis",
    "appendonlydir/appendonly.aof.manifest": "redis",
}
"""A file of each, and whose it is; in PostgreSQL 18 the image moved the data below its version."""


def look(
    containers: Containers,
    doomed: Doomed,
    deletion: Deletion,
    folder: str,
    homes: Sequence[str],
    stack: contextlib.ExitStack,
) -> Contents:
    """`folder` is where the engine keeps the volume, `homes` where the archives lie. Where no container is left to
    look into the volume, there is one until the `stack` unwinds."""
    users = [user for user in containers.list(stopped=True, volume=doomed.name) if not _is_passing(user)]
    users.sort(key=lambda user: (not looks_like_database(user), not user.running, user.name))
    contents = Contents(
        volume=doomed.name,
        targets=tuple(dict.fromkeys(map(name_of, users))) or _targets_in_file(doomed),
        running=any(container.running for container in users if looks_like_database(container)),
        kept_by=tuple(user.name for user in users if user.id not in deletion.containers and _lasts(user)),
        elsewhere=containers.volume_origin(doomed.name),
        waived=_waived(containers.volume_labels(doomed.name) or {}, users),
    )
    if any(home == doomed.name or PurePosixPath(home).is_relative_to(folder) for home in homes):
        return replace(contents, unknown="the backups themselves lie on it")
    if users:
        return _seen(containers, contents, users, doomed)
    try:
        return _seen(containers, contents, [stack.enter_context(containers.looking_into(doomed.name))], doomed)
    except EngineUnavailable as error:
        return replace(contents, unknown=f"no container is left to look into it, and none can be made: {error}")


def _is_passing(container: Container) -> bool:
    """One of ours that holds a volume only until it may go: an anchor, an onlooker, a throw-away server."""
    return container.labels.get(ROLE, "sidecar") != "sidecar"


def _seen(containers: Containers, contents: Contents, users: Sequence[Container], doomed: Doomed) -> Contents:
    databases = {} if contents.kept_by else _databases(containers, users, doomed.name)
    if len(databases) > 1:
        return replace(contents, unknown="more than one database lies on it")
    for (engine, identity), (container, place) in databases.items():
        return replace(contents, engine=engine, identity=identity, container=container, folder=place)
    if _is_empty(containers, users, doomed.name):
        return replace(contents, empty=True)
    if _is_data_folder(users, doomed):
        return replace(contents, engine="database", unknown=_unseen(users, doomed))
    return replace(contents, other=_other(containers, users, doomed.name), unknown=_unseen(users, doomed))


def _waived(labels: dict[str, str], users: Sequence[Container]) -> str:
    for name in WAIVERS:
        if any(found.get(name, "").lower() == "true" for found in (labels, *(user.labels for user in users))):
            return name
    return ""


def _lasts(container: Container) -> bool:
    """It will still hold the volume when Compose comes to delete it: no helper that ends by itself."""
    return container.running and not (container.auto_remove or container.one_off)


def _unseen(users: Sequence[Container], doomed: Doomed) -> str:
    """Why nobody can tell what is on it; empty when it can be told."""
    for user in filter(is_database_image, users):
        places = [mount.destination for mount in user.mounts if mount.name == doomed.name]
        if not all(place.startswith(_HARMLESS) for place in places):
            return f"the database server {user.name} mounts it, and no file on it says what it holds"
    return ""


def _databases(
    containers: Containers, users: Sequence[Container], volume: str
) -> dict[tuple[str, str], tuple[str, str]]:
    """Engine and identity of every data directory on the volume, and where it was seen: the container's id and the
    path in it. The one that the volume is a part of counts too."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for container in users:
        for mount in container.mounts:
            if mount.name == volume:
                for folder in sorted(set(_folders(container, mount))):
                    for database in _database(containers, container, folder):
                        found.setdefault(database, (container.id, str(folder)))
    return found


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


def _other(containers: Containers, users: Sequence[Container], volume: str) -> str:
    for user, mount in _mounts(users, volume):
        for file, kind in _OTHERS.items():
            if containers.exists(user.id, str(PurePosixPath(mount.destination) / file)):
                return kind
    return ""


def _is_empty(containers: Containers, users: Sequence[Container], volume: str) -> bool:
    user, mount = next(_mounts(users, volume))
    return containers.is_empty(user.id, mount.destination) is True


def _mounts(users: Sequence[Container], volume: str) -> Iterator[tuple[Container, Mount]]:
    return ((user, mount) for user in users for mount in user.mounts if mount.name == volume)


def _is_data_folder(users: Sequence[Container], doomed: Doomed) -> bool:
    paths = [mount.destination for _, mount in _mounts(users, doomed.name)]
    paths += [place.path for place in doomed.places]
    return any(PurePosixPath(path).is_relative_to(folder) for path in paths for folder in DATA_FOLDERS)


def _targets_in_file(doomed: Doomed) -> tuple[TargetName, ...]:
    return tuple(TargetName(project=place.project or "_", service=place.service) for place in doomed.places)
