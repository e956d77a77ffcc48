"""The Python that a shim calls."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from dbguard.errors import DbguardError

_PATIENCE = 60.0
_WAYS = ("-I", "-E -P")
"""Alone; or at least without PYTHONPATH and the working directory, where dbguard lies in the user's own site folder."""


def flags() -> str:
    """What this interpreter needs so that only what is installed is imported. Raises DbguardError."""
    for way in _WAYS:
        command = [sys.executable, *way.split(), "-c", "import dbguard.cli.shim"]
        if subprocess.run(command, capture_output=True, check=False, cwd="/", timeout=_PATIENCE).returncode == 0:
            return way
    raise DbguardError(
        f"{sys.executable} finds dbguard only by PYTHONPATH or in this folder, which a shim cannot rely on",
        hint="install it: `pipx install .`",
    )


def is_for_all(python: Path) -> bool:
    """Whether every user may go as far as the interpreter and its environment, and run it."""
    places = [*python.parents, *python.resolve().parents]
    may_enter = all(folder.stat().st_mode & stat.S_IXOTH for folder in places)
    return may_enter and bool(python.stat().st_mode & stat.S_IXOTH)
