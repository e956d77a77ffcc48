"""Long proof: a hundred archives of random schemas come back equal. See e2e/test_schemas."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import given, settings

from tests.conftest import Dbguard
from tests.e2e.test_schemas import comes_back, few, several
from tests.schemas import Schema
from tests.servers import KINDS, Servers

pytestmark = [pytest.mark.docker, pytest.mark.soak]
ARCHIVES = int(os.environ.get("DBGUARD_TEST_ARCHIVES", "100"))


@pytest.mark.parametrize("kind", KINDS)
def test_random_schemas(servers: Servers, dbguard: Dbguard, kind: str) -> None:
    server = servers.get(kind)
    things: Counter[str] = Counter()

    @settings(few, max_examples=ARCHIVES // len(KINDS) + 1, derandomize=False)
    @given(several(server.family))
    def check(them: list[Schema]) -> None:
        was = comes_back(server, dbguard, them)
        things.update(thing.partition(" ")[0] for thing in was["things"])
        things["archives"] += 1

    check()
    print(kind, dict(things))
