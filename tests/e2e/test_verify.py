"""`dbguard verify`: an archive is good when a server that was made for it holds what was saved; and only then."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from backports import zstd

from tests import hostile
from tests.conftest import Dbguard, Result
from tests.servers import Server, docker
from tests.stack import QuickStack, sidecar_image, wait_until

pytestmark = pytest.mark.docker
ONE_KIND = pytest.mark.parametrize("server", ["mariadb118"], indirect=True)

SHOP = """
CREATE DATABASE shop; USE shop;
CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL DEFAULT 'nobody', KEY by_name (name));
INSERT INTO customer VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Edsger');
CREATE TABLE orders (id INT PRIMARY KEY, customer INT, FOREIGN KEY (customer) REFERENCES customer (id));
INSERT INTO orders VALUES (10, 1), (11, 2);
CREATE VIEW names AS SELECT name FROM customer;
DELIMITER $$
CREATE TRIGGER counted BEFORE INSERT ON orders FOR EACH ROW SET @orders = 1$$
CREATE EVENT nightly ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO SET @night = 1$$
CREATE PROCEDURE greet() SET @hello = 1$$
DELIMITER ;
CREATE USER clerk@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON shop.* TO clerk@'%';
"""


def throwaways(target: str) -> list[str]:
    """Ids of those that are there for this target, running or not."""
    return docker("ps", "--all", "--quiet", "--filter", f"label=dbguard.target={target}").split()


@pytest.fixture
def saved(server: Server, dbguard: Dbguard) -> Iterator[Dbguard]:
    server.sql(SHOP)
    dbguard("backup", "now", server.target).succeeded()
    yield dbguard
    assert throwaways(server.target) == []


def state(dbguard: Dbguard) -> list[Any]:
    """What `list` says of each archive's check, newest first."""
    return [one["verified"] for one in dbguard("list", "--json").succeeded().json["archives"]]


def rewritten(archive: Path, old: str, new: str) -> None:
    """Damage that no checksum shows: the archive is whole, and holds something else."""
    data = archive / "data.sql.zst"
    text = zstd.decompress(data.read_bytes()).decode()
    assert text.count(old) == 1, f"{old!r} is in the dump {text.count(old)} times"
    plain = text.replace(old, new).encode()
    stored = zstd.compress(plain)
    manifest = json.loads((archive / "manifest.json").read_text())
    manifest["blobs"]["data"] |= {
        "size": len(stored),
        "sha256": hashlib.sha256(stored).hexdigest(),
        "plain_size": len(plain),
        "plain_sha256": hashlib.sha256(plain).hexdigest(),
    }
    data.write_bytes(stored)
    (archive / "manifest.json").write_text(json.dumps(manifest))


# --- what is good ---


def test_a_good_archive(server: Server, saved: Dbguard) -> None:
    assert state(saved) == [None]
    done = saved("verify", "--json").succeeded()
    [check] = done.json["checks"]
    assert (check["result"], check["differences"], check["rows"], check["uncounted"]) == ("passed", [], 5, 0)
    assert (check["target"], check["id"]) == (server.target, saved.archives()[0].name)
    assert 0 < check["seconds"] < 60
    assert state(saved) == [True]
    assert "verified" in saved("list").out
    [mark] = saved.archives()[0].glob("check-*-passed.json")
    assert json.loads(mark.read_text())["rows"] == 5


def test_hostile_schema(server: Server, dbguard: Dbguard) -> None:
    hostile.load(server)
    dbguard("backup", "now", server.target).succeeded()
    done = dbguard("verify", server.target, "--latest").succeeded()
    assert "verified" in done.err
    assert throwaways(server.target) == []


@ONE_KIND
def test_empty_databases_are_legitimate(server: Server, dbguard: Dbguard) -> None:
    server.sql("CREATE DATABASE empty")
    dbguard("backup", "now", server.target).succeeded()
    dbguard("verify").succeeded()
    assert state(dbguard) == [True]


