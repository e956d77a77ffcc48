"""Was anything written since? The rules of the markers on real servers: running, started again, and stopped."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dbguard import config, discover
from dbguard.archive import Archive
from dbguard.backup import Wish, back_up
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.freshness import Contents
from dbguard.guard.written import since
from dbguard.since import UNCHANGED
from dbguard.storages import open_storage
from tests import load
from tests.conftest import Fresh
from tests.servers import KINDS, Server, docker

pytestmark = pytest.mark.docker

TABLES = """
CREATE DATABASE shop;
CREATE TABLE shop.t (a INT PRIMARY KEY, b VARCHAR(100)) ENGINE=InnoDB;
INSERT INTO shop.t VALUES (1, 'one'), (2, 'two');
"""
WRITES = {
    "a row": "INSERT INTO shop.t VALUES (3, 'three')",
    "a changed row": "UPDATE shop.t SET b = 'other' WHERE a = 1",
    "a table": "CREATE TABLE shop.more (a INT) ENGINE=InnoDB",
    "a table of another engine": "CREATE TABLE shop.odd (a INT) ENGINE=MyISAM; INSERT INTO shop.odd VALUES (1)",
    "a view": "CREATE VIEW shop.v AS SELECT a FROM shop.t",
    "a trigger": "CREATE TRIGGER shop.tr BEFORE INSERT ON shop.t FOR EACH ROW SET NEW.b = 'x'",
    "a routine": "CREATE PROCEDURE shop.p() SELECT 1",
    "an event": "CREATE EVENT shop.e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    "an account": "CREATE USER nobody@localhost",
    "a database": "CREATE DATABASE more",
}
HARMLESS = "SELECT COUNT(*) FROM shop.t; SHOW TABLES FROM shop"


class Watched:
    """One server, one backup of it, and the question."""

    def __init__(self, server: Server, folder: Path, *, patience: float = 120) -> None:
        self.server = server
        self.patience = patience
        self.folder = server.sql("SELECT @@datadir").strip()
        self.settings = config.load(storage=((folder / "store").as_uri(),), state=folder / "state")
        self.containers = Containers.connect()
        self.catalog = Catalog(open_storage(self.settings.storage_urls[0]), self.settings.state)
        server.sql(TABLES)
        self.archive = self.backed_up()

    def backed_up(self) -> Archive:
        """When the server has settled: after many changes InnoDB goes on writing for a moment."""
        end = time.monotonic() + self.patience
        while True:
            found = discover.sighting(self.containers, self.settings, self.containers.inspect(self.server.container))
            self.archive = back_up(
                discover.reachable(found),
                containers=self.containers,
                catalogs=[self.catalog],
                settings=self.settings,
                wish=Wish(),
            ).archive
            time.sleep(2)
            if self.words() == UNCHANGED.words:
                return self.archive
            assert time.monotonic() < end, self.words()

    def words(self, *, running: bool = True) -> str:
        engine = ENGINES[self.server.family]
        contents = Contents(
            volume="v",
            engine=engine.name,
            identity=self.archive.source.identity,
            running=running,
            container=self.server.container,
            folder=self.folder,
        )
        found = since(self.containers, self.settings, contents, self.archive)
        assert found.unchanged == (found.words == UNCHANGED.words)
        return found.words

    def start_again(self, *, kill: bool = False) -> None:
        docker("kill" if kill else "stop", self.server.container)
        docker("start", self.server.container)
        self.server.wait_until_ready()

    def stopped(self, *, kill: bool = False) -> str:
        docker("kill" if kill else "stop", self.server.container)
        words = self.words(running=False)
        docker("start", self.server.container)
        self.server.wait_until_ready()
        return words


def arguments(kind: str, logging: str) -> tuple[str, ...]:
    """MySQL of the tests logs with GTIDs by itself, MariaDB not at all."""
    mysql = {"sets": (), "places": ("--gtid-mode=OFF",)}
    mariadb = {"places": load.LOGGED["mariadb"], "nothing": ()}
    return (mysql if kind.startswith("mysql") else mariadb)[logging]


LOGGING = [("mysql97", word) for word in ("sets", "places")] + [
    (kind, word) for kind in KINDS[1:] for word in ("places", "nothing")
]


@pytest.mark.parametrize(("kind", "logging"), LOGGING)
def test_a_write_is_seen_and_a_question_is_none(kind: str, logging: str, fresh: Fresh, tmp_path: Path) -> None:
    watched = Watched(fresh(kind, *arguments(kind, logging)), tmp_path)
    watched.server.sql(HARMLESS)
    assert watched.words() == UNCHANGED.words
    unseen = []
    for what, statement in WRITES.items():
        watched.server.sql(statement)
        if watched.words() == UNCHANGED.words:
            unseen.append(what)
        watched.server.sql("DROP TABLE IF EXISTS shop.odd")
        watched.backed_up()
    assert unseen == []


@pytest.mark.parametrize(("kind", "logging"), LOGGING)
def test_across_a_start(kind: str, logging: str, fresh: Fresh, tmp_path: Path) -> None:
    watched = Watched(fresh(kind, *arguments(kind, logging)), tmp_path)
    logged = logging != "nothing"
    for kill in (False, True):
        watched.start_again(kill=kill)
        assert watched.words() == (
            UNCHANGED.words
            if logged
            else "nobody can say what was written since: it has no binary log, and was started again"
        )
    at_rest = "nobody can say what was written since: it has no binary log, and is not running"
    for kill in (False, True):
        assert watched.stopped(kill=kill) == (UNCHANGED.words if logged else at_rest)
    watched.server.sql(WRITES["a row"])
    watched.start_again()
    assert watched.words() == ("1 transaction since" if logged else watched.words())
    assert watched.words() != UNCHANGED.words
    assert watched.stopped() == ("1 transaction since" if logged else at_rest)
    watched.server.sql("INSERT INTO shop.t VALUES (4, 'four')")
    assert watched.stopped(kill=True) == ("2 transactions since" if logged else at_rest)


@pytest.mark.parametrize("kind", ["mysql97", "mariadb118"])
def test_a_log_that_is_gone_or_is_not_all_says_nothing(kind: str, fresh: Fresh, tmp_path: Path) -> None:
    watched = Watched(fresh(kind, *arguments(kind, "places")), tmp_path)
    log_file = watched.archive.marker.file if watched.archive.marker is not None else None
    watched.server.sql("FLUSH BINARY LOGS")
    assert watched.words() == UNCHANGED.words
    last = watched.server.sql("SHOW BINARY LOGS").splitlines()[-1].split()[0]
    watched.server.sql(f"PURGE BINARY LOGS TO '{last}'")
    assert f"its binary log of that time, {log_file}, is gone" in watched.words()
    assert f"{log_file}, is not in its data directory" in watched.stopped()

    limited = fresh(kind, *arguments(kind, "places"), "--binlog-ignore-db=other")
    with pytest.raises(AssertionError, match="only some databases are in its binary log"):
        Watched(limited, tmp_path, patience=0)


def test_mysql_without_a_log_is_never_known(fresh: Fresh, tmp_path: Path) -> None:
    """Its dump itself moves the LSN: by 10 in 9.7.4, whatever is dumped."""
    server = fresh("mysql97", "--disable-log-bin", "--gtid-mode=OFF")
    with pytest.raises(AssertionError, match="nobody can say what was written since: it has no binary log"):
        Watched(server, tmp_path, patience=0)
