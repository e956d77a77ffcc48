"""A container that does nothing but mount a volume, so that the engine refuses to delete that volume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import docker

from dbguard.containers.answers import translated
from dbguard.errors import ExecFailed, NotFound

_MEMORY = 16 << 20
"""Bytes. `sleep` takes less than one MiB, the engine's own start of a container some more."""
_PROCESSES = 16
_PROOF = 0.5
"""Seconds that it must have lived to count as one that stays."""
_PATIENCE = 10.0
_IDLE: Sequence[Sequence[str]] = (
    ("sleep", "infinity"),
    ("sleep", "2147483647"),
    ("tail", "-f", "/dev/null"),
)
"""Programs that never end, whatever an image has of them."""


def hold(client: docker.APIClient, image: str, volume: str, *, name: str, labels: Mapping[str, str]) -> str:
    """Starts one of an image that is here, and returns its id. It survives the engine's restart, has no network and no
    privilege, and can write nowhere. Raises ExecFailed when nothing in the image can idle, or the name is taken."""
    reasons = []
    with translated(f"image {image[:19]}"):
        declared: dict[str, Any] = client.inspect_image(image)["Config"].get("Volumes") or {}  # type: ignore[no-untyped-call]
    for argv in _IDLE:
        container = _created(client, image, volume, argv, declared, name=name, labels=labels)
        try:
            with translated(f"container {name}"):
                why_not = _started(client, container)
        except BaseException:
            _removed(client, container)
            raise
        if not why_not:
            return container
        _removed(client, container)
        reasons.append(f"{argv[0]}: {why_not}")
    raise ExecFailed(f"no program of image {image[:19]} can idle: {'; '.join(dict.fromkeys(reasons))}")


def _created(
    client: docker.APIClient,
    image: str,
    volume: str,
    argv: Sequence[str],
    declared: Mapping[str, Any],
    *,
    name: str,
    labels: Mapping[str, str],
) -> str:
    """What the image declares as volumes would be made anew for it: an empty tmpfs lies there instead."""
    mounts = [docker.types.Mount("/locked", volume, read_only=True, no_copy=True)]
    mounts += [docker.types.Mount(place, None, type="tmpfs", tmpfs_size=4096) for place in declared]
    with translated(f"a container of image {image[:19]}"):
        host = client.create_host_config(
            network_mode="none", read_only=True, cap_drop=["ALL"], security_opt=["no-new-privileges"],
            mem_limit=_MEMORY, memswap_limit=_MEMORY, pids_limit=_PROCESSES, mounts=mounts,
            restart_policy={"Name": "unless-stopped"}, log_config=docker.types.LogConfig(type="none"),
        )  # fmt: skip
        return str(
            client.create_container(
                image, entrypoint=list(argv), command=[], user="65534:65534", working_dir="/", labels=dict(labels),
                name=name, host_config=host, healthcheck={"test": ["NONE"]}, stop_signal="SIGKILL",
            )["Id"]
        )  # fmt: skip


def _started(client: docker.APIClient, container: str) -> str:
    """Why it does not stay; empty when it was seen to. `sleep` ends at once where it does not know its argument."""
    try:
        client.start(container)
    except docker.errors.APIError as error:
        if error.response is not None and error.response.status_code in {400, 404}:
            return str(error.explanation).rpartition("exec: ")[2]
        raise
    began = time.monotonic()
    while time.monotonic() < began + _PATIENCE:
        info = client.inspect_container(container)
        if info["RestartCount"] or not info["State"]["Running"]:
            return f"it ended with {info['State']['ExitCode']}"
        if time.monotonic() > began + _PROOF:
            return ""
        time.sleep(0.1)
    return "the engine did not say in time whether it runs"


def _removed(client: docker.APIClient, container: str) -> None:
    with contextlib.suppress(NotFound, ExecFailed), translated(f"container {container[:12]}"):
        client.remove_container(container, v=True, force=True)
