"""Compressed streams: damage of any kind is seen, and memory stays bounded."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ArchiveDamaged
from dbguard.stream import CHUNK, Meter, Packer, Unpacker, metered, unpacked
from tests.unit.dump_texts import chunk_sizes, chunked

MIB = 1 << 20
PLAIN = random.Random(1).randbytes(300) + b"INSERT INTO `t` VALUES (1);\n" * 50


def packed(data: bytes, *more: bytes, level: int = 3) -> bytes:
    packer = Packer(level)
    return b"".join([packer.pack(data), *map(packer.pack, more), packer.finish()])


def plain(stream: bytes, sizes: tuple[int, ...] = (CHUNK,)) -> bytes:
    return b"".join(unpacked(chunked(stream, sizes)))


PACKED = packed(PLAIN)


@given(st.lists(st.binary(max_size=500), max_size=5), st.integers(1, 19), chunk_sizes)
def test_what_is_packed_comes_back(pieces: list[bytes], level: int, sizes: list[int]) -> None:
    stream = packed(b"", *pieces, level=level)
    assert b"".join(unpacked(chunked(stream, sizes))) == b"".join(pieces)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd here")
def test_the_zstd_program_reads_it() -> None:
    done = subprocess.run(["zstd", "-dc"], input=PACKED, capture_output=True, check=True)
    assert done.stdout == PLAIN


def test_every_shorter_stream_is_damaged() -> None:
    for length in range(len(PACKED)):
        with pytest.raises(ArchiveDamaged):
            plain(PACKED[:length])


def test_every_flipped_bit_is_damage() -> None:
    """What comes out whole nevertheless must be what went in."""
    unseen = []
    for bit in range(8 * len(PACKED)):
        broken = bytearray(PACKED)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            if plain(bytes(broken)) != PLAIN:
                unseen.append(bit)
        except ArchiveDamaged:
            pass
    assert unseen == []


@given(st.data())
def test_any_other_byte_is_damage(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PACKED) - 1))
    broken = bytearray(PACKED)
    broken[at] = data.draw(st.integers(0, 255).filter(lambda value: value != PACKED[at]))
    with suppress(ArchiveDamaged):
        assert plain(bytes(broken)) == PLAIN, "a bit that nobody uses is no harm"


@pytest.mark.parametrize("size", [1, 7, CHUNK])
@pytest.mark.parametrize("after", [b"\0", b"\n", b"garbage", PACKED, packed(b"")])
def test_bytes_after_the_end_are_damage(after: bytes, size: int) -> None:
    """Also a second frame, which the zstd program would read on as if it belonged to the first."""
    with pytest.raises(ArchiveDamaged, match="after the end"):
        plain(PACKED + after, (size,))
    with pytest.raises(ArchiveDamaged, match="after the end"):
        plain(PACKED + after, (len(PACKED),))


@pytest.mark.parametrize("stream", [b"", b"\x28\xb5\x2f\xfd", b"-- MySQL dump", bytes(100), b"\x1f\x8b\x08"])
def test_what_is_no_zstd_is_damaged(stream: bytes) -> None:
    with pytest.raises(ArchiveDamaged):
        plain(stream)


def test_a_compressor_that_is_not_finished_makes_no_whole_stream() -> None:
    packer = Packer(3)
    with pytest.raises(ArchiveDamaged, match="too early"):
        plain(packer.pack(PLAIN) + packer.pack(PLAIN))


def test_a_frame_has_a_checksum() -> None:
    assert PACKED[4] & 0b100, "RFC 8878, 3.1.1.1.1: Content_Checksum_flag"


def test_nothing_comes_after_damage() -> None:
    """The caller may have used what came before: so restore checks the stored bytes first."""
    broken = bytearray(packed(bytes(3 * MIB)))
    broken[-1] ^= 1
    unpacker = Unpacker()
    with pytest.raises(ArchiveDamaged, match="damaged"):
        [*unpacker.unpack(bytes(broken))]


def test_a_bomb_takes_no_memory() -> None:
    """64 MiB of zeros in a few KiB."""
    stream = packed(bytes(64 * MIB))
    tracemalloc.start()
    sizes = [len(piece) for piece in unpacked([stream])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) == 64 * MIB
    assert max(sizes) <= CHUNK
    assert peak < 8 * MIB


@given(st.lists(st.binary(max_size=100)))
def test_the_meter_measures_what_passes(pieces: list[bytes]) -> None:
    meter = Meter()
    assert [*metered(pieces, meter)] == pieces
    whole = b"".join(pieces)
    assert (meter.size, meter.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
