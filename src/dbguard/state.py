"""What dbguard keeps on this host, outside any storage: locks, and which storages it has used."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dbguard.errors import ConfigError


def home(variable: str, fallback: str) -> Path:
    """Our folder below one of the XDG base directories."""
    return Path(os.environ.get(variable) or Path.home() / fallback) / "dbguard"


def default_state() -> Path:
    """Where the state is when nobody says otherwise."""
    return home("XDG_STATE_HOME", ".local/state")


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


def replaced(file: Path, text: bytes) -> None:
    """Writes a file so that its old or its new text is there whatever happens. Raises ConfigError."""
    with writable(file.parent) as folder:
        descriptor, fresh = tempfile.mkstemp(dir=folder, prefix=f".{file.name}-")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(text)
            Path(fresh).replace(file)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise


class KnownStorages:
    """The URLs of storages that were used before, so that one that has become empty is noticed."""

    def __init__(self, state: Path) -> None:
        self.file = state / "storages.json"

    def __contains__(self, url: str) -> bool:
        return url in self._urls()

    def add(self, url: str) -> None:
        if url in self:
            return
        replaced(self.file, json.dumps([*self._urls(), url]).encode())

    def _urls(self) -> list[str]:
        """A file that a power cut has left unreadable is no memory; what is in the storages says the rest."""
        try:
            found = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return []
        return [url for url in found if isinstance(url, str)] if isinstance(found, list) else []
