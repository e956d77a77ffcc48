"""The main job: a schema made of everything that dumps have ever got wrong is backed up, lost, and comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests import compare, hostile
from tests.conftest import Dbguard, Fresh
from tests.servers import KINDS, PASSWORD, Server, Servers

pytestmark = pytest.mark.docker

LOST_BY_THE_FORMAT = [
    "FLOAT column `hostile`.`floats`.`f`: rounded",
    "FLOAT column `hostile`.`floats`.`fu`: rounded",
]
"""A dump prints six digits of a FLOAT, whatever its options. Nothing else may differ."""


@dataclass(frozen=True)
class Saved:
    """A server with the hostile schema, what it held, and its backup. Tests may do to the server what they like."""

    server: Server
    dbguard: Dbguard
    before: compare.Snapshot

    def assert_same(self, server: Server) -> None:
        after = compare.snapshot(server.container, PASSWORD)
        assert compare.differences(self.before, after) == []
        assert compare.losses(self.before, after) == LOST_BY_THE_FORMAT


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    server = servers.get(request.param)
    dbguard = Dbguard(tmp_path_factory.mktemp("saved"))
    hostile.load(server)
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    return Saved(server, dbguard, before)


def test_manifest_names_everything(saved: Saved) -> None:
    manifest = saved.dbguard.manifest()
    assert manifest["complete"] is True
    listed = {f"database {compare.quoted(one['name'])}" for one in manifest["databases"]}
    for database in manifest["databases"]:
        named = [("table", table["name"]) for table in database["tables"]]
        named += [(kind, name) for kind, names in database["objects"].items() for name in names]
        listed |= {f"{kind} {compare.quoted(database['name'])}.{compare.quoted(name)}" for kind, name in named}
    assert listed == {name for name in saved.before["things"] if not name.startswith(("rows of", "state of"))}


@pytest.mark.fault(44)
def test_comes_back_into_the_same_server(saved: Saved) -> None:
    saved.server.empty()
    packet = saved.server.sql("SELECT @@GLOBAL.max_allowed_packet")
    saved.dbguard("restore", saved.server.target, "--latest", "--yes").succeeded()
    saved.assert_same(saved.server)
    assert saved.server.sql("SELECT @@GLOBAL.max_allowed_packet") == packet


def test_comes_back_into_another_server_with_other_modes(saved: Saved, fresh: Fresh) -> None:
    other = fresh(saved.server.kind, "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES")
    words = ("restore", saved.server.target, "--latest", "--into", other.target, "--yes")
    saved.dbguard(*words).succeeded()
    saved.assert_same(other)


def test_comes_back_without_dbguard(saved: Saved, fresh: Fresh) -> None:
    """Nothing but zstd and the client: the way that the README promises."""
    other = fresh(saved.server.kind, "--max-allowed-packet=1G")
    options = "--user=root --binary-mode --comments --max-allowed-packet=1G --default-character-set=utf8mb4"
    data = (saved.dbguard.archives()[-1] / "data.sql.zst").read_bytes()
    other.run("sh", "-c", f"zstd -dc | {other.family} {options}", stdin=data)
    saved.assert_same(other)


def test_cat_writes_what_was_stored(saved: Saved) -> None:
    [archive] = saved.dbguard.archives()
    plain = saved.server.run("zstd", "-dc", stdin=(archive / "data.sql.zst").read_bytes())
    done = saved.dbguard("cat", archive.name).succeeded()
    assert done.out.encode("utf-8", "surrogateescape") == plain


def test_one_database_comes_back_under_a_new_name(saved: Saved) -> None:
    name, new = "-- b`a\"c'k\\ %s;\n❤ new line", "n`e;w 'one'"
    saved.dbguard("restore", saved.server.target, "--latest", "--database", f"{name}:{new}", "--yes").succeeded()
    after = compare.snapshot(saved.server.container, PASSWORD)
    saved.server.sql(f"DROP DATABASE {compare.quoted(new)}")
    assert _within(name, saved.before)
    assert _within(name, saved.before) == _within(new, after)


def _within(database: str, snapshot: compare.Snapshot) -> list[str]:
    """All that a database holds, as text without its name."""
    quoted = compare.quoted(database)
    things = [[name, value] for name, value in snapshot["things"].items() if f" {quoted}" in name]
    text = [json.dumps(pair) for pair in things]
    for spelling in (quoted, database):
        text = [line.replace(json.dumps(spelling)[1:-1], "NAME") for line in text]
    return sorted(text)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(servers: Servers) -> Iterator[None]:
    """A backup or a restore leaves no process in the container."""
    yield
    for server in servers.running():
        assert "dump" not in server.run("sh", "-c", "cat /proc/[0-9]*/cmdline").decode().replace("\0", " ")
