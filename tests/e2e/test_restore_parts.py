"""`restore --schema-only` and `--accounts-only`."""

from __future__ import annotations

import pytest

from tests import compare
from tests.conftest import Dbguard
from tests.e2e.test_restore_tables import SHOP, changed, state
from tests.servers import Server

pytestmark = pytest.mark.docker
BOTH = pytest.mark.parametrize("server", ["mysql97", "mariadb118"], indirect=True)
ACCOUNT = "CREATE USER app@'%' IDENTIFIED BY 'first'; GRANT SELECT ON shop.* TO app@'%';"


@pytest.fixture
def saved(server: Server, dbguard: Dbguard) -> compare.Snapshot:
    server.sql(SHOP + ACCOUNT)
    dbguard("backup", "now", server.target).succeeded()
    return state(server)


@BOTH
def test_definitions_without_rows(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    server.sql("DROP DATABASE shop; DROP USER app@'%'")
    words = ("restore", server.target, "--latest", "--schema-only")
    assert "no" in dbguard(*words, "--dry-run").succeeded().err
    dbguard(*words, "--yes").succeeded()
    assert changed(saved, state(server)) == [f"rows of `shop`.`{name}`" for name in ("counted", "customer", "orders")]
    assert server.sql("SELECT COUNT(*) FROM mysql.user WHERE user = 'app'") == "0\n"
    server.sql("USE shop; INSERT INTO customer VALUES (5, 'x'); DROP VIEW seen")
    dbguard(*words, "--yes", "--replace", "--no-safety-backup").succeeded()
    assert server.sql("SELECT COUNT(*) FROM shop.customer; SELECT COUNT(*) FROM shop.seen") == "0\n0\n"


@BOTH
def test_accounts_alone(server: Server, dbguard: Dbguard, saved: compare.Snapshot) -> None:
    server.sql("DROP USER app@'%'; DELETE FROM shop.counted")
    words = ("restore", server.target, "--latest", "--accounts-only")
    assert "keep their password" in dbguard(*words, "--dry-run").succeeded().err
    assert "1 made" in dbguard(*words, "--yes").succeeded().err
    assert "GRANT SELECT ON `shop`.*" in server.sql("SHOW GRANTS FOR app@'%'")
    assert server.sql("SELECT COUNT(*) FROM shop.counted") == "0\n"
    assert "0 made" in dbguard(*words, "--yes").succeeded().err
    assert dbguard(*words, "--replace", "--yes").code == 2
