"""For all unit tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("dbguard", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("dbguard")


@pytest.fixture(autouse=True)
def signals_put_back() -> Iterator[None]:
    """Some code sets them for the whole process, such as SIGPIPE before it becomes docker."""
    before = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
