"""Long proof: whatever dies in the middle of a replacing restore, and whenever, the next command leaves the database
wholly old or wholly new, and nothing else. See e2e/test_swap."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.conftest import Dbguard, Fresh
from tests.e2e.test_swap import NEW, STATE, before, replacing
from tests.servers import KINDS, Server, docker

pytestmark = [pytest.mark.docker, pytest.mark.soak]
MOMENTS = int(os.environ.get("DBGUARD_SOAK_MOMENTS", "20"))
ROWS = """
CREATE TABLE shop.many (id INT PRIMARY KEY, note VARCHAR(200), KEY (note));
INSERT INTO shop.many WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    SELECT a.i * 1000 + b.i, REPEAT(a.i, 20) FROM n a, n b WHERE a.i <= 60;
"""


def kill_client(server: Server) -> bool:
    """The first that runs from now on, within some seconds; says whether there was one. `kill` is the shell's own: not
    every image has a program of that name."""
    names = "mysql" if server.family == "mysql" else "mariadb|mysql"
    script = f"""
    for try in $(seq 30); do
        for file in /proc/[0-9]*/comm; do
            read -r name 2>/dev/null < $file || continue
            folder=${{file%/comm}}
            case $name in {names}) kill -s KILL ${{folder#/proc/}} && echo killed && exit ;; esac
        done
        sleep 0.05
    done"""
    return "killed" in docker("exec", server.container, "sh", "-c", script)


def kill_server(server: Server) -> bool:
    docker("kill", server.container)
    docker("start", server.container)
    server.wait_until_ready()
    return True


VICTIMS: Mapping[str, Callable[[Server], bool]] = {
    "dbguard": lambda server: True,
    "client": kill_client,
    "server": kill_server,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_at_any_moment(fresh: Fresh, dbguard: Dbguard, kind: str, victim: str) -> None:
    server = fresh(kind)
    server.sql(before(server) + ROWS)
    dbguard("backup", "now", server.target).succeeded()
    old = server.sql(STATE)
    server.sql(NEW)
    new = server.sql(STATE)
    dbguard("backup", "now", server.target).succeeded()
    back = ("restore", server.target, "--id", dbguard.archives()[1].name, "--replace", "--yes", "--no-safety-backup")
    began = time.monotonic()
    with replacing(server, dbguard) as process:
        process.communicate()
    whole = time.monotonic() - began
    assert server.sql(STATE) == old
    ends: Counter[str] = Counter()
    hits = 0
    for _ in range(MOMENTS):
        dbguard(*back).succeeded()
        assert server.sql(STATE) == new
        with replacing(server, dbguard) as process:
            time.sleep(random.uniform(0.2, 1) * whole)
            if victim == "dbguard":
                process.kill()
            hits += VICTIMS[victim](server)
            process.communicate(timeout=120)
        if victim == "dbguard" or process.returncode:
            dbguard("backup", "now", server.target).succeeded()
        state = server.sql(STATE)
        assert state in {old, new}, process.returncode
        assert server.databases() == ["second", "shop"]
        ends["old" if state == new else "new"] += 1
    print(f"{kind}, {victim} killed {hits} times: {dict(ends)}")
    assert hits > 0
    assert ends["old"] > 0
