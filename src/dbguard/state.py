"""What dbguard keeps on this host, outside any storage: locks, and which storages it has used."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dbguard.errors import ConfigError


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[Path]:
    """The folder, created when missing. Raises ConfigError where this user may not write."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise ConfigError(
            f"state {folder}: {error.strerror}",
            hint="set `state` (DBGUARD_STATE) to a folder that can be written",
        ) from error


class KnownStorages:
    """The URLs of storages that were used before, so that one that has become empty is noticed."""

    def __init__(self, state: Path) -> None:
        self.file = state / "storages.json"

    def __contains__(self, url: str) -> bool:
        return url in self._urls()

    def add(self, url: str) -> None:
        if url in self:
            return
        with writable(self.file.parent) as folder:
            descriptor, fresh = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "w") as out:
                json.dump([*self._urls(), url], out)
            Path(fresh).replace(self.file)

    def _urls(self) -> list[str]:
        """A file that a power cut has left unreadable is no memory; what is in the storages says the rest."""
        try:
            found = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return []
        return [url for url in found if isinstance(url, str)] if isinstance(found, list) else []
