"""A dump that another tool has made: SQL in a file, plain or packed."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from dbguard.errors import ArchiveDamaged, NotFound
from dbguard.sqldump import SANDBOX, unquoted
from dbguard.stream import zstd

_PIECE = 1 << 16
_KEPT = 4096
"""Bytes of the piece before that a name may begin in."""

_PACKINGS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x28\xb5\x2f\xfd": zstd.ZstdDecompressor,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
"""By the first bytes of the file: its name may say anything."""

_HEADER = re.compile(rb"-- (MySQL|MariaDB) dump ")
_TRAILER = re.compile(rb"-- Dump completed")
_SERVER_WIDE = re.compile(
    rb"^SET @@GLOBAL\.GTID_PURGED=[^;]*;\n|^SET @@SESSION\.SQL_LOG_BIN= ?0;\n", re.MULTILINE | re.IGNORECASE
)
"""What mysqldump writes by default where GTIDs are on: for a new replica, and refused by a server with a past."""
_DATABASE = re.compile(
    rb"(?:\A|\n)[ \t]*(?:USE|(?:CREATE|DROP|ALTER)[ \t]+(?:DATABASE|SCHEMA))[ \t]+(?:/\*[^*]*\*/[ \t]*)?"
    rb"(?:IF[ \t]+(?:NOT[ \t]+)?EXISTS[ \t]+)?(`(?:[^`\n]|``)+`|[\w$]+(?=[^\w$]))",
    re.IGNORECASE,
)
_OBJECT = re.compile(rb"\n(?=(?:INSERT INTO|REPLACE INTO|CREATE TABLE(?: IF NOT EXISTS)?) (`(?:[^`\n]|``)+`))")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDump:
    """What is known of one after it was read to its end. `size` in bytes of SQL."""

    path: Path
    size: int
    databases: tuple[str, ...]  # that its statements name
    ended: bool | None  # whether its last line is there; None where its tool writes none


def examine(path: Path) -> ForeignDump:
    """Reads all of it. Raises NotFound, and ArchiveDamaged when it was cut or packed badly."""
    size, names, before, header = 0, dict[str, None](), b"\n", False
    for chunk in _plain(path):
        text = before + chunk
        header = header or (size < _PIECE and _HEADER.search(text) is not None)
        names |= _named(text)
        size += len(chunk)
        before = text[-_KEPT:]
    names |= _named(before + b"\n")  # a name may be the last word
    return ForeignDump(
        path=path,
        size=size,
        databases=tuple(names),
        ended=_TRAILER.search(before) is not None if header else None,
    )


def _named(text: bytes) -> dict[str, None]:
    return dict.fromkeys(map(unquoted, _DATABASE.findall(text)))


def statements(dump: ForeignDump) -> Iterator[tuple[bytes, str]]:
    """The SQL in pieces, and the table that each is about, without what is meant for whole servers."""
    what, text = "", b""
    chunks = _plain(dump.path)
    head = next(chunks, b"")
    if sandbox := SANDBOX.match(head):
        head = head[sandbox.end() :]
    for chunk in chain([_SERVER_WIDE.sub(b"", head)], chunks):
        *parts, (last, name) = _split(text + chunk)
        for data, named in parts:
            what = named or what
            yield data, what
        what = name or what
        yield last[:-_KEPT], what
        text = last[-_KEPT:]
    yield text, what


def _split(text: bytes) -> list[tuple[bytes, str]]:
    """At each line that begins with a new table."""
    edges = [(0, "")] + [(match.end(), f"table {unquoted(match[1])}") for match in _OBJECT.finditer(text)]
    ends = [at for at, _ in edges[1:]] + [len(text)]
    return [(text[at:end], name) for (at, name), end in zip(edges, ends, strict=True)]


def _plain(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            first = file.read(_PIECE)
            make = next((make for magic, make in _PACKINGS.items() if first.startswith(magic)), None)
            stored = chain([first], iter(lambda: file.read(_PIECE), b""))
            yield from stored if make is None else _unpacked(stored, make, path)
    except OSError as error:
        if error.errno is None:  # bz2 says so
            raise ArchiveDamaged(f"{path} is damaged: {error}") from error
        raise NotFound(f"{path}: {error.strerror}") from error


def _unpacked(stored: Iterable[bytes], make: Callable[[], Any], path: Path) -> Iterator[bytes]:
    """One stream after another, as the tools write them when files are joined; zeros may pad the end."""
    unit = make()
    try:
        for chunk in stored:
            data = chunk
            while data := data.lstrip(b"\0") if unit.eof else data:
                unit = make() if unit.eof else unit
                yield unit.decompress(data)
                data = unit.unused_data if unit.eof else b""
    except (zlib.error, lzma.LZMAError, zstd.ZstdError, EOFError, ValueError) as error:
        raise ArchiveDamaged(f"{path} is damaged: {error}") from error
    if not unit.eof:
        raise ArchiveDamaged(f"{path} ends too early: it was cut", hint="copy it again, or take another one")
