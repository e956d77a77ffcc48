"""A look into a volume, whether or not any container has it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbguard.containers import Containers
from dbguard.containers.onlooker import NOTHING, ROLE, SINCE
from dbguard.doctor.leftovers import onlookers
from dbguard.errors import NotFound
from dbguard.lock import target_lock
from dbguard.model import TargetName
from tests.servers import LABEL, docker

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def containers() -> Containers:
    return Containers.connect()


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"dbguard-test-{secrets.token_hex(6)}"
    docker("volume", "create", "--label", LABEL, name)
    yield name
    docker("volume", "rm", "--force", name)


@pytest.fixture
def filled(containers: Containers, volume: str, tmp_path: Path) -> str:
    """By the engine, as every look into it is."""
    (tmp_path / "auto.cnf").write_text("[auto]\n")
    with containers.looking_into(volume, writable=True) as container:
        docker("cp", str(tmp_path / "auto.cnf"), f"{container.id}:/volume/auto.cnf")
    return volume


def of(volume: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"volume={volume}").split()


def test_files_of_a_volume_that_no_container_has(containers: Containers, filled: str) -> None:
    assert of(filled) == []
    with containers.looking_into(filled) as container:
        (mount,) = container.mounts
        assert (mount.name, mount.anonymous, container.running) == (filled, False, False)
        assert containers.read_file(container.id, f"{mount.destination}/auto.cnf") == b"[auto]\n"
        assert containers.read_file(container.id, f"{mount.destination}/other") is None
    assert of(filled) == []
    assert docker("image", "inspect", "--format", "{{.Size}}", NOTHING).strip() == "0"


def test_what_is_there_is_asked_without_fetching_it(containers: Containers, volume: str, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")
    with containers.looking_into(volume, writable=True) as container:
        path = f"{container.mounts[0].destination}/PG_VERSION"
        assert containers.is_empty(container.id, container.mounts[0].destination) is True
        assert not containers.exists(container.id, path)
        assert containers.file(container.id, path) is None
        docker("cp", str(tmp_path / "PG_VERSION"), f"{container.id}:{path}")
        assert containers.is_empty(container.id, container.mounts[0].destination) is False
        assert containers.exists(container.id, path)
        assert b"".join(containers.file(container.id, path) or ()) == b"17\n"


def test_it_is_left_alone(containers: Containers, filled: str, tmp_path: Path) -> None:
    before = docker("volume", "inspect", filled)
    with containers.looking_into(filled) as container, pytest.raises(AssertionError, match="read-only"):
        docker("cp", str(tmp_path), f"{container.id}:/volume/new")
    assert docker("volume", "inspect", filled) == before


def test_an_anonymous_volume_outlives_the_look(containers: Containers) -> None:
    name = docker("volume", "create", "--label", LABEL).strip()
    try:
        with containers.looking_into(name):
            pass
        assert docker("volume", "inspect", "--format", "{{.Name}}", name).strip() == name
    finally:
        docker("volume", "rm", name)


def test_a_volume_that_is_not_there_is_not_made(containers: Containers) -> None:
    name = f"dbguard-test-{secrets.token_hex(6)}"
    with pytest.raises(NotFound, match=name), containers.looking_into(name):
        pass
    assert docker("volume", "ls", "--quiet", "--filter", f"name={name}") == ""


def test_a_volume_deleted_just_before_is_not_made(containers: Containers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine makes a volume that a new container names: what it made is taken away again."""
    name = f"dbguard-test-{secrets.token_hex(6)}"
    docker("volume", "create", "--label", LABEL, name)
    create = containers._client.create_container

    def late(*args: Any, **options: Any) -> object:
        docker("volume", "rm", name)
        return create(*args, **options)

    monkeypatch.setattr(containers._client, "create_container", late)
    with pytest.raises(NotFound, match=name), containers.looking_into(name):
        pass
    assert docker("volume", "ls", "--quiet", "--filter", f"name={name}") == ""
    assert of(name) == []


def test_doctor_finds_what_was_left_behind(
    containers: Containers, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None that is in use, and here none of another test."""
    everywhere = containers.list
    monkeypatch.setattr(containers, "list", lambda **filters: everywhere(volume=filled, **filters))
    target = f"{filled}/db"
    labels = (LABEL, "=".join(ROLE), f"{SINCE}=2026-01-01T00:00:00+00:00", f"dbguard.target={target}")
    words = [word for label in labels for word in ("--label", label)]
    with containers.looking_into(filled, target=target) as looking:
        left = docker("create", *words, "--mount", f"source={filled},target=/volume", NOTHING, "none").strip()
        with target_lock(tmp_path, TargetName.parse(target)):
            assert [*onlookers(containers, tmp_path, True)] == []
        (finding,) = onlookers(containers, tmp_path, False)
        assert (finding.about, finding.state) == (containers.inspect(left).name, "warning")
        (finding,) = onlookers(containers, tmp_path, True)
        assert finding.text.startswith("removed")
        assert of(filled) == [looking.id]
