"""A dump on its way in: what is stored is one whole zstd frame of exactly what came, or it fails."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ArchiveDamaged, IncompleteDump
from dbguard.intake import Intake
from dbguard.stream import Packer, unpacked
from tests.unit.dump_texts import DumpText, chunk_sizes, chunked, database, dump_texts
from tests.unit.stored import DUMPS

SQL = (DUMPS / "mysql97.sql").read_bytes()


class Store:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        assert data, "an empty write says nothing"
        self.data += data


def packed(data: bytes) -> bytes:
    packer = Packer(3)
    return packer.pack(data) + packer.finish()


@given(dump_texts(), chunk_sizes, st.booleans())
def test_a_whole_dump_is_stored_and_measured(dump: DumpText, sizes: list[int], in_container: bool) -> None:
    store = Store()
    intake = Intake(store, packed=in_container, level=3)
    for chunk in chunked(packed(dump.data) if in_container else dump.data, sizes):
        intake.take(chunk)
    intake.finish(dump.databases)
    assert b"".join(unpacked([store.data])) == dump.data
    blob = intake.blob("data.sql.zst")
    assert (blob.key, blob.recipients) == ("data.sql.zst", ())
    assert (blob.size, blob.sha256) == (len(store.data), hashlib.sha256(store.data).hexdigest())
    assert (blob.plain_size, blob.plain_sha256) == (len(dump.data), hashlib.sha256(dump.data).hexdigest())


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_compressed_dump_that_is_cut_fails(cut: int) -> None:
    intake = Intake(Store(), packed=True, level=3)
    if data := packed(SQL)[:cut]:
        intake.take(data)
    with pytest.raises(ArchiveDamaged, match="too early"):
        intake.finish(())


def test_a_plain_dump_that_is_cut_fails() -> None:
    intake = Intake(Store(), packed=False, level=3)
    intake.take(SQL[:-200])
    with pytest.raises(IncompleteDump):
        intake.finish(())


def test_an_error_in_place_of_a_dump_fails() -> None:
    intake = Intake(Store(), packed=True, level=3)
    with pytest.raises(ArchiveDamaged):
        intake.take(b"OCI runtime exec failed: exec failed: unable to start container process\r\n")
    compressed = Intake(Store(), packed=True, level=3)
    compressed.take(packed(b"mysqldump: Got error: 1045: Access denied\n"))
    with pytest.raises(IncompleteDump, match="not a dump"):
        compressed.finish(())


def test_an_object_that_is_missing_fails() -> None:
    intake = Intake(Store(), packed=False, level=3)
    intake.take(SQL)
    with pytest.raises(IncompleteDump, match=r"table shop\.never_there"):
        intake.finish((database("shop", {"table": ["never_there"]}),))


@pytest.mark.parametrize("in_container", [False, True])
def test_a_large_dump_takes_no_memory(in_container: bool) -> None:
    """64 MiB of rows."""

    class Nowhere:
        def write(self, data: bytes, /) -> None:
            assert data

    row = b"(1,'some text',NULL),"
    intake = Intake(Nowhere(), packed=in_container, level=1)
    packer = Packer(1)
    tracemalloc.start()
    for number in range(256):
        chunk = (b"INSERT INTO `t` VALUES " if not number else b"") + row * ((256 << 10) // len(row))
        if data := packer.pack(chunk) if in_container else chunk:
            intake.take(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
