"""Where a benchmark runs: its options, a folder and a server of its own. Nothing of it stays."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.server import Server, running


@dataclass(frozen=True, kw_only=True)
class Stage:
    server: Server
    home: Path
    large: int
    """MiB of SQL of the large database."""
    rounds: int
    tables: int
    """How many small tables are many."""


def _end(*_: object) -> None:
    """Once: `timeout` signals twice, and the second would end the cleaning up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("ended")


@contextmanager
def stage(description: str | None) -> Iterator[Stage]:
    """Cleaned up also when interrupted or ended."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--large", type=int, default=1024, help="MiB of SQL of the large database")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tables", type=int, default=10_000, help="how many small tables the sweep ends with")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="dbguard-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with running(home) as server:
            yield Stage(server=server, home=home, large=wanted.large, rounds=wanted.rounds, tables=wanted.tables)
