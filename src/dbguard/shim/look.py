"""Is what a user types guarded? Looks at what docker and the shell would find."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dbguard.shim import places, script
from dbguard.shim.files import is_recorded
from dbguard.shim.places import NAME, Surroundings

State = Literal[
    "guarded",
    "absent",  # there is no such command
    "open",  # it never had a shim
    "overwritten",  # an update has put itself in the shim's place
    "shadowed",  # something else is found before the shim
    "broken",  # the shim is found, and cannot do what it is for
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One command, as it would be found now."""

    program: str
    state: State
    text: str
    file: str | None = None
    hint: str | None = None

    @property
    def wrong(self) -> bool:
        """Somebody has wanted it guarded, and it is not."""
        return self.state in {"overwritten", "shadowed", "broken"}


def look(around: Surroundings) -> list[Found]:
    """`docker compose` and `docker-compose`, for this user."""
    folders = around.path if around.own_programs in around.path else (*around.path, around.own_programs)
    return [
        _found("docker compose", places.plugins(around.plugins), [folder / NAME for folder in around.plugins]),
        _found(NAME, places.programs(around.path), [folder / NAME for folder in folders]),
    ]


def _found(program: str, present: Sequence[Path], possible: Sequence[Path]) -> Found:
    again = "`dbguard guard install` puts the shim in front again"
    shims = [file for file in possible if places.is_shim(file)]
    if not present and not shims:
        return Found(program=program, state="absent", text="there is no such command")
    first = present[0] if present else None
    if first is not None and places.is_shim(first):
        return _guarded(program, first)
    file = str(first)
    if first is not None and is_recorded(first):
        text = f"{file} has overwritten the shim, as updates do: nothing is guarded"
        return Found(program=program, state="overwritten", text=text, file=file, hint=again)
    if shims:
        text = f"{file if first is not None else 'nothing'} is found before the shim {shims[0]}: nothing is guarded"
        hint = again if program != NAME else f"put {shims[0].parent} first in PATH"
        return Found(program=program, state="shadowed", text=text, file=file, hint=hint)
    text = f"{file} is not guarded"
    return Found(program=program, state="open", text=text, file=file, hint="`dbguard guard install` guards it")


def _guarded(program: str, shim: Path) -> Found:
    head = places.head(shim)
    python, reals = script.python_of(head), script.reals_of(head)
    real = next((file for file in reals if os.access(file, os.X_OK)), None)
    if real is None:
        text, hint = f"no Compose is behind the shim {shim} any more", "install it, then `dbguard guard install`"
        return Found(program=program, state="broken", text=text, file=str(shim), hint=hint)
    if python is None or not os.access(python, os.X_OK):
        text = f"the shim {shim} cannot call dbguard, {python} is gone: it refuses whatever may delete"
        return Found(program=program, state="broken", text=text, file=str(shim), hint="`dbguard guard install`")
    return Found(program=program, state="guarded", text=f"{shim}, in front of {real}", file=str(shim))
