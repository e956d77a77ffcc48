"""What the sidecar remembers of the last run of each target, across its own restarts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pydantic

from dbguard.state import replaced

_FILE = "runs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How the last run ended; what an archive says is in the archive."""

    ended: pydantic.AwareDatetime | None = None
    error: str = ""  # why nothing was saved
    nothing: bool = False  # there was nothing to do: no database, or somebody else at work on it
    container: str = ""  # the id of the one it failed with: a new one is tried at once
    copied: pydantic.AwareDatetime | None = None  # when the copies were tried again
    checked: pydantic.AwareDatetime | None = None  # up to when each time to verify was made use of
    uncopied: tuple[str, ...] = ()
    unpruned: tuple[str, ...] = ()


_PASTS = pydantic.TypeAdapter(dict[str, Past])


def load(state: Path) -> dict[str, Past]:
    """By target. A file that cannot be read is no memory: then a run comes too early, never too late."""
    try:
        return _PASTS.validate_json((state / _FILE).read_bytes())
    except (OSError, ValueError):
        return {}


def save(state: Path, pasts: Mapping[str, Past]) -> None:
    """Raises ConfigError where the folder cannot be written."""
    replaced(state / _FILE, _PASTS.dump_json(dict(pasts), indent=1))
