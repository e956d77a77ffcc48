"""What is stored, remembered between two looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from dbguard.archive import Stored
from dbguard.copies import Copies
from dbguard.errors import DbguardError, NotSetUp
from dbguard.model import TargetName

_REREAD = timedelta(minutes=15)
"""After so long it is read again, should somebody else have changed it."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_TRY_AGAIN = timedelta(minutes=2)
"""A storage that could not be read is tried again after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The good archives of one target in all storages that could be read, and why the others could not."""

    archives: Sequence[Stored] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    until: datetime  # it is read again then


class Shelves:
    """Of all targets. While no storage can be read, what was read last still counts."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._shelves: dict[TargetName, Shelf] = {}
        self._names: list[TargetName] = []
        self._until = _LONG_AGO
        self.trouble = ""
        """Why nobody can say which targets have archives."""

    def names(self, now: datetime) -> list[TargetName]:
        """The targets that have archives."""
        if not _holds(self._until, now):
            self._copies.look_again()
            try:
                self._names, self.trouble, pause = self._copies.targets(), "", _REREAD
            except NotSetUp:
                self._names, self.trouble, pause = [], "", _TRY_AGAIN
            except DbguardError as error:
                self.trouble, pause = str(error), _TRY_AGAIN
            self._until = now + pause
        return self._names

    def of(self, name: TargetName, now: datetime, *, fresh: bool = False) -> Shelf:
        """As it was within the last quarter of an hour, or as it is right now."""
        known = self._shelves.get(name)
        if known is None or fresh or not _holds(known.until, now):
            self._shelves[name] = self._read(name, known, now)
        return self._shelves[name]

    def forget(self, name: TargetName) -> None:
        """Something new is stored: the next look reads it. Until then, and if it cannot, the old one counts."""
        if name in self._shelves:
            self._shelves[name] = replace(self._shelves[name], until=_LONG_AGO)

    def _read(self, name: TargetName, known: Shelf | None, now: datetime) -> Shelf:
        self._copies.look_again()
        try:
            merged = self._copies.listing(name)
        except NotSetUp:  # the first backup sets it up, or says what is wrong
            return Shelf(until=now + _REREAD)
        except DbguardError as error:
            archives = known.archives if known is not None else ()
            return Shelf(archives=archives, unreadable={str(self._copies): str(error)}, until=now + _TRY_AGAIN)
        unreadable = {url: str(error) for url, error in merged.unreadable.items()}
        return Shelf(archives=merged.stored, unreadable=unreadable, until=now + (_TRY_AGAIN if unreadable else _REREAD))


def _holds(until: datetime, now: datetime) -> bool:
    """A clock that was put back makes nothing last longer."""
    return now <= until <= now + _REREAD