@ONE_KIND
def test_which_archives(server: Server, saved: Dbguard) -> None:
    saved("backup", "now", server.target).succeeded()
    old, new = (archive.name for archive in saved.archives())
    saved("verify", "--id", old).succeeded()
    assert state(saved) == [None, True]
    assert "say which" in saved("verify", "--all", "--latest").err
    done = saved("verify", "--all", "--json").succeeded()
    assert [check["id"] for check in done.json["checks"]] == [new, old]
    assert saved("verify", "nobody/nothing").code == 1
    assert saved("verify", "--id", "nothing").code == 1


# --- what is not ---

DAMAGES = {
    "row": ("(3,'Edsger')", "(2,'Edsger')", "in table shop.customer"),
    "rows": (",\n(3,'Edsger')", "", "table shop.customer has 2 rows instead of 3"),
    "trigger": ("SET @orders = 1", "SET @orders = 2", "trigger shop.counted is defined otherwise"),
    "event": ("SET @night = 1", "SET @night = 2", "event shop.nightly is defined otherwise"),
    "event's name": ("EVENT `nightly` ON", "EVENT `daily` ON", "event shop.nightly is missing"),
    "routine": ("SET @hello = 1", "SET @hello = 2", "routine shop.greet is defined otherwise"),
    "default": ("DEFAULT 'nobody'", "DEFAULT 'no one'", "table shop.customer is defined otherwise"),
    "index": ("KEY `by_name` (`name`)", "KEY `by_id` (`id`)", "table shop.customer is defined otherwise"),
    "foreign key": (
        "FOREIGN KEY (`customer`) REFERENCES `customer` (`id`)",
        "FOREIGN KEY (`customer`) REFERENCES `orders` (`id`)",
        "table shop.orders is defined otherwise",
    ),
    "more": (
        "CREATE TABLE `orders`",
        "CREATE TABLE `more` (i INT);\nCREATE TABLE `orders`",
        "table shop.more is there",
    ),
}


@ONE_KIND
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_found_and_named(server: Server, saved: Dbguard, damage: str) -> None:
    old, new, words = DAMAGES[damage]
    rewritten(saved.archives()[0], old, new)
    done = saved("verify")
    assert done.code == 4, done.err
    assert words in done.err, done.err
    assert state(saved) == [False]
    assert "CHECK FAILED" in saved("list").out
    refused = saved("restore", server.target, "--latest", "--yes", "--replace")
    assert (refused.code, "its check failed" in refused.err) == (1, True), refused.err


def test_a_flipped_bit(server: Server, saved: Dbguard) -> None:
    data = saved.archives()[0] / "data.sql.zst"
    stored = bytearray(data.read_bytes())
    stored[len(stored) // 2] ^= 1
    data.write_bytes(stored)
    done = saved("verify", server.target)
    assert (done.code, state(saved)) == (4, [False]), done.err


@ONE_KIND
def test_the_newest_check_decides(server: Server, saved: Dbguard) -> None:
    archive = saved.archives()[0]
    manifest, data = (archive / "manifest.json").read_bytes(), (archive / "data.sql.zst").read_bytes()
    rewritten(archive, ",\n(3,'Edsger')", "")
    assert saved("verify").code == 4
    (archive / "manifest.json").write_bytes(manifest)
    (archive / "data.sql.zst").write_bytes(data)
    saved("verify", "--id", archive.name).succeeded()
    assert state(saved) == [True]


# --- questions of the user's own ---


def asked(dbguard: Dbguard, *queries: str) -> Result:
    (dbguard.folder / "dbguard.toml").write_text("".join(f"[[verify.query]]\n{query}\n" for query in queries))
    return dbguard("verify")


@ONE_KIND
def test_questions(server: Server, saved: Dbguard) -> None:
    count = 'statement = "SELECT COUNT(*) FROM shop.customer"'
    asked(saved, f'{count}\nequals = "3"', f"{count}\nat_least = 3\nat_most = 3").succeeded()
    asked(saved, f'{count}\nat_least = 99\ntarget = "another/one"').succeeded()
    for wrong, why in {
        f'{count}\nequals = "4"': "'3' is not '4'",
        f"{count}\nat_least = 4": "3 is less than 4",
        f"{count}\nat_most = 2.5": "3 is more than 2.5",
        'statement = "SELECT name FROM shop.customer"\nat_least = 1': "is not a number",
        'statement = "SELECT 1 FROM shop.customer WHERE id = 9"\nequals = "1"': "no row",
        'statement = "SELECT 1 FROM shop.nothing"\nequals = "1"': "doesn't exist",
    }.items():
        done = asked(saved, wrong)
        assert (done.code, why in done.err, state(saved)) == (4, True, [False]), done.err
    done = asked(saved, count)
    assert (done.code, "cannot fail" in done.err) == (78, True), done.err


# --- when nobody can say ---


@ONE_KIND
@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ({"DBGUARD_VERIFY__TIME": "2s"}, "took longer"),
        ({"DBGUARD_VERIFY__OPTIONS": "--no-such-option"}, "no-such-option"),
    ],
)
def test_a_check_that_could_not_be_made_says_nothing_of_the_archive(
    server: Server, saved: Dbguard, setting: dict[str, str], why: str
) -> None:
    done = saved("verify", environment=setting)
    assert (done.code, why in done.err) == (1, True), done.err
    assert state(saved) == [None]
    assert throwaways(server.target) == []


