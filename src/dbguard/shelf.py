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
    read: datetime


class Shelves:
    """Of all targets. While no storage can be read, what was read last still counts."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._shelves: dict[TargetName, Shelf] = {}
        self._names: list[TargetName] = []
        self._until: datetime | None = None
        self.trouble = ""
        """Why nobody can say which targets have archives."""

    def names(self, now: datetime) -> list[TargetName]:
        """The targets that have archives."""
        if self._until is None or not now <= self._until <= now + _REREAD:
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
        if (
            known is None
            or fresh
            or not timedelta(0) <= now - known.read < (_TRY_AGAIN if known.unreadable else _REREAD)
        ):
            self._shelves[name] = self._read(name, known, now)
        return self._shelves[name]

    def forget(self, name: TargetName) -> None:
        """Something new is stored: the next look reads it. Until then, and if it cannot, the old one counts."""
        if name in self._shelves:
            self._shelves[name] = replace(self._shelves[name], read=_LONG_AGO)

    def _read(self, name: TargetName, known: Shelf | None, now: datetime) -> Shelf:
        self._copies.look_again()
        try:
            merged = self._copies.listing(name)
        except NotSetUp:  # the first backup sets it up, or says what is wrong
            return Shelf(read=now)
        except DbguardError as error:
            archives = known.archives if known is not None else ()
            return Shelf(archives=archives, unreadable={str(self._copies): str(error)}, read=now)
        unreadable = {url: str(error) for url, error in merged.unreadable.items()}
        return Shelf(archives=merged.stored, unreadable=unreadable, read=now)
