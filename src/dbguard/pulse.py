"""The sidecar's sign of life, for the container's health check. Small and quick: it is read once a minute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbguard.state import replaced

_FILE = "pulse.json"
TOO_OLD = timedelta(minutes=5)
"""A sidecar that has not looked for so long does not work, whatever its process says."""


def write(state: Path, at: datetime, problems: Mapping[str, str]) -> None:
    """What is unhealthy, by what it is about. Raises ConfigError where the folder cannot be written."""
    replaced(state / _FILE, json.dumps({"at": at.isoformat(), "problems": dict(problems)}).encode())


def read(state: Path, now: datetime | None = None) -> dict[str, str]:
    """What is unhealthy now; nothing when all is well."""
    try:
        found = json.loads((state / _FILE).read_bytes())
        silent = (now or datetime.now(UTC)) - datetime.fromisoformat(found["at"])
        problems = {str(about): str(problem) for about, problem in found["problems"].items()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {"dbguard run": "it has not looked yet"}
    if not -TOO_OLD < silent < TOO_OLD:
        problems["dbguard run"] = f"it looked for the last time {silent.total_seconds():.0f} seconds ago"
    return problems
