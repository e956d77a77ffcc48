"""Anchors: small containers that hold a volume, so that the engine itself refuses to delete it, whoever asks.

An anchor must run: one that has ended is swept by `docker system prune`, and the volume with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from dbguard.containers import Containers
from dbguard.errors import DbguardError, ExecFailed, NotFound
from dbguard.model import Container, Sighting
from dbguard.signs import is_data_folder

ROLE = ("dbguard.role", "anchor")
_NAME = "dbguard-lock-"
PATIENCE = timedelta(minutes=5)
"""One that was there and is gone may have been released for a deletion that is still stopping its containers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A volume that is held, by a container of this image."""

    volume: str
    image_id: str


def is_anchor(container: Container) -> bool:
    """It is no user of the volume that it mounts."""
    return container.locks is not None


def all_of(containers: Containers) -> list[Container]:
    """Every anchor of the engine, running or not."""
    return [one for one in containers.list(stopped=True, label="=".join(ROLE)) if is_anchor(one)]


def lock(containers: Containers, volume: str, image: str | None = None) -> bool:
    """Makes the engine hold the volume; False when it does already.

    The container is of the `image`, else of one that uses the volume: then what a restore needs is held, too. Raises
    NotFound for a volume that does not exist, and where there is no image for it; ExecFailed.
    """
    if containers.volume_labels(volume) is None:  # a container would make one of that name
        raise NotFound(f"there is no volume {volume}", hint="`docker volume ls` lists what there is")
    before = [one for one in all_of(containers) if one.locks == volume]
    if any(one.running for one in before):
        return False
    image = image or _image_for(containers, volume)
    for one in before:
        containers.remove(one.id)
    try:
        containers.hold(volume, image, name=f"{_NAME}{volume}", labels=dict([ROLE, ("dbguard.lock", volume)]))
    except ExecFailed:
        if any(one.running and one.locks == volume for one in all_of(containers)):
            return False  # somebody else was quicker
        raise
    return True


def release(containers: Containers, volumes: Iterable[str]) -> tuple[Anchor, ...]:
    """Lets the engine delete these volumes again; the last thing before a deletion. Returns what `restore` takes."""
    wanted = set(volumes)
    found = [one for one in all_of(containers) if one.locks in wanted]
    for one in found:
        containers.remove(one.id)
    return tuple(Anchor(volume=one.locks, image_id=one.image_id) for one in found if one.locks)


def restore(containers: Containers, released: Iterable[Anchor]) -> None:
    """After a deletion that did not come about, or only in part: holds what is still there. Raises DbguardError for
    the first one that it could not, after it has tried them all."""
    failed: list[DbguardError] = []
    for anchor in released:
        if containers.volume_labels(anchor.volume) is not None:
            try:
                lock(containers, anchor.volume, anchor.image_id)
            except DbguardError as error:
                failed.append(error)
    if failed:
        raise failed[0]


def data_volumes(container: Container, datadir: str | None = None) -> list[str]:
    """The volumes with the data of a database server. Not that which goes with its container anyway."""
    return [
        mount.name
        for mount in container.mounts
        if mount.kind == "volume" and mount.name and not (mount.anonymous and container.auto_remove)
        if is_data_folder(mount.destination)
        or (datadir is not None and PurePosixPath(datadir).is_relative_to(mount.destination))
    ]


def wanted(sightings: Iterable[Sighting]) -> dict[str, Sighting]:
    """The volumes of all targets, and whose each of them is."""
    targets = [seen for seen in sightings if seen.database and seen.enabled and seen.name is not None]
    return {
        volume: seen
        for seen in targets
        for volume in data_volumes(seen.container, seen.target.server.datadir if seen.target else None)
    }


def missing(containers: Containers, sightings: Iterable[Sighting]) -> dict[str, Sighting]:
    """Volumes of targets that no running anchor holds."""
    held = {one.locks for one in all_of(containers) if one.running}
    return {volume: seen for volume, seen in wanted(sightings).items() if volume not in held}


def due(volumes: Iterable[str], anchors: Sequence[Container], held: Mapping[str, datetime], now: datetime) -> list[str]:
    """Which volumes get an anchor now. `held` says when each one was last seen held. Pure.

    One that has only stopped is started at once: whoever releases a volume removes its anchor.
    """
    there = {one.locks: one.running for one in anchors}
    return [
        volume
        for volume in volumes
        if there.get(volume) is False
        or (
            volume not in there
            and not timedelta(0) <= now - held.get(volume, datetime.min.replace(tzinfo=now.tzinfo)) < PATIENCE
        )
    ]


class Watch:
    """Keeps the anchors of all targets up to date, for as long as the sidecar lives."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._held: dict[str, datetime] = {}

    def look(self, sightings: Sequence[Sighting], now: datetime) -> dict[str, str]:
        """Makes what is missing, and removes those of volumes that are gone. By target, why one could not be made.

        Raises EngineUnavailable.
        """
        found = all_of(self._containers)
        self._held |= {one.locks: now for one in found if one.running and one.locks}
        targets, problems = wanted(sightings), {}
        for volume in due(targets, found, self._held, now):
            seen = targets[volume]
            try:
                lock(self._containers, volume, seen.container.image_id)
            except DbguardError as error:
                problems[str(seen.name)] = f"volume {volume} has no anchor: {error}"
            else:
                self._held[volume] = now
        for one in found:
            if one.locks and self._containers.volume_labels(one.locks) is None:
                self._containers.remove(one.id)  # its next start would make an empty volume of that name
                self._held.pop(one.locks, None)
        return problems


def _image_for(containers: Containers, volume: str) -> str:
    users = [one for one in containers.list(stopped=True, volume=volume) if not is_anchor(one)]
    users.sort(key=lambda one: (not data_volumes(one), not one.running, one.name))
    if not users:
        raise NotFound(
            f"no container uses volume {volume}, so nobody knows an image for its anchor",
            hint="name one that is here: --image mariadb:11.8",
        )
    return users[0].image_id
