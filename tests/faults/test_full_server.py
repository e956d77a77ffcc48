"""The disk under a database fills up while an archive is loaded into it."""

from __future__ import annotations

import pytest

from tests.conftest import Dbguard, Fresh
from tests.servers import Server, Servers

pytestmark = [pytest.mark.faults, pytest.mark.docker]

SPACES = "CHAR(255) CHARACTER SET latin1 NOT NULL DEFAULT ''"
SMALL_TO_SAY = f"""
CREATE DATABASE shop; USE shop;
CREATE TABLE t (id INT PRIMARY KEY, a {SPACES}, b {SPACES}, c {SPACES}, d {SPACES});
INSERT INTO t (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    SELECT x.i * 1000 + y.i FROM n x, n y WHERE x.i <= 300;
"""
"""3 MB of SQL, 170 MB of blanks on a disk: no look at the archive tells."""
LIVE = "CREATE DATABASE shop; USE shop; CREATE TABLE t (a INT); INSERT INTO t VALUES (7);"
FREE = 80
"""MiB: more than is asked for before the load, and less than it takes."""


def fill(server: Server) -> None:
    """Leaves so much of the disk."""
    script = f"""
    free=$(df -Pk /var/lib/mysql | awk 'END {{ print $4 }}')
    head -c "$(((free - {FREE} * 1024) * 1024))" /dev/zero > /var/lib/mysql/filler"""
    server.run("sh", "-c", script)


@pytest.mark.fault(56)
@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_disk_full_while_an_archive_is_loaded(servers: Servers, fresh: Fresh, dbguard: Dbguard, kind: str) -> None:
    source = servers.get(kind)
    source.sql(SMALL_TO_SAY)
    dbguard("backup", "now", source.target).succeeded()
    server = fresh(kind, options=("--tmpfs=/var/lib/mysql:size=600m",))
    server.sql(LIVE)
    fill(server)
    restore = ("restore", source.target, "--latest", "--into", server.target, "--no-accounts", "--yes")
    for words in (("--replace", "--no-safety-backup"), ("--database", "shop:other")):
        done = dbguard(*restore, *words)
        assert (done.code, "is full, in table shop.t" in done.err, "is the disk" in done.err) == (1, True, True), (
            done.err
        )
        assert server.databases() == ["shop"], done.err
        assert server.sql("SELECT a FROM shop.t") == "7\n"
    server.run("rm", "/var/lib/mysql/filler")
    dbguard(*restore, "--replace", "--no-safety-backup").succeeded()
    assert server.sql("SELECT COUNT(*) FROM shop.t") == "150000\n"
