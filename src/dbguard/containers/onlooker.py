"""A way into a volume that needs no container of its own: one is created on it, of an image without a single file,
and never started. The engine reads and writes files in it all the same."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import docker

from dbguard.containers.answers import translated
from dbguard.errors import ExecFailed, NotFound

ROLE = ("dbguard.role", "onlooker")
"""The label of these containers; `dbguard.target` says for whose copy, where there is one."""
SINCE = "dbguard.since"
"""The label that says when it was made: ISO 8601, by our clock."""
FOLDER = "/volume"
"""Where the volume is in it."""
NOTHING = "dbguard/nothing"
_EMPTY_TAR = bytes(10240)


@contextlib.contextmanager
def onlooker(client: docker.APIClient, volume: str, *, writable: bool, labels: Mapping[str, str]) -> Iterator[str]:
    """The id of a container that has the volume at FOLDER, and is removed at the end; the volume stays.

    Raises NotFound when there is no such volume: the engine itself would make it without a word.
    """
    with translated(f"volume {volume}"):
        client.inspect_volume(volume)
        container = _created(client, volume, writable=writable, labels=labels)
    try:
        _check_old(client, volume, container)
        yield container
    finally:
        _remove(client, container)


def _created(client: docker.APIClient, volume: str, *, writable: bool, labels: Mapping[str, str]) -> str:
    made = dict([ROLE])
    host = client.create_host_config(
        network_mode="none",
        mounts=[docker.types.Mount(FOLDER, volume, read_only=not writable, no_copy=True, labels=made)],
    )
    own = {**made, SINCE: datetime.now(UTC).isoformat(), **labels}

    def create(image: str) -> str:
        return str(client.create_container(image, ["never started"], labels=own, host_config=host)["Id"])

    try:
        return create(NOTHING)
    except docker.errors.ImageNotFound:
        return create(_import(client))


def _import(client: docker.APIClient) -> str:
    """The id of a new image of no bytes."""
    said = client.import_image_from_data(
        _EMPTY_TAR, repository=NOTHING, tag="latest", changes=["LABEL dbguard.role=nothing"]
    )
    last = json.loads(said.splitlines()[-1])
    if "status" not in last:
        raise ExecFailed(f"the engine did not import an empty image: {last.get('error', last)}")
    return str(last["status"])


def _check_old(client: docker.APIClient, volume: str, container: str) -> None:
    """Labels of a mount are given to a volume that the engine makes for it, never to one that is there."""
    with translated(f"volume {volume}"):
        made_now = dict([ROLE]).items() <= (client.inspect_volume(volume).get("Labels") or {}).items()
    if made_now:
        _remove(client, container)
        with contextlib.suppress(NotFound, ExecFailed), translated(f"volume {volume}"):
            client.remove_volume(volume)
        raise NotFound(f"volume {volume}: not found")


def _remove(client: docker.APIClient, container: str) -> None:
    with contextlib.suppress(NotFound, ExecFailed), translated(f"container {container[:12]}"):
        client.remove_container(container, force=True)  # never with its volumes
