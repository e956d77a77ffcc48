"""What was asked for and what came of it, a line each, on this host."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dbguard.model import Verdict
from dbguard.state import writable

FILE = "guard.jsonl"


def write(state: Path, words: Sequence[str], verdict: Verdict, outcome: Literal["allowed", "refused"]) -> None:
    """Appended in one write, on the disk before anything is deleted. Raises ConfigError where it cannot be kept."""
    line = {
        "time": datetime.now(UTC).isoformat(),
        "user": _user(),
        "folder": str(Path.cwd()),
        "command": [*words],
        "outcome": outcome,
        "volumes": [asdict(volume) for volume in verdict.volumes],
    }
    with writable(state) as folder, (folder / FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _user() -> str:
    """By name, where the system has one for this number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
