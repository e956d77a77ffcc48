"""Archives of random schemas come back equal: over live data, under another name, with several sessions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import compare
from tests.compare import quoted
from tests.conftest import Dbguard
from tests.schemas import Schema, schemas
from tests.servers import KINDS, PASSWORD, Server, Servers

pytestmark = pytest.mark.docker
SEVERAL = {"DBGUARD_LOAD_SESSIONS": "3"}
few = settings(
    max_examples=1,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to make one smaller takes minutes
    suppress_health_check=list(HealthCheck),
)


def several(family: str) -> st.SearchStrategy[list[Schema]]:
    """Databases of one server, of which the first has a large table."""
    grown, plain = schemas(family=family, grown=True), schemas(family=family)
    found = st.tuples(grown, plain).map(list)
    return found.filter(lambda them: len({one.name.lower() for one in them}) == len(them))


def made(server: Server, them: Sequence[Schema]) -> compare.Snapshot:
    """The databases on an empty server. What it refuses of them is not there."""
    server.empty()
    program = [
        server.family,
        "--user=root",
        "--force",
        "--binary-mode",
        "--comments",
        "--default-character-set=utf8mb4",
    ]
    argv = ["docker", "exec", "-i", "-e", "MYSQL_PWD", server.container, *program]
    text = "".join(one.script for one in them).encode()
    subprocess.run(argv, input=text, env=os.environ | {"MYSQL_PWD": PASSWORD}, capture_output=True, timeout=300)
    return compare.snapshot(server.container, PASSWORD)


def comes_back(server: Server, dbguard: Dbguard, them: Sequence[Schema]) -> compare.Snapshot:
    """Raises AssertionError with the script of the schemas."""
    was = made(server, them)
    script = "\n".join(one.script for one in them)
    dbguard("backup", "now", server.target).succeeded()
    for one in them:
        server.sql(f"USE {quoted(one.name)}; CREATE TABLE newer (a INT); CREATE VIEW newest AS SELECT 1;")
    words = ("restore", server.target, "--latest", "--yes", "--no-safety-backup")
    done = dbguard(*words, "--replace", environment=SEVERAL)
    assert done.code == 0, f"{done.err}\n{script}"
    assert compare.differences(was, compare.snapshot(server.container, PASSWORD)) == [], script
    first, other = them[0].name, "an`other; 'one'"
    done = dbguard(*words, "--database", f"{first}:{other}", environment=SEVERAL)
    assert done.code == 0, f"{done.err}\n{script}"
    assert within(other, compare.snapshot(server.container, PASSWORD)) == within(first, was), script
    shutil.rmtree(dbguard.storage)
    shutil.rmtree(dbguard.folder / "home")  # it remembers the storage
    return was


def within(database: str, snapshot: compare.Snapshot) -> list[str]:
    """All that a database holds, as text without its name."""
    name = quoted(database)
    things = [json.dumps([key, value]) for key, value in snapshot["things"].items() if f" {name}" in key]
    for spelling in (name, database):
        things = [line.replace(json.dumps(spelling)[1:-1], "NAME") for line in things]
    return sorted(things)


@pytest.mark.parametrize("kind", KINDS)
def test_random_schemas(servers: Servers, dbguard: Dbguard, kind: str) -> None:
    server = servers.get(kind)

    @few
    @given(several(server.family))
    def check(them: list[Schema]) -> None:
        was = comes_back(server, dbguard, them)
        assert sum(thing.startswith("table ") for thing in was["things"]) >= len(them), "the server took hardly any"

    check()
