"""Somebody says that a volume may go all the same: by its name, never all at once."""

from __future__ import annotations

import os
from dataclasses import replace

from dbguard.errors import UsageError
from dbguard.model import Verdict, VolumeVerdict

ALLOW = "DBGUARD_ALLOW"
"""The variable that names volumes, with commas. CI=true, or a terminal that is not there, is no consent."""


def applied(verdict: Verdict) -> Verdict:
    """With what the user has allowed. Raises UsageError for a pattern: whoever deletes data says which."""
    names = {name.strip() for name in os.environ.get(ALLOW, "").split(",") if name.strip()}
    if patterns := sorted(name for name in names if set(name) & set("*?[")):
        raise UsageError(f"{ALLOW}={patterns[0]}: no patterns", hint="name each volume, with commas")
    return replace(verdict, volumes=tuple(_allowed(volume, names) for volume in verdict.volumes))


def _allowed(volume: VolumeVerdict, names: set[str]) -> VolumeVerdict:
    if volume.allowed or volume.volume not in names:
        return volume
    return replace(volume, allowed=True, reason=f"{ALLOW} names it ({volume.reason})")
