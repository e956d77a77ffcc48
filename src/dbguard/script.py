"""The statements of an archive, on their way to a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from dbguard.archive import Archive, Blob, Database
from dbguard.catalog import Catalog
from dbguard.encryption import opened
from dbguard.errors import ArchiveDamaged
from dbguard.model import Progress
from dbguard.report import Report, Throttled, quiet
from dbguard.sql import quoted
from dbguard.sqldump import Piece, Scanner
from dbguard.stream import Meter, metered, unpacked

_BATCH = 256 << 10


class Selection(Protocol):
    """What of a dump is wanted."""

    def of(self, piece: Piece) -> Iterator[tuple[Piece, bytes]]:
        """What is to be done of this piece: nothing, the piece with its text, or others in its place."""
        ...


class Script:
    """Reads the SQL of an archive, and tells how far it has come."""

    def __init__(
        self,
        archive: Archive,
        names: Mapping[str, str],
        catalog: Catalog,
        report: Report = quiet,
        *,
        keys: Sequence[Any] = (),
        selection: Selection | None = None,
    ) -> None:
        """`names` says which databases to load, and under which name, unless a `selection` does; `keys` open an
        encrypted archive."""
        self._archive = archive
        self._catalog = catalog
        self._keys = keys
        self._selection = selection or Databases(archive, names)
        self._report = Throttled(report)
        self._current = ""
        self.size = archive.blobs["data"].plain_size

    def __iter__(self) -> Iterator[bytes]:
        """In chunks of some 256 KiB. Raises like `pieces`."""
        batch: list[bytes] = []
        size = 0
        for _, data, _ in self.pieces():
            batch.append(data)
            size += len(data)
            if size >= _BATCH:
                yield b"".join(batch)
                batch, size = [], 0
        yield b"".join(batch)

    def pieces(self) -> Iterator[tuple[Piece, bytes, str]]:
        """Each piece that was asked for, what is to be done of it, and the object it belongs to: `table shop.orders`.
        Raises ArchiveDamaged when what was stored is not what was dumped."""
        for piece in self._pieces():
            what = f"{piece.object[0]} {piece.database}.{piece.object[1]}" if piece.object else ""
            self._current = what or self._current
            for part, data in self._selection.of(piece):
                yield part, data, what

    def _pieces(self) -> Iterator[Piece]:
        blob = self._archive.blobs["data"]
        meter = Meter()
        scanner = Scanner()
        for chunk in metered(unpacked(packed(self._catalog, self._archive, blob, self._keys)), meter):
            yield from scanner.feed(chunk)
            self._report(lambda: self._progress(meter.size))
        yield from scanner.close()
        if meter.sha256 != blob.plain_sha256:
            raise ArchiveDamaged(f"archive {self._archive.id}: what was unpacked is not what was dumped")

    def _progress(self, done: int) -> Progress:
        return Progress(target=self._archive.target, phase="loading", done=done, total=self.size, current=self._current)


def packed(catalog: Catalog, archive: Archive, blob: Blob, keys: Sequence[Any]) -> Iterator[bytes]:
    """A blob as it was before it was encrypted. Raises NoKey."""
    chunks = catalog.chunks(archive, blob)
    return opened(chunks, keys, made_for=blob.recipients) if blob.recipients else chunks


def for_database(piece: Piece, name: str) -> bytes:
    """The same for a database of another name. Around what was made under another character set, the dump programs
    write ALTER DATABASE with the name."""
    head = f"ALTER DATABASE {quoted(piece.database or '')} ".encode()
    if piece.kind == "use":
        return f"USE {quoted(name)};\n".encode()
    if piece.data.startswith(head):
        return f"ALTER DATABASE {quoted(name)} ".encode() + piece.data[len(head) :]
    return piece.data


class Databases:
    """Of a dump, the databases that were asked for, under the names that were asked for."""

    def __init__(self, archive: Archive, names: Mapping[str, str], *, rows: bool = True) -> None:
        self._names = names
        self._rows = rows
        self._whole = len(names) == len(archive.databases)
        self._renamed = {
            saved.name: saved for saved in archive.databases if names.get(saved.name, saved.name) != saved.name
        }

    def of(self, piece: Piece) -> Iterator[tuple[Piece, bytes]]:
        """See Selection."""
        return ((piece, data) for data in self._data(piece))

    def _data(self, piece: Piece) -> Iterator[bytes]:
        if piece.kind == "rows" and not self._rows:
            return
        if piece.kind in {"database", "use"} and piece.database in self._renamed:
            name = self._names[piece.database]
            if piece.kind == "database":
                yield f"{creation(self._renamed[piece.database], name)};\n".encode()
            yield f"USE {quoted(name)};\n".encode()
        elif piece.database in self._renamed:
            yield for_database(piece, self._names[piece.database])
        elif self._whole or piece.database is None or piece.database in self._names:
            yield piece.data


def creation(saved: Database, name: str) -> str:
    """The saved CREATE DATABASE with another name."""
    return saved.create.replace(quoted(saved.name), quoted(name), 1)
