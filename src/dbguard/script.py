"""The statements of an archive, on their way to a server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dbguard.archive import Archive, Blob, Database
from dbguard.catalog import Catalog
from dbguard.encryption import opened
from dbguard.errors import ArchiveDamaged
from dbguard.model import Progress
from dbguard.report import Report, Throttled, quiet
from dbguard.sql import quoted
from dbguard.sqldump import Piece, Scanner
from dbguard.stream import Meter, metered, unpacked

_AT_LINE = re.compile(r"ERROR .* at line (\d+)")
_BATCH = 256 << 10


class Script:
    """Iterates over SQL in pieces of some 256 KiB, and knows which line of it belongs to which object."""

    def __init__(
        self,
        archive: Archive,
        names: Mapping[str, str],
        catalog: Catalog,
        report: Report = quiet,
        *,
        keys: Sequence[Any] = (),
    ) -> None:
        """`names` says which databases to load, and under which name; `keys` open an encrypted archive."""
        self._archive = archive
        self._catalog = catalog
        self._keys = keys
        self._selection = _Selection(archive, names)
        self._report = Throttled(report)
        self._places: list[tuple[int, str]] = []
        self._line = 1

    def __iter__(self) -> Iterator[bytes]:
        """Raises ArchiveDamaged when what was stored is not what was dumped."""
        batch: list[bytes] = []
        size = 0
        for piece in self._pieces():
            for data in self._selection.of(piece):
                self._note(piece)
                self._line += data.count(b"\n")
                batch.append(data)
                size += len(data)
            if size >= _BATCH:
                yield b"".join(batch)
                batch, size = [], 0
        yield b"".join(batch)

    def place(self, message: str) -> str:
        """`table shop.orders`, from the line that the client's message names; empty when it names none."""
        match = _AT_LINE.search(message)
        line = int(match.group(1)) if match else 0
        return next((what for start, what in reversed(self._places) if start <= line), "")

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

    def _note(self, piece: Piece) -> None:
        if piece.object is not None:
            kind, name = piece.object
            what = f"{kind} {piece.database}.{name}"
            if not self._places or self._places[-1][1] != what:
                self._places.append((self._line, what))

    def _progress(self, done: int) -> Progress:
        current = self._places[-1][1] if self._places else ""
        total = self._archive.blobs["data"].plain_size
        return Progress(target=self._archive.target, phase="loading", done=done, total=total, current=current)


def packed(catalog: Catalog, archive: Archive, blob: Blob, keys: Sequence[Any]) -> Iterator[bytes]:
    """A blob as it was before it was encrypted. Raises NoKey."""
    chunks = catalog.chunks(archive, blob)
    return opened(chunks, keys, made_for=blob.recipients) if blob.recipients else chunks


class _Selection:
    """Of a dump, the part that was asked for, under the name that was asked for."""

    def __init__(self, archive: Archive, names: Mapping[str, str]) -> None:
        self._names = names
        self._whole = len(names) == len(archive.databases)
        self._renamed = {
            saved.name: saved for saved in archive.databases if names.get(saved.name, saved.name) != saved.name
        }

    def of(self, piece: Piece) -> Iterator[bytes]:
        if piece.kind in {"database", "use"} and piece.database in self._renamed:
            name = self._names[piece.database]
            if piece.kind == "database":
                yield _creation(self._renamed[piece.database], name)
            yield f"USE {quoted(name)};\n".encode()
        elif self._whole or piece.database is None or piece.database in self._names:
            yield piece.data


def _creation(saved: Database, name: str) -> bytes:
    """The saved CREATE DATABASE with another name."""
    return (saved.create.replace(quoted(saved.name), quoted(name), 1) + ";\n").encode()
