"""One run per target on this host. A courtesy: no archive's correctness depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from dbguard.errors import Busy
from dbguard.model import TargetName
from dbguard.state import writable


@contextlib.contextmanager
def target_lock(state: Path, name: TargetName) -> Iterator[None]:
    """A kernel lock, which ends with its process however that ends. Raises Busy at once."""
    with writable(state / "locks") as folder:
        lock = filelock.FileLock(folder / f"{name.project}@{name.service}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise Busy(
                f"{name}: another dbguard is at work on it", hint="wait for it to end, then try again"
            ) from error
    try:
        yield
    finally:
        lock.release()
