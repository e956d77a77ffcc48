"""Markdown and pictures of what was measured, and the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker

from tests.bench.measure import ROOT, Cost
from tests.bench.peers import NotInstalled, path_of
from tests.bench.server import Server
from tests.bench.ways import Dbguard, Outcome

REPORTS = ROOT / "docs/benchmarks"
_PLOT = Path(__file__).with_name("plot.py")


def heading(title: str, server: Server, said: str) -> list[str]:
    """Title, machine, and what was measured there."""
    model = next(line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    engine = docker.from_env().version()["Version"]
    where = (
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {os.cpu_count()} cores of {model}, Linux "
        f"{platform.release()}, Docker Engine {engine}, MySQL {server.version()}, {Dbguard.version()}, Python "
        f"{platform.python_version()}; load average at the end {os.getloadavg()[1]:.1f}."
    )
    return [f"# {title}", "", *text(where), "", *text(said), ""]


def text(paragraph: str) -> list[str]:
    return textwrap.wrap(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def amount(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def median(runs: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    return statistics.median(map(of, runs))


def seconds(outcome: Outcome) -> float:
    """Median. Raises StatisticsError when nothing was measured."""
    return median(outcome.runs, lambda run: run.seconds)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column is text, the others numbers."""
    rules = ["---", *["---:"] * (len(columns) - 1)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (columns, rules, *rows)]


def write(name: str, lines: Sequence[str]) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    print("\n".join(lines), f"\n\nwritten to {path.relative_to(ROOT)}", flush=True)


def draw(kind: str, name: str, picture: dict[str, Any]) -> list[str]:
    """Draw it, and return the lines that show it; none where there is no matplotlib."""
    try:
        python = path_of("matplotlib")
    except NotInstalled:
        return []
    target = REPORTS / f"{name}.png"
    subprocess.run([python, _PLOT, kind, target], input=json.dumps(picture), check=True, text=True)
    return [f"![{picture['title']}]({target.name})", ""]
