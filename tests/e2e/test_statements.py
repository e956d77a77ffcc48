"""Programs that hold any line: our loader makes of a dump what the plain client makes of it, and what was there."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given, settings

from tests import compare
from tests.conftest import Dbguard
from tests.e2e.test_schemas import SEVERAL, few
from tests.programs import Programs, programs
from tests.servers import KINDS, PASSWORD, Server, Servers

pytestmark = pytest.mark.docker
COUNT = 40


def loads_alike(server: Server, dbguard: Dbguard, some: Programs) -> None:
    some.make(server)
    assert len(some.refused) <= len(some.them) // 4, some.refused
    was = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    [archive] = dbguard.archives()
    for words in (("--replace",), ()):
        dbguard(
            "restore", server.target, "--latest", "--yes", "--no-safety-backup", *words, environment=SEVERAL
        ).succeeded()
        assert compare.differences(was, compare.snapshot(server.container, PASSWORD)) == []
        server.empty()
    options = "--user=root --binary-mode --comments --default-character-set=utf8mb4"
    data = (archive / "data.sql.zst").read_bytes()
    server.run("sh", "-c", f"zstd -dc | {server.family} {options}", stdin=data)
    assert compare.differences(was, compare.snapshot(server.container, PASSWORD)) == []
    assert server.run("sh", "-c", "ls /pwned 2>&1 || true").startswith(b"ls: ")
    shutil.rmtree(dbguard.storage)
    shutil.rmtree(dbguard.folder / "home")  # it remembers the storage


@pytest.mark.parametrize("kind", KINDS)
def test_any_line(servers: Servers, dbguard: Dbguard, kind: str) -> None:
    server = servers.get(kind)

    @settings(few)
    @given(programs(count=COUNT))
    def check(some: Programs) -> None:
        loads_alike(server, dbguard, some)

    check()
