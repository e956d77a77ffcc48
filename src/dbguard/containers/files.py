"""Files out of a container: the engine sends a tar archive in pieces, and a cut stream ends like a whole one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator

from dbguard.containers.answers import translated
from dbguard.errors import EngineUnavailable

_PIECE = 1 << 20
_END = bytes(1024)
"""Two blocks of nothing (pax, POSIX.1-2001)."""
_MOST_FOR_NOTHING = 1 << 16
_MAY_LIE_THERE = "lost+found"
"""Made by mkfs.ext4 at the top of a disk that is mounted as a volume."""


class _Pieces:
    """As a file that can be read once."""

    def __init__(self, chunks: Iterable[bytes], what: str) -> None:
        self._chunks = iter(chunks)
        self._what = what
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts, missing = [self._rest], size - len(self._rest)
        with translated(self._what):
            while missing > 0 and (chunk := next(self._chunks, b"")):
                parts.append(chunk)
                missing -= len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def unpacked(stream: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The contents of the one file in it. Raises EngineUnavailable when it is cut, or no file."""
    try:
        with tarfile.open(fileobj=_Pieces(stream, what), mode="r|") as tar:  # type: ignore[call-overload]
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isfile() else None
            if file is None:
                raise EngineUnavailable(f"{what}: the engine did not send a file")
            while data := file.read(_PIECE):
                yield data
    except tarfile.TarError as error:
        raise EngineUnavailable(f"{what}: the engine's answer was cut: {error}") from error


def only_folder(stream: Iterable[bytes], what: str) -> bool:
    """Whether the folder in it holds nothing that anybody put there."""
    data = _Pieces(stream, what).read(_MOST_FOR_NOTHING)
    if len(data) == _MOST_FOR_NOTHING:
        return False
    if not data.endswith(_END):
        raise EngineUnavailable(f"{what}: the engine's answer was cut")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        top, *others = tar.getmembers()
        return all(member.name == f"{top.name}/{_MAY_LIE_THERE}" and member.isdir() for member in others)
