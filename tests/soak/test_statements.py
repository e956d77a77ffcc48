"""Long proof: any line in any program, and a loader that splits a dump as the client does. See e2e/test_statements."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings

from tests.conftest import Dbguard
from tests.e2e.test_schemas import few
from tests.e2e.test_statements import loads_alike
from tests.programs import Programs, programs
from tests.servers import KINDS, Servers

pytestmark = [pytest.mark.docker, pytest.mark.soak]
DUMPS = int(os.environ.get("DBGUARD_TEST_DUMPS", "50"))
COUNT = 100


@pytest.mark.parametrize("kind", KINDS)
def test_any_line(servers: Servers, dbguard: Dbguard, kind: str) -> None:
    server = servers.get(kind)

    @settings(few, max_examples=DUMPS, derandomize=False)
    @given(programs(count=COUNT))
    def check(some: Programs) -> None:
        loads_alike(server, dbguard, some)

    check()
