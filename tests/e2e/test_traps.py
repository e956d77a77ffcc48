"""The known ways to lose data in silence, each walked into on purpose. Which test proves that dbguard does not:

| | Trap | Test |
|---|---|---|
| 1 | a dump that ends with 0 and its last line, without data | here |
| 2 | half of the tables, but the last line | faults/test_dump_program: half-of-the-tables, no-tables, no-view, … |
| 3 | a cut connection read as the end | faults/test_cut_stream, unit/test_process |
| 4 | exit code null, for it still runs | unit/test_process |
| 5 | a pipe hides the exit code | faults/test_dump_program: exit-2-after-all, killed; zstd's faults |
| 6 | stderr mixed into the dump | faults/test_dump_program: error-among-noise, error-on-stdout |
| 7 | a dump that runs on after a cancel | faults/test_signals, faults/test_containers, contract/test_connections |
| 8 | tables changed during the dump | e2e/test_ddl |
| 9 | a new version number gets no guard | here |
| 10 | a long SELECT and a lock behind it stall all writers | here |
| 12 | tables that are not transactional, or hold no rows | here |
| 13 | objects that the account does not see | here, e2e/test_backup |
| 14 | characters of four bytes | here, e2e/test_roundtrip (hostile schema) |
| 15 | FLOAT | e2e/test_roundtrip: LOST_BY_THE_FORMAT |
| 16 | the server closes on a slow reader | here |
| 18 | invalid views | e2e/test_backup |
| 19 | history of versioned tables | here, e2e/test_roundtrip |
| 20 | accounts | e2e/test_accounts |
| 21 | option files in the container | here |
| 22 | client and server of different kinds | e2e/test_images, e2e/test_restore |

11 (the position is that of the snapshot) wants a replay, and 17 (a value above 512 MB) a preflight; neither is there.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dbguard import config, discover
from dbguard.backup import Wish, back_up
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.engines import ENGINES, engine_of
from dbguard.engines.mysql import MySQL
from dbguard.errors import DumpFailed
from dbguard.model import Server as Asked
from dbguard.storages import open_storage
from tests import compare
from tests.conftest import Dbguard, Fresh
from tests.e2e.test_ddl import (
    MARIADB,
    NOT_HELD,
    Client,
    Others,
    Pause,
    assert_whole,
    contents,
    counted,
    limited,
    loaded,
    pause,
    running,
    tables,
)
from tests.servers import PASSWORD, Server

__all__ = ["pause"]  # a fixture
docker = pytest.mark.docker

# --- 1 ---

SHOP = "CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1);"


@docker
@pytest.mark.parametrize("word", ["ON", "COMMENTED"])
def test_dump_without_data_that_ends_well(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    server = fresh("mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    server.sql(SHOP)
    script = f"mysqldump --user=root --set-gtid-purged={word} --databases shop 2>/dev/null; echo exit $?"
    raw = server.run("sh", "-c", script).decode()
    assert ("INSERT INTO" in raw, "Dump completed" in raw, raw.endswith("exit 0\n")) == (False, True, True), raw[-300:]

    options = MySQL._own_options
    monkeypatch.setattr(
        MySQL,
        "_own_options",
        lambda *of: tuple(one.replace("purged=OFF", f"purged={word}") for one in options(*of)),
    )
    settings = config.load(storage=((tmp_path / "store").as_uri(),), state=tmp_path / "state")
    containers = Containers.connect()
    target = discover.reachable(discover.sighting(containers, settings, containers.inspect(server.container)))
    catalog = Catalog(open_storage(settings.storage_urls[0]), settings.state)
    with pytest.raises(DumpFailed) as failed:
        back_up(target, containers=containers, catalogs=[catalog], settings=settings, wish=Wish())
    print(repr(failed.value))
    assert list((tmp_path / "store").rglob("manifest.json")) == []


# --- 9 ---

GUARDS = {
    "5.7.44": "",
    "8.0.11": "LOCK INSTANCE FOR BACKUP",
    "8.4.10": "LOCK INSTANCE FOR BACKUP",
    "9.7.4": "LOCK INSTANCE FOR BACKUP",
    "10.0.0": "LOCK INSTANCE FOR BACKUP",
    "26.10.0-commercial": "LOCK INSTANCE FOR BACKUP",
    "10.3.39-MariaDB": "",
    "5.5.5-10.3.39-MariaDB-1:10.3.39+maria~ubu2004": "",
    "10.4.0-MariaDB": "BACKUP STAGE START",
    "5.5.5-10.11.8-MariaDB-1:10.11.8+maria~ubu2204": "BACKUP STAGE START",
    "11.8.9-MariaDB-ubu2404": "BACKUP STAGE START",
    "12.3.1-MariaDB": "BACKUP STAGE START",
    "13.0.0-MariaDB-log": "BACKUP STAGE START",
}


@pytest.mark.parametrize("version", GUARDS)
def test_every_version_has_the_guard_that_it_knows(version: str) -> None:
    engine = engine_of(version)
    asked = Asked(
        engine=engine.name, version=version, identity="", started=None, socket="", datadir="", settings={},
        account="", blind_spots=(),
    )  # fmt: skip
    guard = ENGINES[engine.name].ddl_guard(asked)
    assert (guard.lock[0] if guard else "") == GUARDS[version]


# --- 10 ---


@docker
def test_writers_behind_a_long_select(server: Server, dbguard: Dbguard) -> None:
    server.sql(tables("z_last"))
    writing = ["UPDATE z_last SET v = 'x'"]
    with Client(server) as reading, Others(server, {"write": writing}) as others, ThreadPoolExecutor(1) as pool:
        read = pool.submit(reading.say, "SELECT SLEEP(0.08), id FROM z_last")
        time.sleep(1)
        dbguard("backup", "now", server.target).succeeded()
        assert not read.done(), "it was not long enough"
        assert read.result() > 12
    assert others.longest() < 3, others.longest()


# --- 12 ---

ENGINES_OF_TABLES = {
    "MyISAM": "", "Aria": "", "MEMORY": "", "ARCHIVE": "", "CSV": "", "BLACKHOLE": "",
    "MRG_MyISAM": "UNION=(z_myisam) INSERT_METHOD=LAST",
    "FEDERATED": f"CONNECTION='mysql://root:{PASSWORD}@127.0.0.1:3306/d/z_myisam'",
    "CONNECT": "TABLE_TYPE=CSV FILE_NAME='connected.csv'",
}  # fmt: skip
LOOSE = {"MyISAM", "Aria", "MEMORY", "ARCHIVE", "CSV", "BLACKHOLE"}


@docker
@pytest.mark.parametrize("kind", ["mysql97", "mariadb118", "mariadb1011"])
def test_each_engine_is_named(fresh: Fresh, dbguard: Dbguard, kind: str) -> None:
    server = fresh(kind, *(["--federated"] if kind == "mysql97" else []))
    for library in ("ha_federatedx", "ha_connect", "ha_archive", "ha_blackhole") if server.family == "mariadb" else ():
        if library in libraries(server):
            server.sql(f"INSTALL SONAME '{library}'")
    offered = [line.split("\t") for line in server.sql("SHOW ENGINES").splitlines()]
    known = {name.lower() for name, support, *_ in offered if support in {"YES", "DEFAULT"}}
    made = [name for name in ENGINES_OF_TABLES if name.lower() in known]
    server.sql("CREATE DATABASE d")
    for name in made:
        table = f"z_{name.lower()}"
        server.sql(
            f"USE d; CREATE TABLE {table} (id INT NOT NULL, v VARCHAR(60) NOT NULL) ENGINE={name} "
            + ENGINES_OF_TABLES[name]
        )
        if name in LOOSE:
            server.sql(f"INSERT INTO d.{table} VALUES (1, 'one'), (2, 'two')")
    assert {"MyISAM", "MEMORY", "CSV", "MRG_MyISAM"} <= set(made)
    dbguard("backup", "now", server.target).succeeded()
    manifest = dbguard.manifest()
    [not_snapshot] = [one for one in manifest["warnings"] if "not transactional" in one and "would wait" not in one]
    empty = "".join(one for one in manifest["warnings"] if "without data" in one)
    assert set(counted(manifest).values()) == {None}, "what is in no snapshot is not counted"
    for name in made:
        table = f"z_{name.lower()}"
        if name in LOOSE:
            assert f"d.{table}" in not_snapshot, name
            assert f"d.{table}" not in empty, name
        else:
            assert f"d.{table}" in empty, name
    assert [one for one in manifest["warnings"] if "not counted" in one or "not known" in one] == []
    assert sum(NOT_HELD in one for one in manifest["warnings"]) == (server.family == "mariadb")


def libraries(server: Server) -> str:
    return server.run("sh", "-c", "ls $(mariadb --user=root -NBe 'SELECT @@plugin_dir')").decode()


# --- 13 ---

OBJECTS = """
CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1);
CREATE VIEW w AS SELECT 1 AS one; CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET @a = 1;
CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO SET @a = 1; CREATE PROCEDURE p() SET @a = 1;
"""


@docker
@pytest.mark.parametrize("missing", ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"])
@pytest.mark.parametrize("kept", ["with its object", "without"])
def test_account_that_lacks_a_privilege(server: Server, dbguard: Dbguard, missing: str, kept: str) -> None:
    server.sql(OBJECTS)
    if kept == "without":
        gone = {"SHOW VIEW": "VIEW w", "TRIGGER": "TRIGGER r", "EVENT": "EVENT e", "SELECT": "PROCEDURE p"}[missing]
        server.sql(f"DROP {gone.replace(' ', ' d.')}")
    login = limited(server, without=[missing])
    done = dbguard("backup", "now", server.target, environment=login)
    print(server.kind, missing, kept, done.code, done.err)
    assert "Traceback" not in done.err
    assert f"GRANT {missing} ON *.* TO 'backup'@'localhost' is missing" in done.err, done.err
    if done.code == 0:
        assert dbguard.manifest()["complete"] is False
        assert "partial" in done.err
    else:
        assert (done.code, dbguard.archives()) == (1, [])


# --- 14, 21 ---

EVIL = """[client]
default-character-set=latin1
[mysqldump]
where=1=0
skip-triggers
no-data
ignore-table=d.z_last
default-character-set=latin1
[mariadb-dump]
where=1=0
no-data
[mysql]
database=nowhere
skip-binary-mode
[client-mariadb]
protocol=TCP
port=9
"""
FOUR_BYTES = """
CREATE TABLE d.z_four (id INT PRIMARY KEY, v VARCHAR(60) CHARACTER SET utf8mb4 DEFAULT '😀' COMMENT '😀')
  CHARACTER SET utf8mb4 COMMENT '😀';
