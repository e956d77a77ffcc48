"""Files as the engine sends them: a tar archive in pieces, which a broken connection ends like a whole one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.containers.files import only_folder, unpacked
from dbguard.errors import EngineUnavailable


def tar(files: Mapping[str, bytes], folders: Sequence[str] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        for name, data in files.items():
            file = tarfile.TarInfo(name)
            file.size = len(data)
            archive.addfile(file, io.BytesIO(data))
    return out.getvalue()


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.binary(max_size=3000), st.integers(1, 2000))
def test_a_file_in_any_pieces(data: bytes, size: int) -> None:
    assert b"".join(unpacked(pieces(tar({"log": data}), size), "log")) == data


@pytest.mark.parametrize("left", [0, 100, 512, 700, 1535])
def test_a_file_that_was_cut_is_never_a_short_one(left: int) -> None:
    whole = tar({"log": b"x" * 1024})
    with pytest.raises(EngineUnavailable):
        b"".join(unpacked([whole[:left]], "log"))


def test_a_folder_is_no_file() -> None:
    with pytest.raises(EngineUnavailable):
        b"".join(unpacked([tar({}, ["data"])], "data"))


@pytest.mark.parametrize(
    ("files", "folders", "empty"),
    [
        ({}, ["data"], True),
        ({}, ["data", "data/lost+found"], True),
        ({}, ["data", "data/mysql"], False),
        ({"data/a": b""}, ["data"], False),
        ({"data/lost+found": b""}, ["data"], False),
        ({"data/a": b"x" * 100_000}, ["data"], False),
    ],
)
def test_a_volume_with_nothing_on_it(files: Mapping[str, bytes], folders: Sequence[str], empty: bool) -> None:
    assert only_folder(pieces(tar(files, folders), 512), "data") is empty


@pytest.mark.parametrize("left", [0, 100, 512, 1024])
def test_a_volume_of_which_only_the_beginning_came_is_not_empty(left: int) -> None:
    whole = tar({"data/a": b"rows"}, ["data"])
    with pytest.raises(EngineUnavailable):
        only_folder([whole[:left]], "data")
