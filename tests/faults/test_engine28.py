"""The essential faults once more on a Docker Engine 28."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.proxy import Cut, Proxy
from tests.faults.rig import IMAGES, Box, Engine, Vault
from tests.faults.test_cut_stream import DUMP, FRAME, back_up_through
from tests.faults.test_dump_program import FAULTS, SHORT
from tests.faults.test_signals import SIGNALS, ended_by, nothing_changed

pytestmark = [pytest.mark.faults, pytest.mark.docker]


@pytest.fixture(scope="module")
def engine28() -> Iterator[Engine]:
    """Beside the machine's own: what it does at the end of a stream need not be the same."""
    script = str(Path(__file__).parents[1] / "testbed" / "engine28")
    started = subprocess.run([script, "up", IMAGES["mariadb"]], stdout=subprocess.PIPE, text=True, check=True)
    host = started.stdout.strip()
    yield Engine(host)
    subprocess.run([script, "down", host], check=True)


@pytest.fixture(scope="module")
def box(engine28: Engine) -> Box:
    """Goes with its engine."""
    box = Box(engine28, IMAGES["mariadb"])
    box.fill()
    return box


@pytest.fixture
def vault(tmp_path: Path, engine28: Engine) -> Vault:
    return Vault(tmp_path, engine28)


@pytest.fixture
def proxy(tmp_path: Path, engine28: Engine) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path, engine28.socket)
    yield proxy
    proxy.close()


def test_backup_and_restore(vault: Vault, box: Box) -> None:
    vault.backup(box).succeeded()
    box.sql("DROP DATABASE shop; DROP DATABASE bulk")
    vault.restore(box).succeeded()
    assert box.sql("SELECT COUNT(*) FROM bulk.noise") == [["1200"]]
    assert box.sql("SELECT t FROM shop.a ORDER BY i") == [["one"], ["two"]]
    box.wait_until_idle()


@pytest.mark.fault(15, 16, 23)
@pytest.mark.parametrize("name", ["exit-2", "exit-2-after-all", "killed", "cut-in-a-row", "nothing", "silence"])
def test_dump_program(vault: Vault, box: Box, name: str) -> None:
    with box.dump(FAULTS[name].script):
        vault.backup(box, **SHORT).failed(box.target, *FAULTS[name].says)
    assert vault.listed() == []
    box.wait_until_idle()


@pytest.mark.fault(22)
def test_cut_stream(vault: Vault, proxy: Proxy, box: Box) -> None:
    back_up_through(proxy, vault, box, None).succeeded()
    before = vault.files()
    dump = proxy.program(DUMP)
    frames = proxy.streams[dump].frames
    begin, payload = frames[len(frames) // 2]
    for after in (begin, begin + 3, begin + FRAME + payload // 2):
        back_up_through(proxy, vault, box, Cut(dump, after=after)).failed(box.target)
    back_up_through(proxy, vault, box, Cut(dump, last=FRAME + frames[-1][1])).failed(box.target)
    assert vault.files() == before
    box.wait_until_idle()


@pytest.mark.fault(2, 8)
@pytest.mark.parametrize("name", SIGNALS)
def test_signal_in_the_middle_of_the_dump(vault: Vault, box: Box, name: str) -> None:
    with box.slow_dump():
        process = vault.start("backup", "now", "--project", box.project)
        box.wait_until_half()
        before = vault.files()
        os.kill(process.pid, getattr(signal, f"SIG{name}"))
        ended_by(vault.end(process), name)
        box.wait_until_idle()
    nothing_changed(vault, before, "KILL")
    assert vault.listed() == []


@pytest.mark.fault(17)
def test_container_killed_in_the_middle_of_the_dump(vault: Vault, box: Box) -> None:
    with box.slow_dump():
        process = vault.start("backup", "now", "--project", box.project)
        box.wait_until_half()
        box.engine.docker("kill", box.id)
        vault.end(process).failed(box.target)
    assert vault.listed() == []
    box.engine.docker("start", box.id)
    box.put_back()
    box.wait_until_ready()
