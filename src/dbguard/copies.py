"""Several storages as one: written in one pass, each on its own; read from whichever has it, nearest first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dbguard.archive import Archive, Marks, Stored
from dbguard.catalog import Catalog, Damaged, Listing
from dbguard.errors import ArchiveDamaged, DbguardError, NotFound, NotSetUp, StorageUnavailable
from dbguard.model import TargetName
from dbguard.storages import Writer

T = TypeVar("T")
_PAUSE = 60.0
"""Seconds after which a storage that could not be reached is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A good archive, and the catalogs that hold it, nearest first."""

    stored: Stored
    catalogs: tuple[Catalog, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Of one target in all storages that can be read, newest first. `unreadable` says why others cannot."""

    archives: tuple[Copied, ...]
    damaged: tuple[tuple[str, Damaged], ...]  # with the URL of the storage
    listings: Mapping[str, Listing]
    unreadable: Mapping[str, DbguardError]

    @property
    def stored(self) -> list[Stored]:
        return [copied.stored for copied in self.archives]


class Copies:
    """The storages of one configuration."""

    def __init__(self, catalogs: Sequence[Catalog]) -> None:
        """Nearest first."""
        self.catalogs = tuple(catalogs)
        self._down: dict[Catalog, tuple[float, StorageUnavailable]] = {}

    def __str__(self) -> str:
        return " and ".join(catalog.url for catalog in self.catalogs)

    def note_down(self, failed: Mapping[str, DbguardError]) -> None:
        """What a run has just learnt, by URL: a storage that cannot be reached is not asked again at once."""
        for catalog in self.catalogs:
            error = failed.get(catalog.url)
            if isinstance(error, StorageUnavailable):
                self._down[catalog] = (time.monotonic(), error)

    def look_again(self) -> None:
        """Whoever lives long asks now and then whether each storage is still the one it was."""
        for catalog in self.catalogs:
            catalog.look_again()

    def targets(self) -> list[TargetName]:
        """Those of every storage that can be read. Raises when none can."""
        found, _ = self._ask(Catalog.targets)
        return sorted({name for names in found.values() for name in names})

    def listing(self, target: TargetName) -> Merged:
        """Raises when no storage can be read: that is never "no backup"."""
        listings, unreadable = self._ask(lambda catalog: catalog.listing(target))
        holders: dict[str, list[tuple[Catalog, Stored]]] = {}
        for catalog, listing in listings.items():
            for stored in listing.archives:
                holders.setdefault(stored.id, []).append((catalog, stored))
        return Merged(
            archives=tuple(_copied(holders[archive_id]) for archive_id in sorted(holders, reverse=True)),
            damaged=tuple((catalog.url, bad) for catalog, one in listings.items() for bad in one.damaged),
            listings={catalog.url: listing for catalog, listing in listings.items()},
            unreadable=unreadable,
        )

    def find(self, archive_id: str, targets: Sequence[TargetName] | None = None) -> Copied:
        """By id, or by the beginning of one that fits no other. Raises NotFound, or why it is damaged."""
        merged = [self.listing(target) for target in (targets if targets is not None else self.targets())]
        fits = [one for each in merged for one in each.archives if archive_id and one.stored.id.startswith(archive_id)]
        if len(fits) == 1:
            return fits[0]
        for _, bad in (pair for each in merged for pair in each.damaged):
            if not fits and archive_id and bad.id.startswith(archive_id):
                raise ArchiveDamaged(f"archive {bad.target} {bad.id}: {bad.reason}")
        for error in (error for each in merged for error in each.unreadable.values()):
            raise error
        problem = "no archive" if not fits else "more than one archive"
        raise NotFound(f"{problem} with id {archive_id} in {self}", hint="`dbguard list` shows them all")

    def _ask(self, question: Callable[[Catalog], T]) -> tuple[dict[Catalog, T], dict[str, DbguardError]]:
        """A storage that was never used has nothing to say, as long as another one has."""
        answers: dict[Catalog, T] = {}
        errors: dict[str, DbguardError] = {}
        for catalog in self.catalogs:
            try:
                self._check_up(catalog)
                answers[catalog] = question(catalog)
            except DbguardError as error:
                errors[catalog.url] = error
                if isinstance(error, StorageUnavailable) and not isinstance(error, NotSetUp):
                    self._down.setdefault(catalog, (time.monotonic(), error))
        if not answers:
            raise next((error for error in errors.values() if not isinstance(error, NotSetUp)), _first(errors))
        return answers, {url: error for url, error in errors.items() if not isinstance(error, NotSetUp)}

    def _check_up(self, catalog: Catalog) -> None:
        """A store that does not answer takes half a minute to say so: it is not asked again at once."""
        since, error = self._down.get(catalog, (0.0, None))
        if error is not None and time.monotonic() - since < _PAUSE:
            raise error
        self._down.pop(catalog, None)


