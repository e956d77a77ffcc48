"""The connection between dbguard and the engine breaks, wherever it may: no cut stream passes for a whole one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbguard import backup, discover, restore, restore_plan
from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError, RestoreFailed
from dbguard.model import Target
from dbguard.storages import open_storage
from tests.faults.proxy import Cut, Proxy
from tests.faults.rig import Box, Engine, Result, Vault

pytestmark = [pytest.mark.faults, pytest.mark.docker]

DUMP = b"--single-transaction"
SESSION = (b"dev/tcp", b"guard", b"--unbuffered", b"eval")
"""In the requests of programs that carry, or open, a session that stays."""
FRAME = 8
"""Bytes before each payload."""


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path, engine.socket)
    yield proxy
    proxy.close()


def back_up_through(proxy: Proxy, vault: Vault, box: Box, cut: Cut | None) -> Result:
    proxy.arm(cut)
    result = vault.backup(box, DOCKER_HOST=proxy.host)
    assert proxy.done == (cut is not None), result.err
    return result


@pytest.mark.fault(21, 22)
def test_cut_in_and_between_frames(vault: Vault, proxy: Proxy, mysql: Box) -> None:
    back_up_through(proxy, vault, mysql, None).succeeded()
    files = vault.files()
    dump = proxy.program(DUMP)
    frames = proxy.streams[dump].frames
    assert len(frames) > 4
    begin, payload = frames[len(frames) // 2]
    for after in (begin, begin + 3, begin + FRAME + payload // 2):
        back_up_through(proxy, vault, mysql, Cut(dump, after=after)).failed(mysql.target)
    last_frame = FRAME + frames[-1][1]  # holds the last program's exit status
    back_up_through(proxy, vault, mysql, Cut(dump, last=last_frame)).failed(mysql.target)
    assert vault.files() == files
    mysql.wait_until_idle()


@dataclass(frozen=True)
class World:
    """What the verbs work with, made once: so a test can call them often."""

    containers: Containers
    catalog: Catalog
    settings: Settings
    target: Target

    def back_up(self) -> Archive:
        outcome = backup.back_up(
            self.target,
            containers=self.containers,
            catalogs=[self.catalog],
            settings=self.settings,
            wish=backup.Wish(),
        )
        return outcome.archive

    def load(self, archive: Archive, database: str, name: str) -> None:
        todo = restore_plan.plan(archive, self.target, containers=self.containers, database=database, new_name=name)
        restore.restore(todo, containers=self.containers, catalogs=[self.catalog], settings=self.settings)


@pytest.fixture
def world(vault: Vault, proxy: Proxy, mariadb: Box, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("DOCKER_HOST", proxy.host)
    containers = Containers.connect()
    settings = Settings(state=vault.state)
    sightings = discover.discover(containers, settings, [containers.inspect(mariadb.id)])
    return World(
        containers=containers,
        catalog=Catalog(open_storage(vault.storage.as_uri()), vault.state),
        settings=settings,
        target=discover.one(sightings, mariadb.target),
    )


@pytest.mark.fault(21, 22)
def test_no_offset_yields_an_archive(world: World, proxy: Proxy, mariadb: Box) -> None:
    """Every program that a backup runs, the questions to the server too, cut in many places. A session has another way
    to the server, and one that has ended needs no guard any more: then the archive is as good as the first."""
    proxy.arm()
    archives = [world.back_up()]
    for number, stream in enumerate(proxy.streams[:]):
        size = len(stream.data)
        places = 12 if DUMP in stream.request else 1
        cuts = [Cut(number, after=size * part // places) for part in range(places)]
        cuts += [Cut(number, last=missing) for missing in ((1, size // 7) if DUMP in stream.request else (1,))]
        for cut in cuts:
            proxy.arm(cut)
            try:
                archives.append(world.back_up())
            except DbguardError:
                pass
            else:
                assert any(word in stream.request for word in SESSION), stream.request
            assert proxy.done
    assert {(one.complete, one.largest_statement, one.blobs["data"].plain_size) for one in archives} == {
        (True, archives[0].largest_statement, archives[0].blobs["data"].plain_size)
    }
    assert [one.summary for one in world.catalog.listing(world.target.name).archives] == [
        archive.summary for archive in reversed(archives)
    ]
    mariadb.wait_until_idle()


@pytest.mark.fault(22, 50)
def test_restore_of_which_the_server_saw_only_the_beginning(world: World, proxy: Proxy, mariadb: Box) -> None:
    """The end of a program's input looks to it like the end of the dump, so it ends well; the loss must be noticed."""
    archive = world.back_up()
    proxy.arm()
    world.load(archive, "bulk", "copy")
    mariadb.sql("DROP DATABASE copy")
    load, stream = max(enumerate(proxy.streams), key=lambda one: len(one[1].input))
    rows, end = stream.input.index(b"INSERT INTO"), len(stream.input)
    for after in (rows, rows + 10_000, stream.input.index(b");\n", rows) + 3, end - 10):
        proxy.arm(Cut(load, stdin_after=after))
        with pytest.raises(RestoreFailed):
            world.load(archive, "bulk", "copy")
        assert proxy.done
        assert mariadb.sql("SHOW DATABASES LIKE 'copy'") == []
    mariadb.wait_until_idle()


@pytest.mark.fault(22, 50)
def test_restore_whose_answers_are_cut(world: World, proxy: Proxy, mariadb: Box) -> None:
    archive = world.back_up()
    proxy.arm()
    world.load(archive, "bulk", "copy")
    mariadb.sql("DROP DATABASE copy")
    load, stream = max(enumerate(proxy.streams), key=lambda one: len(one[1].input))
    for cut in (Cut(load, after=0), Cut(load, after=len(stream.data) // 2), Cut(load, last=1)):
        proxy.arm(cut)
        with pytest.raises(RestoreFailed):
            world.load(archive, "bulk", "copy")
        assert proxy.done
        assert mariadb.sql("SHOW DATABASES LIKE 'copy'") == []
    mariadb.wait_until_idle()
