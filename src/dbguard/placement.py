"""Would the archives die together with what they protect?"""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from dbguard.containers import Containers
from dbguard.errors import ConfigError
from dbguard.model import Container
from dbguard.scope import own_container


def check_placement(containers: Containers, url: str) -> None:
    """Refuses a folder that dies with the container, or with the volumes it is there to protect."""
    own = own_container(containers)
    parts = urlsplit(url)
    if own is None or parts.scheme != "file":
        return
    folder = PurePosixPath(unquote(parts.path))
    mounts = sorted(own.mounts, key=lambda mount: len(mount.destination))
    holding = [mount for mount in mounts if folder.is_relative_to(mount.destination)]
    if not holding or holding[-1].kind not in {"bind", "volume"}:
        raise ConfigError(
            f"{folder} is not a mount: archives there would die with this container",
            hint=f"mount a folder of the host: volumes: [./backups:{folder}]",
        )
    volume = holding[-1].name
    if (
        holding[-1].kind == "volume"
        and volume is not None
        and _dies_with(containers, volume, own, holding[-1].anonymous)
    ):
        raise ConfigError(
            f"{folder} is a volume of this compose project: `down --volumes` deletes it together with the data",
            hint=f"mount a folder of the host instead: volumes: [./backups:{folder}]",
        )


def _dies_with(containers: Containers, volume: str, own: Container, anonymous: bool) -> bool:
    labels = containers.volume_labels(volume) or {}
    return anonymous or (own.project is not None and labels.get("com.docker.compose.project") == own.project)
