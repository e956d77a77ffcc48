"""Long proof: in a storm of changes no archive is called good that is not whole. See e2e/test_ddl."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.conftest import Dbguard
from tests.e2e.test_ddl import (
    CHANGES,
    NEVER,
    NOT_HELD,
    STORM,
    STORMY,
    UNCOUNTED,
    Pause,
    Storm,
    contents,
    pause,
    refused_or_whole,
)
from tests.servers import Server

__all__ = ["pause"]  # a fixture
pytestmark = [pytest.mark.docker, pytest.mark.soak]
RUNS = 20


def storm(server: Server, dbguard: Dbguard, pause: Pause) -> Storm:
    """Anew, after an archive was loaded."""
    server.sql(f"DROP DATABASE IF EXISTS d; {STORMY}")
    for archive in dbguard.archives():
        shutil.rmtree(archive)
    return Storm(server, dbguard, pause, contents(server))


def test_guarded(server: Server, dbguard: Dbguard, pause: Pause) -> None:
    for _ in range(RUNS):
        one = storm(server, dbguard, pause)
        done, others = one.backup({}, seconds=2)
        if server.family == "mariadb" and "had begun before the backup" in done.err:
            assert (done.code, dbguard.archives()) == (1, []), done.err
            continue
        done.succeeded()
        assert NOT_HELD not in done.err
        assert {name for name in STORM if max(others.waits[name]) < 2} == set(), "nobody kept them waiting"
        assert others.longest("read", "write") < 3, others.waits
        one.assert_whole(dbguard.archives()[-1], dbguard.manifest())


@pytest.mark.parametrize("account", ["with PROCESS", "without PROCESS"])
@pytest.mark.parametrize("counts", [{}, UNCOUNTED], ids=["counted", "uncounted"])
def test_unguarded(server: Server, dbguard: Dbguard, pause: Pause, counts: dict[str, str], account: str) -> None:
    ends: Counter[int] = Counter()
    needed = "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES" + (", PROCESS" if account == "with PROCESS" else "")
    server.sql(f"CREATE USER backup@localhost IDENTIFIED BY 'bp'; GRANT {needed} ON *.* TO backup@localhost")
    login = {"DBGUARD_USER": "backup", "DBGUARD_PASSWORD": "bp"}
    for run in range(RUNS):
        one = storm(server, dbguard, pause)
        done, _ = one.backup(NEVER | counts | login, seconds=run % 4 / 2)
        ends[done.code] += 1
        if done.code == 0:
            manifest = dbguard.manifest()
            assert manifest["complete"] is (account == "with PROCESS")
            one.assert_whole(dbguard.archives()[-1], manifest, swaps=manifest["complete"])
        else:
            assert (done.code, dbguard.archives()) == (1, []), done.err
            assert "Traceback" not in done.err
    print(server.kind, account, dict(ends))


@pytest.mark.parametrize("change", CHANGES)
def test_changes_known_by_their_date_only(server: Server, dbguard: Dbguard, pause: Pause, change: str) -> None:
    refused_or_whole(server, dbguard, pause, change)
