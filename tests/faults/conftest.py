from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.rig import IMAGES, Box, Engine, Vault


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def filled(engine: Engine) -> Iterator[Callable[..., Box]]:
    """Makes database containers with some data in them, all gone at the end."""
    boxes: list[Box] = []

    def make(kind: str, **more: Any) -> Box:
        boxes.append(Box(engine, IMAGES[kind], **more))
        boxes[-1].fill()
        return boxes[-1]

    yield make
    for box in boxes:
        box.remove()


@pytest.fixture(scope="session")
def mysql(filled: Callable[..., Box]) -> Box:
    return filled("mysql")


@pytest.fixture(scope="session")
def mariadb(filled: Callable[..., Box]) -> Box:
    return filled("mariadb")


@pytest.fixture
def vault(tmp_path: Path, engine: Engine) -> Vault:
    """A new, empty storage."""
    return Vault(tmp_path, engine)


@pytest.fixture(scope="module")
def old_vault(tmp_path_factory: pytest.TempPathFactory, engine: Engine, mysql: Box, mariadb: Box) -> Vault:
    """A storage that holds one good archive of each server. No test may change it."""
    vault = Vault(tmp_path_factory.mktemp("vault"), engine)
    for box in (mysql, mariadb):
        vault.backup(box).succeeded()
    return vault
