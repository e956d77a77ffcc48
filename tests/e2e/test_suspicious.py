"""An archive that lost most of what its predecessor had must not become "the latest", nor push others out."""

from __future__ import annotations

import pytest

from tests import compare
from tests.conftest import Dbguard, Result
from tests.servers import PASSWORD, Server

pytestmark = [
    pytest.mark.docker,
    pytest.mark.parametrize("server", ["mariadb118"], indirect=True),
]

TABLES = [f"t{number}" for number in range(10)]
SHOP = "CREATE DATABASE shop; USE shop;" + "".join(
    f"CREATE TABLE {name} (a INT PRIMARY KEY); INSERT INTO {name} VALUES (1), (2), (3);" for name in TABLES
)
RULES = {"DBGUARD_KEEP_LAST": "1"}


def newest(dbguard: Dbguard) -> str:
    return dbguard.archives()[-1].name


def stored(dbguard: Dbguard) -> list[str]:
    return [path.name for path in dbguard.archives()]


def planned(dbguard: Dbguard, server: Server) -> Result:
    return dbguard("restore", server.target, "--latest", "--dry-run", "--json").succeeded()


def test_lost_tables_are_noticed_until_a_person_confirms(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    dbguard("backup", "now", server.target).succeeded()
    good = newest(dbguard)
    server.sql(f"USE shop; DROP TABLE {', '.join(TABLES[:7])}")

    said = dbguard("backup", "now", server.target, environment=RULES).succeeded()
    odd = newest(dbguard)
    assert "suspicious" in said.err
    assert f"dbguard confirm {odd}" in said.err
    assert dbguard.manifest()["suspicious"]
    assert "SUSPICIOUS" in dbguard("list").succeeded().out
    again = dbguard("backup", "now", server.target, "--json", environment=RULES).succeeded().json
    last = newest(dbguard)
    assert again["archives"][0]["suspicious"], "the first lost archive became the measure of the second"

    plan = planned(dbguard, server)
    assert plan.json["archive"] == good
    assert f"skipped {odd}: suspicious" in plan.err
    assert f"skipped {last}: suspicious" in plan.err

    kept = dbguard("prune", "--yes", environment=RULES).succeeded()
    assert f"older than {last}, which is suspicious" in kept.out
    assert stored(dbguard) == [good, odd, last]

    dbguard("restore", server.target, "--latest", "--yes", "--replace", "--no-safety-backup").succeeded()
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []

    dbguard("confirm", last).succeeded()
    plan = planned(dbguard, server)
    assert plan.json["archive"] == last
    assert "suspicious" not in plan.err
    assert "SUSPICIOUS" not in dbguard("list").succeeded().out
    dbguard("prune", "--yes", environment=RULES).succeeded()
    assert stored(dbguard) == [last]


def test_lost_rows_are_noticed_as_well(server: Server, dbguard: Dbguard) -> None:
    """Where the tables are all there."""
    server.sql("CREATE DATABASE shop; USE shop; CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(200));")
    server.sql("USE shop; INSERT INTO t SELECT seq, SHA2(seq, 512) FROM seq_1_to_2000;")
    dbguard("backup", "now", server.target).succeeded()
    server.sql("DELETE FROM shop.t WHERE a > 10")
    said = dbguard("backup", "now", server.target).succeeded()
    assert "suspicious" in said.err, said.err


def test_growth_and_a_part_are_not_suspicious(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP + "CREATE DATABASE other; CREATE TABLE other.t (a INT);")
    dbguard("backup", "now", server.target).succeeded()
    part = dbguard("backup", "now", server.target, "--database", "other").succeeded()
    server.sql("CREATE TABLE shop.more (a INT)")
    more = dbguard("backup", "now", server.target).succeeded()
    assert "suspicious" not in part.err + more.err
