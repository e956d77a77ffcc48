"""Fifty archives in a row under a write load, each of the instant that it names; and a SELECT of half a minute."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator

import pytest

from tests import load
from tests.conftest import Dbguard
from tests.e2e.test_exact import STALL, Bank, assert_writers_go_on_behind_a_select
from tests.load import BinaryLog, Load
from tests.servers import KINDS, Servers, remove_container

pytestmark = [pytest.mark.soak, pytest.mark.docker]

BACKUPS = int(os.environ.get("DBGUARD_TEST_BACKUPS", "50"))
RENEWED = 10
"""After so many the bank begins anew: its log is loaded, and replayed, with each archive."""
LONG = 30.0
SMALL_FILES = "--max-binlog-size=1048576"
"""The binary log goes on in a new file every few seconds."""


@pytest.fixture(scope="module", params=KINDS)
def bank(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Bank]:
    other = servers.get(request.param)
    server = servers.fresh(request.param, *load.LOGGED[other.family], SMALL_FILES)
    try:
        load.open_bank(server)
        yield Bank(server, other, BinaryLog(server))
    finally:
        remove_container(server.container)


def test_fifty_archives_are_of_the_instant_that_they_name(bank: Bank, dbguard: Dbguard) -> None:
    stalls: list[float] = []
    deadlocks = unknown = 0
    for round_ in range(0, BACKUPS, RENEWED):
        bank.server.sql("RESET MASTER" if bank.server.family == "mariadb" else "RESET BINARY LOGS AND GTIDS")
        load.open_bank(bank.server)
        log = BinaryLog(bank.server)
        now = Bank(bank.server, bank.other, log)
        with Load(bank.server) as writing:
            for _ in range(min(RENEWED, BACKUPS - round_)):
                begun = time.monotonic()
                dbguard("backup", "now", bank.server.target).succeeded()
                stalls.append(writing.longest(begun))
                known = dbguard.manifest()["marker"] is not None
                unknown += not known
                assert not known or now.misfits(dbguard) == []
                for archive in dbguard.archives()[:-1]:
                    shutil.rmtree(archive)
        deadlocks += writing.deadlocks
    print(
        f"{bank.server.kind}: {len(stalls)} archives, {unknown} without a position, "
        f"{max(stalls):.2f} s at most, {deadlocks} deadlocks"
    )
    assert max(stalls) < STALL
    assert unknown <= len(stalls) // 10


def test_a_select_of_half_a_minute_holds_nobody_up(bank: Bank, dbguard: Dbguard) -> None:
    load.open_bank(bank.server)
    fresh = Bank(bank.server, bank.other, BinaryLog(bank.server))
    bank.server.sql("RESET MASTER" if bank.server.family == "mariadb" else "RESET BINARY LOGS AND GTIDS")
    assert_writers_go_on_behind_a_select(fresh, dbguard, LONG)
