"""plot.py bars|dots FILE: draw the numbers on standard input. Runs in an environment of its own, with matplotlib."""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("Agg")
from matplotlib import pyplot, ticker

OURS, OTHERS, LIMIT = "#1b6ca8", "#b8bfc6", "#5c6670"
COLOURS = {"dbguard": OURS, "limit": LIMIT}


def colour(name: str, other: str = OTHERS) -> str:
    return next((found for start, found in COLOURS.items() if name.startswith(start)), other)


def bars(picture: dict[str, Any], axes: Any) -> None:
    """{"bars": [{name, value, label}]}, the first on top; a line at 1."""
    data = picture["bars"][::-1]
    drawn = axes.barh(
        [bar["name"] for bar in data],
        [bar["value"] for bar in data],
        color=[colour(bar["name"]) for bar in data],
        zorder=2,
    )
    axes.bar_label(drawn, [bar["label"] for bar in data], padding=5, fontsize=9)
    axes.axvline(1, color=LIMIT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)


def dots(picture: dict[str, Any], axes: Any) -> None:
    """{"rows": [name], "series": {name: [value]}}, the first row on top, on a logarithmic axis."""
    rows, series = picture["rows"], picture["series"]
    places = list(range(len(rows)))[::-1]
    ends = list(zip(*series.values(), strict=True))
    axes.hlines(places, list(map(min, ends)), list(map(max, ends)), color="#dde1e5", linewidth=3, zorder=1)
    for name, values in series.items():
        axes.scatter(values, places, s=70, color=colour(name, "#d98032"), label=name, zorder=2)
    for place, last in zip(places, ends, strict=True):
        said = "  /  ".join(f"{value:.{1 if value >= 10 else 2}f}" for value in last)
        axes.annotate(
            f"{said} s", (max(last), place), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.margins(x=0.14)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_yticks(places, rows)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", color="#eceff1")
    axes.set_axisbelow(True)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=len(series), frameon=False, fontsize=9, handletextpad=0.2
    )


def main() -> None:
    kind, target = sys.argv[1:]
    picture = json.load(sys.stdin)
    height = 1.5 + 0.42 * len(picture.get("bars", picture.get("rows", [])))
    figure, axes = pyplot.subplots(figsize=(9, height), layout="constrained")
    {"bars": bars, "dots": dots}[kind](picture, axes)
    figure.suptitle(picture["title"], x=0.01, ha="left", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", left=False)
    axes.set_xlabel(picture["axis"], loc="left", fontsize=9, color=LIMIT)
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    main()