@ONE_KIND
def test_an_image_that_is_gone(server: Server, saved: Dbguard) -> None:
    file = saved.archives()[0] / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["software"]["image_id"] = f"sha256:{'0' * 64}"
    file.write_text(json.dumps(manifest))
    done = saved("verify")
    assert (done.code, "is not there" in done.err, state(saved)) == (1, True, [None]), done.err


@pytest.mark.fault(51)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@ONE_KIND
def test_no_server_outlives_us(server: Server, saved: Dbguard, number: signal.Signals) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "dbguard", "verify"], cwd=saved.folder, env=saved.environment, stderr=subprocess.PIPE
    )
    wait_until(lambda: throwaways(server.target) != [], "the server is made")
    time.sleep(1.0)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    wait_until(lambda: throwaways(server.target) == [], "it is gone")
    assert state(saved) == [None]


@pytest.mark.fault(46)
@ONE_KIND
def test_it_can_reach_nobody_and_has_no_privilege(server: Server, saved: Dbguard) -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "dbguard", "verify"], cwd=saved.folder, env=saved.environment, stderr=subprocess.PIPE
    )
    wait_until(lambda: throwaways(server.target) != [], "the server is made")
    [container] = throwaways(server.target)
    made = json.loads(docker("inspect", container))[0]
    running.communicate(timeout=120)
    assert running.returncode == 0
    host, labels = made["HostConfig"], made["Config"]["Labels"]
    assert host["NetworkMode"] == "none"
    assert (host["CapDrop"], host["ReadonlyRootfs"], host["Memory"]) == (["ALL"], True, 1 << 30)
    assert labels["dbguard.role"] == "throwaway"
    assert not [word for word in [*made["Config"]["Env"], *made["Args"]] if os.environ.get("NONE", "PASSWORD=") in word]
    assert "dbguard" not in saved("discover").succeeded().out.split()


# --- what is in the rows ---

CHECKED = {"DBGUARD_CHECKSUMS": "true"}


@pytest.mark.parametrize("old", ["(3,'Edsger')", "(10,1)"])
@ONE_KIND
def test_one_value_that_is_another(server: Server, dbguard: Dbguard, old: str) -> None:
    server.sql(SHOP)
    dbguard("backup", "now", server.target, environment=CHECKED).succeeded()
    dbguard("verify").succeeded()
    rewritten(dbguard.archives()[0], old, old.replace("Edsger", "Dijkstra").replace("1)", "3)"))
    done = dbguard("verify")
    assert (done.code, "has other contents" in done.err) == (4, True), done.err


def test_checksums_of_hostile_data_come_back(server: Server, dbguard: Dbguard) -> None:
    hostile.load(server)
    dbguard("backup", "now", server.target, environment=CHECKED).succeeded()
    tables = [table for database in dbguard.manifest()["databases"] for table in database["tables"]]
    assert [table["name"] for table in tables if (table["checksum"] is None) != (table["rows"] is None)] == []
    assert sum(table["checksum"] is not None for table in tables) > 20
    dbguard("verify").succeeded()


