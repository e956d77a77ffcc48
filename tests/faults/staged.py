"""dbguard as a user runs it, but at a chosen stage it gets a signal: `staged.py STAGE:SIGNAL[,…] ARGUMENTS…`."""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from dbguard import catalog, cli, discover, dumping, process
from dbguard.storages import local

LOADED = 100_000
"""Bytes that have been sent to a program when a load counts as begun."""


def strike(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, f"SIG{name}"))


def before(owner: Any, name: str, signal_name: str) -> None:
    """As the function is called for the first time."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        setattr(owner, name, original)
        strike(signal_name)
        return original(*arguments, **options)

    setattr(owner, name, wrapper)


def during_manifest(signal_name: str) -> None:
    """Half of the manifest is written."""
    original = local._Writer.write

    def write(self: Any, data: bytes) -> None:
        if self._final.name != "manifest.json":
            original(self, data)
            return
        original(self, data[: len(data) // 2])
        strike(signal_name)
        original(self, data[len(data) // 2 :])

    local._Writer.write = write  # type: ignore[method-assign]


def after_publishing(signal_name: str) -> None:
    """The manifest has its name."""
    original = os.link

    def link(source: Any, target: Any) -> None:
        original(source, target)
        if str(target).endswith("/manifest.json"):
            strike(signal_name)

    os.link = link  # type: ignore[assignment]


def after_deleting(signal_name: str) -> None:
    """One file of an archive is deleted."""
    original = local.LocalStorage.delete

    def delete(self: Any, key: str) -> None:
        original(self, key)
        strike(signal_name)

    local.LocalStorage.delete = delete  # type: ignore[method-assign]


def before_load(signal_name: str) -> None:
    """The stored checksum was found right, nothing was sent."""
    original = catalog.Catalog.chunks

    def chunks(*arguments: Any) -> Iterator[bytes]:
        catalog.Catalog.chunks = original  # type: ignore[method-assign]
        yield from original(*arguments)
        strike(signal_name)

    catalog.Catalog.chunks = chunks  # type: ignore[assignment, method-assign]


def during_load(signal_name: str) -> None:
    original = process._sent
    loaded = 0

    def sent(to: socket.socket, data: memoryview) -> memoryview:
        nonlocal loaded
        rest = original(to, data)
        before, loaded = loaded, loaded + len(data) - len(rest)
        if before < LOADED <= loaded:
            strike(signal_name)
        return rest

    process._sent = sent


STAGES: dict[str, Callable[[str], None]] = {
    "discovery": functools.partial(before, discover, "_ask"),
    "before-dump": functools.partial(before, catalog.Catalog, "create"),
    "after-dump": functools.partial(before, dumping.Dump, "_finish"),
    "before-manifest": functools.partial(before, catalog.Catalog, "publish"),
    "during-manifest": during_manifest,
    "after-publishing": after_publishing,
    "after-deleting": after_deleting,
    "before-load": before_load,
    "during-load": during_load,
}


if __name__ == "__main__":
    for part in sys.argv.pop(1).split(","):
        stage, _, name = part.partition(":")
        STAGES[stage](name)
    sys.argv[0] = "dbguard"
    cli.main()
