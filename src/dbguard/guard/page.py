"""What the guard tells people: each volume, what is on it, and what to type next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from dbguard.compose import Deleting
from dbguard.errors import Refused
from dbguard.guard.overrides import ALLOW
from dbguard.model import Verdict, VolumeVerdict


def refusal(verdict: Verdict, command: Deleting, *, stopped: bool = False) -> Refused:
    """The page for a tired person. With `stopped`, what had been stopped runs again."""
    targets = sorted({volume.target for volume in verdict.refused if volume.target})
    names = ",".join(volume.volume for volume in verdict.refused)
    lines = [
        f"refused: {shlex.join(command.words)} would delete what no fresh backup holds",
        *table(verdict.volumes),
        "nothing was deleted, and what was stopped runs again" if stopped else "nothing was stopped or deleted",
    ]
    mendable = all(volume.mendable for volume in verdict.refused)
    steps = [
        *(f"back up first:      dbguard backup now {target}" for target in targets if not mendable),
        *([f"back up and go on:  {shlex.join(command.again('--backup-first'))}"] if mendable else []),
        *([f"keep the data:      {command.sparing}"] if command.sparing else []),
        f"delete anyway:      {ALLOW}={shlex.quote(names)} {shlex.join(command.again())}",
    ]
    return Refused("\n".join(lines), hint="\n      ".join(steps))


def table(volumes: Sequence[VolumeVerdict]) -> list[str]:
    rows = [(_shown(v.volume), v.what, "ok" if v.allowed else "REFUSED", v.reason) for v in volumes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  " + "  ".join([*map(str.ljust, row[:3], widths), row[3]]) for row in rows]


def _shown(volume: str) -> str:
    return f"{volume[:12]}… (anonymous)" if re.fullmatch("[0-9a-f]{64}", volume) else volume
