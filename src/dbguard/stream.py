"""Bytes on the way: counted and hashed, packed and unpacked."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator

from dbguard.errors import ArchiveDamaged

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

CHUNK = 1 << 20
"""Bytes handled at a time: memory stays flat whatever the dump's size."""


class Meter:
    """Size and SHA-256 of what passes."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class Packer:
    """Plain bytes to one zstd frame with a checksum."""

    def __init__(self, level: int) -> None:
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,  # off by default: a flipped bit would pass unseen
        }
        self._zstd = zstd.ZstdCompressor(options=options)

    def pack(self, data: bytes) -> bytes:
        return self._zstd.compress(data)

    def finish(self) -> bytes:
        """The frame's end. Only for a stream whose end was proven: a closed frame looks whole."""
        return self._zstd.flush()


class Unpacker:
    """One zstd frame to plain bytes, in bounded pieces. Raises ArchiveDamaged."""

    def __init__(self) -> None:
        self._zstd = zstd.ZstdDecompressor()

    def unpack(self, data: bytes) -> Iterator[bytes]:
        if self._zstd.eof and data:
            raise ArchiveDamaged("there are bytes after the end of the compressed stream")
        try:
            plain = self._zstd.decompress(data, max_length=CHUNK)
            while plain:
                yield plain
                if self._zstd.needs_input or self._zstd.eof:
                    break
                plain = self._zstd.decompress(b"", max_length=CHUNK)
        except zstd.ZstdError as error:
            raise ArchiveDamaged(f"the compressed stream is damaged: {error}") from error
        if self._zstd.unused_data:
            raise ArchiveDamaged("there are bytes after the end of the compressed stream")

    def finish(self) -> None:
        """Raises unless the frame ended: a cut stream decodes without an error up to the cut."""
        if not self._zstd.eof:
            raise ArchiveDamaged("the compressed stream ends too early")


def unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Plain bytes of a stored stream; its end is checked before the iterator ends."""
    unpacker = Unpacker()
    for chunk in chunks:
        yield from unpacker.unpack(chunk)
    unpacker.finish()


def metered(chunks: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    for chunk in chunks:
        meter.update(chunk)
        yield chunk