# --- after every backup ---

AFTER = {"DBGUARD_VERIFY__WHEN": ""}
"""The default."""


@ONE_KIND
def test_after_a_backup_with_a_key_that_nobody_has(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    encrypted = AFTER | {"DBGUARD_RECIPIENTS": recipient}
    done = dbguard("backup", "now", server.target, "--json", environment=encrypted).succeeded()
    assert [one["verified"] for one in done.json["archives"]] == [True]
    assert state(dbguard) == [True]
    done = dbguard("verify")
    assert (done.code, "private key" in done.err, state(dbguard)) == (1, True, [True]), done.err


@ONE_KIND
def test_after_a_backup_that_fails_the_check(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    query = '[[verify.query]]\nstatement = "SELECT COUNT(*) FROM shop.customer"\nequals = "9"\n'
    (dbguard.folder / "dbguard.toml").write_text(query)
    done = dbguard("backup", "now", server.target, "--json", environment=AFTER)
    assert (done.code, "'3' is not '9'" in done.err, state(dbguard)) == (4, True, [False]), done.err
    assert [one["verified"] for one in done.json["archives"]] == [False]


@ONE_KIND
def test_after_a_backup_that_nobody_could_check(server: Server, dbguard: Dbguard) -> None:
    server.sql(SHOP)
    wrong = AFTER | {"DBGUARD_VERIFY__OPTIONS": "--no-such-option"}
    done = dbguard("backup", "now", server.target, "--json", environment=wrong).succeeded()
    assert "warning not verified" in done.err
    assert [one["verified"] for one in done.json["archives"]] == [None]
    assert state(dbguard) == [None]


@ONE_KIND
def test_not_this_time(server: Server, dbguard: Dbguard) -> None:
    server.sql("CREATE DATABASE empty")
    done = dbguard("backup", "now", server.target, "--no-verify", "--json", environment=AFTER).succeeded()
    assert [one["verified"] for one in done.json["archives"]] == [None]
    assert (state(dbguard), "verified" in done.err) == ([None], False), done.err


YEARLY = {"DBGUARD_VERIFY__WHEN": "schedule", "DBGUARD_VERIFY__SCHEDULE": "@yearly"}


@pytest.mark.parametrize(("when", "good"), [(AFTER, True), (AFTER, False), (YEARLY, True), (YEARLY, False)])
def test_the_sidecar_verifies_what_it_has_saved(tmp_path: Path, when: dict[str, str], good: bool) -> None:
    stack = QuickStack(tmp_path, sidecar_image())
    stack.services["backup"]["environment"] |= when | {"DBGUARD_RETRIES": "0"}
    stack.services["backup"]["volumes"] += [
        "./dbguard.toml:/etc/dbguard/dbguard.toml:ro",
        "./state:/var/lib/dbguard",
    ]
    (tmp_path / "state").mkdir()  # where it is remembered that the time to verify has come since
    (tmp_path / "state/runs.json").write_text(json.dumps({f"{stack.project}/db": {"checked": "2020-01-01T00:00:00Z"}}))
    query = f"statement = 'SELECT COUNT(*) FROM shop.t'\nequals = '{0 if good else 1}'\n"
    (tmp_path / "dbguard.toml").write_text(f"[[verify.query]]\n{query}")
    stack.write()
    try:
        stack.up_with_data()
        result = "passed" if good else "failed"
        wait_until(lambda: [*stack.archives_of("db")[0].glob(f"check-*-{result}.json")] != [], "its check")
        [log] = [line for line in stack.compose("logs", "backup").splitlines() if "check" in line or "verified" in line]
        assert ("'0' is not '1'" in log) is not good, log
        assert len(stack.archives_of("db")) == 1
        problems = json.loads(stack.dbguard("status", "--json").stdout)["targets"][0]["problems"]
        assert ("unverified" in problems) is not good, problems
        runs = tmp_path / "state/runs.json"
        wait_until(lambda: ('"2020-' in runs.read_text()) is (when is AFTER), "that the time was made use of")
    finally:
        stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")
