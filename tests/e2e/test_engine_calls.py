"""What docs/socket-proxies.md says that each job asks of the engine is what it asks: nothing missing, nothing extra."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_calls import normalised, parsed, printed, record
from tests.stack import ROOT

pytestmark = pytest.mark.docker

PAGE = (ROOT / "docs/socket-proxies.md").read_text()
TABLE = parsed(PAGE)


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, set[str]]]:
    folder = Path(tempfile.mkdtemp())  # pytest's own is too long for the path of a socket
    try:
        yield record(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("job", TABLE)
def test_job(recorded: dict[str, set[str]], job: str) -> None:
    assert recorded[job] == TABLE[job], f"`python -m tests.engine_calls` prints the rows:\n{printed(recorded)}"


def test_no_job_is_left_out(recorded: dict[str, set[str]]) -> None:
    assert recorded.keys() == TABLE.keys()
    assert all(line in PAGE for line in printed(recorded).splitlines())


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1.41/containers/json?all=1", "/containers/json"),
        (f"/containers/{'0a' * 32}/exec", "/containers/{id}/exec"),
        ("/v1.50/containers/shop-db-1/json", "/containers/{name}/json"),
        (f"/exec/{'0a' * 32}/start", "/exec/{id}/start"),
        ("/volumes/shop_data", "/volumes/{name}"),
        ("/volumes/create", "/volumes/create"),
        ("/_ping", "/_ping"),
    ],
)
def test_ids_and_names_are_taken_out(target: str, path: str) -> None:
    assert normalised(target) == path
