"""Which shims a user needs: where each has to lie to be found first, and what it stands in front of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbguard.errors import NotFound
from dbguard.shim import places
from dbguard.shim.files import KEPT, is_recorded
from dbguard.shim.places import NAME, Surroundings
from dbguard.shim.script import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """One that is to be. The first of `reals` that is there is meant: an update may move it."""

    kind: Kind
    place: Path
    reals: tuple[Path, ...]

    @property
    def program(self) -> str:
        return "docker compose" if self.kind == "plugin" else NAME

    @property
    def keeps(self) -> bool:
        """Something else lies in its place, and is kept."""
        return os.path.lexists(self.place) and not places.is_shim(self.place)


def plan(around: Surroundings, *, all_users: bool) -> list[Shim]:
    """One for each Compose that there is. Raises NotFound for none."""
    found = [*_plugin(around, all_users), *_standalone(around, all_users)]
    if not found:
        where = ", ".join(map(str, around.system if all_users else around.plugins))
        raise NotFound(f"there is no Compose to guard, neither in PATH nor in {where}", hint="install Compose first")
    return found


def installed(around: Surroundings, *, all_users: bool) -> list[Path]:
    """Where shims lie, and where they lay before an update has overwritten them."""
    shared = [*around.system, around.programs]
    own = [*around.plugins, around.own_programs, *around.path]
    folders = shared if all_users else [folder for folder in own if folder not in shared]
    found = [folder / NAME for folder in dict.fromkeys(folders)]
    return [place for place in found if is_recorded(place)]


def _plugin(around: Surroundings, all_users: bool) -> Iterator[Shim]:
    """Where config.json names folders, docker looks there first: a plugin in one of them is replaced there."""
    if all_users:
        folders, folder = around.system, around.system[0]
    else:
        folders, folder = around.plugins, around.own_plugins
        first = next(
            (file.parent for file in places.plugins(folders) if is_recorded(file) or not places.is_shim(file)), None
        )
        folder = first if first in around.extra_plugins else folder
    place = folder / NAME
    if reals := _reals(place, places.plugins(folders), [folder / NAME for folder in folders]):
        yield Shim(kind="plugin", place=place, reals=reals)


def _standalone(around: Surroundings, all_users: bool) -> Iterator[Shim]:
    place = (around.programs if all_users else around.own_programs) / NAME
    found = places.programs((*around.path, place.parent))
    if all_users:
        found = [file for file in found if not file.is_relative_to(around.home)]  # which the others have not
    if reals := _reals(place, found, [folder / NAME for folder in (around.programs, Path("/usr/bin"))]):
        yield Shim(kind="standalone", place=place, reals=reals)


def _reals(place: Path, candidates: Sequence[Path], later: Sequence[Path]) -> tuple[Path, ...]:
    """What is kept beside the shim, or will be; else what docker or the shell would find without it."""
    kept = place.with_name(KEPT)
    here = os.path.lexists(kept) or (os.path.lexists(place) and not places.is_shim(place))
    first = kept if here else next((file for file in candidates if file != place and not places.is_shim(file)), None)
    return tuple(dict.fromkeys([first, *(file for file in later if file != place)])) if first is not None else ()