def _copied(holders: Sequence[tuple[Catalog, Stored]]) -> Copied:
    """What was said of any copy is said of the archive; only a check speaks of one copy, and here of the nearest."""
    marks = [stored.marks for _, stored in holders]
    said = Marks(
        held=any(mark.held for mark in marks),
        relied_on_until=max((mark.relied_on_until for mark in marks if mark.relied_on_until), default=None),
        confirmed=any(mark.confirmed for mark in marks),
        verified=next((mark.verified for mark in marks if mark.verified is not None), None),
    )
    return Copied(stored=replace(holders[0][1], marks=said), catalogs=tuple(catalog for catalog, _ in holders))


class Round:
    """One archive on its way into several storages. One that fails is dropped, the others go on."""

    def __init__(self, catalogs: Sequence[Catalog], target: TargetName, archive_id: str) -> None:
        self.failed: dict[str, DbguardError] = {}
        self.alive = [*catalogs]
        self._target = target
        self._id = archive_id
        self._begun: set[Catalog] = set()

    def each(self, act: Callable[[Catalog], object]) -> None:
        """Raises the first failure when no storage is left."""
        for catalog in [*self.alive]:
            try:
                act(catalog)
            except DbguardError as error:
                self.alive.remove(catalog)
                self.failed[catalog.url] = error
                if catalog in self._begun:
                    catalog.discard(self._target, self._id)
        if not self.alive:
            raise _first(self.failed)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Writer]:
        """A blob in each of them. Leave it badly and it is in none."""
        open_blobs: dict[Catalog, contextlib.ExitStack] = {}
        writers: dict[Catalog, Writer] = {}

        def begin(catalog: Catalog) -> None:
            self._begun.add(catalog)
            open_blobs[catalog] = contextlib.ExitStack()
            writers[catalog] = open_blobs[catalog].enter_context(catalog.create(self._target, self._id, name))

        def end(catalog: Catalog) -> None:
            open_blobs.pop(catalog).close()

        try:
            self.each(begin)
            yield _Tee(self, writers, open_blobs)
            self.each(end)
        except BaseException as error:
            _leave_badly([*open_blobs.values()], error)
            raise

    def publish(self, archive: Archive) -> None:
        self.each(lambda catalog: catalog.publish(archive))

    def discard(self) -> None:
        """Nothing of it stays, as far as the storages still answer."""
        for catalog in self.alive:
            if catalog in self._begun:
                catalog.discard(self._target, self._id)


class _Tee:
    def __init__(
        self, round_: Round, writers: dict[Catalog, Writer], open_blobs: dict[Catalog, contextlib.ExitStack]
    ) -> None:
        self._round = round_
        self._writers = writers
        self._open_blobs = open_blobs

    def write(self, data: bytes) -> None:
        self._round.each(lambda catalog: self._write(catalog, data))

    def _write(self, catalog: Catalog, data: bytes) -> None:
        try:
            self._writers[catalog].write(data)
        except DbguardError as error:
            _leave_badly([self._open_blobs.pop(catalog)], error)
            raise


def _leave_badly(stacks: Sequence[contextlib.ExitStack], error: BaseException) -> None:
    for stack in stacks:
        with contextlib.suppress(DbguardError):
            stack.__exit__(type(error), error, error.__traceback__)


def _first(errors: Mapping[str, DbguardError]) -> DbguardError:
    """The error of the first storage, which says how the others failed too."""
    first, *others = errors.items()
    for url, error in others:
        first[1].add_note(f"{url}: {error}")
    return first[1]
