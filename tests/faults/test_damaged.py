"""An archive is not what was stored. Not one statement of it may reach a server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbguard import discover, restore, restore_plan
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import ArchiveDamaged
from dbguard.storages import open_storage
from tests.faults.rig import Box, Vault

pytestmark = [pytest.mark.faults, pytest.mark.docker]

DAMAGED = 4
LOADS = "SELECT argument FROM mysql.general_log WHERE argument REGEXP '^(CREATE|DROP|INSERT|USE|LOCK|ALTER)'"


@dataclass(frozen=True)
class Stored:
    """Two archives of one target, of which a test may damage the newer one; afterwards both are good again."""

    vault: Vault
    old: Path
    new: Path

    @property
    def data(self) -> Path:
        return self.new / "data.sql.zst"

    @property
    def manifest(self) -> Path:
        return self.new / "manifest.json"

    def edit(self, change: Callable[[Any], object]) -> None:
        archive = json.loads(self.manifest.read_text())
        change(archive)
        self.manifest.write_text(json.dumps(archive))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, old_vault: Vault, mariadb: Box) -> Stored:
    """Made once: taking archives is slow, copying them is not."""
    vault = Vault(tmp_path_factory.mktemp("pair"), old_vault.engine)
    vault.backup(mariadb).succeeded()
    mariadb.sql("INSERT INTO shop.b VALUES (2, 2)")
    vault.backup(mariadb).succeeded()
    mariadb.sql("DELETE FROM shop.b WHERE i = 2")
    new, old = vault.listed()
    return Stored(vault, vault.of(mariadb, old), vault.of(mariadb, new))


@pytest.fixture
def stored(pair: Stored, tmp_path: Path) -> Iterator[Stored]:
    shutil.copytree(pair.vault.storage, tmp_path / "good")
    yield pair
    shutil.rmtree(pair.vault.storage)
    shutil.copytree(tmp_path / "good", pair.vault.storage)


@pytest.fixture
def watched(mariadb: Box) -> Iterator[Box]:
    """A server whose own log proves at the end that nothing was loaded or dropped."""
    mariadb.sql("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
    yield mariadb
    mariadb.sql("SET GLOBAL general_log = OFF")
    seen = mariadb.sql("SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Query'")
    assert seen != [["0"]]
    assert mariadb.sql(LOADS) == []


def flip(path: Path, at: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def swap(stored: Stored) -> None:
    other, mine = (stored.old / "data.sql.zst").read_bytes(), stored.data.read_bytes()
    assert other != mine
    stored.data.write_bytes(other)
    (stored.old / "data.sql.zst").write_bytes(mine)


def same_size_of_another(stored: Stored) -> None:
    """As `swap`, where both happen to be equally long: the size gives nothing away."""
    other, size = (stored.old / "data.sql.zst").read_bytes(), stored.data.stat().st_size
    stored.data.write_bytes(other[:size].ljust(size, b"\0"))


def point_elsewhere(stored: Stored) -> None:
    secret = stored.new.parents[3] / "secret"
    shutil.move(stored.data, secret)
    stored.data.symlink_to(secret)


def folder_elsewhere(stored: Stored) -> None:
    elsewhere = stored.new.parents[3] / "elsewhere"
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.move(stored.new, elsewhere)
    stored.new.symlink_to(elsewhere, target_is_directory=True)


def blob(archive: Any) -> Any:
    return archive["blobs"]["data"]


IN_THE_LIST: dict[str, Callable[[Stored], object]] = {
    "data cut": lambda stored: cut(stored.data, 1000),
    "data empty": lambda stored: cut(stored.data, 0),
    "data longer": lambda stored: stored.data.write_bytes(stored.data.read_bytes() + b"x"),
    "data gone": lambda stored: stored.data.unlink(),
    "data is a link": point_elsewhere,
    "manifest empty": lambda stored: cut(stored.manifest, 0),
    "manifest cut": lambda stored: cut(stored.manifest, 700),
    "manifest is no object": lambda stored: stored.manifest.write_text("[]"),
    "manifest nested too deep": lambda stored: stored.manifest.write_text("[" * 100_000),
    "newer format": lambda stored: stored.edit(lambda archive: archive.update(format=99)),
    "another target's": lambda stored: stored.edit(lambda archive: archive.update(target="other/db")),
    "another id": lambda stored: stored.edit(lambda archive: archive.update(id="20200101T000000Z-000000")),
    "another size": lambda stored: stored.edit(lambda archive: blob(archive).update(size=5)),
    "key leads out": lambda stored: stored.edit(lambda archive: blob(archive).update(key="../../../../secret")),
    "key is absolute": lambda stored: stored.edit(lambda archive: blob(archive).update(key="/etc/passwd")),
    "no data in the manifest": lambda stored: stored.edit(lambda archive: archive.update(blobs={})),
}
"""What `list` can see; all of it is cheap to look at."""

WHEN_READ: dict[str, Callable[[Stored], object]] = {
    "bit flipped": lambda stored: flip(stored.data, 5000),
    "last bit flipped": lambda stored: flip(stored.data, -1, 0x80),
    "another archive's data": same_size_of_another,
    "another checksum": lambda stored: stored.edit(lambda archive: blob(archive).update(sha256="0" * 64)),
}
"""What only the stored checksum tells."""


@pytest.mark.fault(33, 34, 36, 45)
@pytest.mark.parametrize("name", IN_THE_LIST)
def test_damage_that_the_list_shows(stored: Stored, name: str) -> None:
    IN_THE_LIST[name](stored)
    assert stored.vault.both() == ([stored.old.name], [stored.new.name])


@pytest.mark.fault(33, 36, 45)
@pytest.mark.parametrize("name", ["data cut", "manifest empty", "newer format", "key leads out"])
def test_listed_damage_is_neither_loaded_nor_shown(stored: Stored, watched: Box, name: str) -> None:
    IN_THE_LIST[name](stored)
    choice = ("--id", stored.new.name, "--database", "bulk:copy")
    stored.vault.restore(watched, *choice).failed(stored.new.name, code=DAMAGED)
    stored.vault.run("cat", stored.new.name).failed(stored.new.name, code=DAMAGED)
    dry = stored.vault.restore(watched, "--latest", "--database", "bulk:copy", "--dry-run").succeeded()
    assert f"skipped {stored.new.name}: damaged" in dry.err
    assert stored.old.name in dry.err


@pytest.mark.fault(34)
@pytest.mark.parametrize("name", WHEN_READ)
def test_damage_that_only_the_checksum_tells(stored: Stored, watched: Box, name: str) -> None:
    WHEN_READ[name](stored)
    stored.vault.run("cat", stored.new.name).failed(code=DAMAGED)
    choice = ("--id", stored.new.name, "--database", "bulk:copy")
    stored.vault.restore(watched, *choice).failed(stored.new.name, code=DAMAGED)
    assert watched.sql("SHOW DATABASES LIKE 'copy'") == []


@pytest.mark.fault(34)
def test_swapped_data(stored: Stored, watched: Box) -> None:
    swap(stored)
    for archive in (stored.new.name, stored.old.name):
        stored.vault.run("cat", archive).failed(archive, code=DAMAGED)
        stored.vault.restore(watched, "--id", archive, "--database", "bulk:copy").failed(archive, code=DAMAGED)


@pytest.mark.fault(45)
def test_folder_that_is_a_link_is_not_followed(stored: Stored) -> None:
    """It would lead the storage, and whatever deletes there, out of its root."""
    folder_elsewhere(stored)
    assert stored.vault.listed() == [stored.old.name]


@pytest.mark.fault(34)
def test_plain_checksum_that_differs_leaves_nothing_behind(stored: Stored, mariadb: Box) -> None:
    """Found only at the end of the load, as it is the last line of defence: what was loaded is dropped again."""
    stored.edit(lambda archive: blob(archive).update(plain_sha256="0" * 64))
    choice = ("--id", stored.new.name, "--database", "bulk:copy")
    stored.vault.restore(mariadb, *choice).failed(stored.new.name, code=DAMAGED)
    assert mariadb.sql("SHOW DATABASES LIKE 'copy'") == []


def test_damaged_mark_of_the_storage(stored: Stored, mariadb: Box) -> None:
    mark = stored.vault.storage / "dbguard.json"
    mark.write_text('{"format": 99}')
    stored.vault.run("list").failed("newer", code=DAMAGED)
    before = stored.vault.files()
    stored.vault.backup(mariadb).failed("newer", code=DAMAGED)
    assert stored.vault.files() == before


@pytest.mark.fault(33, 34)
def test_any_cut_and_any_flipped_bit(stored: Stored, watched: Box) -> None:
    """Straight at the verb: the list's own comparison of sizes is not there to help."""
    containers = Containers.connect()
    options = Settings(state=stored.vault.state)
    catalog = Catalog(open_storage(stored.vault.storage.as_uri()), stored.vault.state)
    target = discover.one(discover.discover(containers, options, [containers.inspect(watched.id)]), watched.target)
    archive = catalog.archive(catalog.find(stored.new.name).summary)
    todo = restore_plan.plan(archive, target, containers=containers, database="bulk", new_name="copy")
    good = stored.data.read_bytes()

    def refused() -> None:
        with pytest.raises(ArchiveDamaged):
            restore.restore(todo, containers=containers, catalogs=[catalog], settings=options)

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(0, len(good) - 1), st.integers(0, 7), st.booleans())
    def damage(at: int, bit: int, truncate: bool) -> None:
        if truncate:
            stored.data.write_bytes(good[:at])
        else:
            stored.data.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        refused()
        assert any(bad.id == archive.id for bad in catalog.listing(target.name).damaged) == truncate

    damage()
    assert watched.sql("SHOW DATABASES LIKE 'copy'") == []
