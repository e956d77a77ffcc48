"""For people: tables, bars and sizes on stderr. For programs: one JSON object on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from dbguard.errors import DbguardError
from dbguard.model import Progress
from dbguard.report import Report

SCHEMA_VERSION = 1
_LOG_EVERY = 5.0


def emit(data: Mapping[str, Any]) -> None:
    """One JSON object on stdout. Times are UTC, sizes bytes."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=1, default=_plain))


def say(text: str) -> None:
    click.echo(text, err=True)


def confirm(*, replace: bool) -> None:
    """Asks before a restore. Raises DbguardError when the answer is no."""
    if not click.confirm("replace what is there?" if replace else "restore?", err=True):
        raise DbguardError("not restored, nothing was changed")


def confirm_removal() -> None:
    """Asks before archives go. Raises DbguardError when the answer is no."""
    if not click.confirm("remove these archives?", err=True):
        raise DbguardError("nothing was removed")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns on stdout; the last one takes what room is left."""
    lines = [columns, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """Names can hold anything: control characters must not reach the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


def count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def age(moment: datetime) -> str:
    return f"{duration((datetime.now(UTC) - moment).total_seconds())} ago"


def local(moment: datetime) -> str:
    """The local time with its zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


@contextmanager
def progress() -> Iterator[Report]:
    """A live bar on a terminal, a line every few seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _log_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TextColumn("{task.fields[current]}"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(now: Progress) -> None:
            if now.phase not in tasks:
                tasks[now.phase] = bar.add_task(now.phase, total=now.total, current="")
            current = printable(now.current)[:40]
            total = now.total if now.total and now.total >= now.done else None  # it is that of the last archive
            bar.update(tasks[now.phase], completed=now.done, total=total, current=current)

        yield show


def _log_lines() -> Report:
    following = time.monotonic() + _LOG_EVERY

    def show(now: Progress) -> None:
        nonlocal following
        if time.monotonic() >= following:
            following = time.monotonic() + _LOG_EVERY
            share = f" of {size(now.total)}" if now.total else ""
            say(f"{now.target}: {now.phase}: {size(now.done)}{share}: {printable(now.current)}")

    return show


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)
