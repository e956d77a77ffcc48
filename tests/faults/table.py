"""Writes docs/faults.md: what may go wrong, what must come of it, and which tests prove that."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
ROWS = Path(__file__).with_name("rows.toml")
PAGE = ROOT / "docs" / "faults.md"
HEAD = """# Faults

Written by `python tests/faults/table.py` from `tests/faults/rows.toml` and the tests' markers; not by hand.

*Nothing is published* means: `list` shows what it showed before, and the exit code is not 0.

| | fault | what must come of it | proven by (below `tests/`) |
| --- | --- | --- | --- |
"""
LATER = "\n## Left for later\n\n| | what is missing |\n| --- | --- |\n"


@dataclass(frozen=True, kw_only=True)
class Row:
    number: int
    fault: str
    outcome: str
    later: str = ""


def rows() -> list[Row]:
    return [Row(**row) for row in tomllib.loads(ROWS.read_text())["rows"]]


def named() -> dict[int, list[str]]:
    """By row, the tests that rows.toml itself names."""
    return {int(number): tests for number, tests in tomllib.loads(ROWS.read_text())["tests"].items()}


def marked() -> dict[int, list[str]]:
    """By row, the tests that carry its number."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, function in functions(path).items():
            for number in _numbers(function):
                found[number].append(test)
    return found


@cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The tests in one file, as `folder/file.py::name`."""
    place = path.relative_to(TESTS).as_posix()
    found = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {f"{place}::{node.name}": node for node in found if node.name.startswith("test_")}


def proofs() -> dict[int, list[str]]:
    """Each test once, those with markers first."""
    ours, others = marked(), named()
    return {row: [*dict.fromkeys([*ours.get(row, []), *others.get(row, [])])] for row in {*ours, *others}}


def _numbers(function: ast.FunctionDef) -> Iterator[int]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def page() -> str:
    tests = proofs()
    lines = [f"| {row.number} | {row.fault} | {row.outcome} | {_proven(row, tests)} |\n" for row in rows()]
    missing = [f"| {row.number} | {row.later} |\n" for row in rows() if row.later]
    return HEAD + "".join(lines) + LATER + "".join(missing)


def _proven(row: Row, tests: dict[int, list[str]]) -> str:
    found = [f"`{test}`" for test in tests.get(row.number, ())]
    if row.later:
        found.append("*in part, see below*" if found else "*later, see below*")
    return "<br>".join(found)


if __name__ == "__main__":
    PAGE.write_text(page())