INSERT INTO d.z_four (id) VALUES (1);
CREATE TRIGGER d.four BEFORE INSERT ON d.z_four FOR EACH ROW SET @a = '😀';
CREATE VIEW d.w AS SELECT '😀' AS `❤`;
"""


@docker
def test_option_files_in_the_container(fresh: Fresh, server: Server, dbguard: Dbguard) -> None:
    evil = fresh(server.kind, "--character-set-server=latin1", "--collation-server=latin1_swedish_ci")
    evil.sql(tables("b_first", "z_last") + FOUR_BYTES)
    before = compare.snapshot(evil.container, PASSWORD)
    program = evil.run("sh", "-c", "command -v mariadb-dump || command -v mysqldump").decode().strip()
    said = evil.run("sh", "-c", f"{program} --help | grep -A1 'Default options'").decode().splitlines()[1]
    place = "/etc/my.cnf" if "/etc/my.cnf" in said.split() else said.split()[0]
    evil.run("sh", "-c", f"cat >{place}; chmod 644 {place}", stdin=EVIL.encode())
    raw = evil.run("sh", "-c", f"{program} --defaults-file={place} --user=root --protocol=SOCKET --databases d")
    assert b"INSERT INTO" not in raw, "the file does no harm, so it proves nothing"
    dbguard("backup", "now", evil.target).succeeded()
    [archive] = dbguard.archives()
    server.run(
        "sh", "-c", f"zstd -dc | {server.family} --user=root --binary-mode --default-character-set=utf8mb4",
        stdin=(archive / "data.sql.zst").read_bytes(),
    )  # fmt: skip
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


# --- 16 ---


@docker
@pytest.mark.parametrize("compression", ["auto", "client"])
def test_server_that_does_not_wait_for_a_slow_reader(
    server: Server, dbguard: Dbguard, pause: Pause, compression: str
) -> None:
    server.sql(tables("b_first", "z_last") + "SET GLOBAL net_write_timeout = 5")
    before = contents(server)
    try:
        with running(dbguard, server, {"DBGUARD_COMPRESSION": compression}) as backup:
            pause.wait()
            time.sleep(12)
            pause.go_on()
            done = backup.result()
    finally:
        server.sql("SET GLOBAL net_write_timeout = DEFAULT")
    print(server.kind, compression, done.code, done.err)
    if done.code != 0:
        assert (done.code, dbguard.archives()) == (1, [])
        assert "2013" in done.err, done.err
        return
    [archive] = dbguard.archives()
    assert_whole(before, loaded(server, archive), dbguard.manifest())


# --- 19 ---

HISTORY = """
CREATE DATABASE d; USE d;
CREATE TABLE z_versions (id INT PRIMARY KEY, v VARCHAR(9)) ENGINE=InnoDB WITH SYSTEM VERSIONING;
INSERT INTO z_versions VALUES (1, 'one'); UPDATE z_versions SET v = 'two'; UPDATE z_versions SET v = 'three';
UPDATE z_versions SET v = 'four';
"""


@docker
@MARIADB
def test_history_comes_back_and_is_counted(server: Server, dbguard: Dbguard) -> None:
    server.sql(HISTORY)
    ask = "SELECT id, v, ROW_START, ROW_END FROM d.z_versions FOR SYSTEM_TIME ALL ORDER BY ROW_START"
    before = server.sql(ask)
    assert before.count("\n") == 4
    dbguard("backup", "now", server.target).succeeded()
    manifest: Any = dbguard.manifest()
    assert counted(manifest) == {"z_versions": 4}
    server.empty()
    dbguard("restore", server.target, "--latest", "--yes").succeeded()
    assert server.sql(ask) == before
