"""Puts a shim in its place, and what was there before back.

What lay there is kept beside it, and a record of what was done, under names that neither docker nor a shell looks for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dbguard.errors import ConfigError
from dbguard.shim import places
from dbguard.shim.places import NAME

KEPT = f".dbguard-{NAME}.kept"
_RECORD = f".dbguard-{NAME}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    kept: bool = False
    made: tuple[str, ...] = ()  # folders, the outermost first


def is_recorded(place: Path) -> bool:
    """A shim was put there, whatever lies there now."""
    return place.with_name(_RECORD).exists()


def install(place: Path, text: bytes) -> None:
    """Raises ConfigError where this user may not write."""
    folder, kept = place.parent, place.with_name(KEPT)
    with _explained(place):
        made = _read(place).made if is_recorded(place) else _missing(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place) and not places.is_shim(place):
            kept.unlink(missing_ok=True)  # from before an update, which has brought what lies there now
            _keep(place, kept)
        record = _Record(kept=os.path.lexists(kept), made=made)
        _put(place.with_name(_RECORD), json.dumps({"format": 1, **asdict(record)}).encode(), 0o644)
        _put(place, text, 0o755)


def uninstall(places_of_shims: Sequence[Path]) -> Iterator[str]:
    """What was there before is there again. Yields what was done. Raises ConfigError."""
    made: list[str] = []
    for place in places_of_shims:
        record = _read(place)
        with _explained(place):
            yield _restored(place, record)
            place.with_name(_RECORD).unlink(missing_ok=True)
        made += record.made
    for folder in sorted(made, reverse=True):  # what lies in a folder comes before it
        with suppress(OSError):  # something else lies there by now
            Path(folder).rmdir()


def _restored(place: Path, record: _Record) -> str:
    kept = place.with_name(KEPT)
    if os.path.lexists(place) and not places.is_shim(place):
        kept.unlink(missing_ok=True)
        return f"{place} was no shim any more, and stays as it is"
    if os.path.lexists(kept):
        kept.replace(place)
        return f"{place} is again what it was"
    place.unlink(missing_ok=True)
    return f"{place} is gone{', and so was what it stood in for' if record.kept else ''}"


def _read(place: Path) -> _Record:
    """One that cannot be read says nothing: then no folder is removed."""
    try:
        found = json.loads(place.with_name(_RECORD).read_bytes())
        return _Record(kept=bool(found["kept"]), made=tuple(map(str, found["made"])))
    except (OSError, ValueError, KeyError, TypeError):
        return _Record()


def _missing(folder: Path) -> tuple[str, ...]:
    return tuple(str(one) for one in reversed((folder, *folder.parents)) if not one.exists())


def _keep(place: Path, kept: Path) -> None:
    """The very same file under another name, so that at no moment there is none."""
    if place.is_symlink():
        kept.symlink_to(place.readlink())
        return
    try:
        kept.hardlink_to(place)
    except OSError:  # a file system without hard links
        shutil.copy2(place, kept)


def _put(file: Path, data: bytes, mode: int) -> None:
    """In one step: at no moment is there half of it."""
    descriptor, fresh = tempfile.mkstemp(dir=file.parent, prefix=".dbguard-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
        Path(fresh).chmod(mode)
        Path(fresh).replace(file)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _explained(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or place}: {error.strerror}", hint="what is there for all users takes root: use sudo"
        ) from error
