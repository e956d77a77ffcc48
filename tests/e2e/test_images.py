"""Images that lack what others have: the way around gives the same result."""

from __future__ import annotations

import os

import pytest

from tests import compare, hostile
from tests.conftest import Dbguard, Fresh
from tests.servers import PASSWORD

pytestmark = pytest.mark.docker

LACKING = {"zstd": ("mariadb1011", "DBGUARD_TEST_WITHOUT_ZSTD"), "bash": ("mariadb118", "DBGUARD_TEST_WITHOUT_BASH")}


@pytest.mark.parametrize("program", LACKING)
def test_everything_comes_back_without(program: str, fresh: Fresh, dbguard: Dbguard) -> None:
    kind, variable = LACKING[program]
    server = fresh(kind, image=os.environ[variable])
    assert server.run("sh", "-c", f"command -v {program} || echo none") == b"none\n"
    server.client(hostile.script(server.family))
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    server.empty()
    dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []
