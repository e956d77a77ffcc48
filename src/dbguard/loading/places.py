"""Which object a line of a script belongs to."""

from __future__ import annotations

import re

_AT_LINE = re.compile(r"ERROR \d+ \(\w+\) at line (\d+)")


class Places:
    """Of what was given to one client."""

    def __init__(self) -> None:
        self._line = 1
        self._places: list[tuple[int, str]] = []

    def note(self, sql: bytes, what: str) -> None:
        """`what` is empty for what belongs to no object."""
        if what and (not self._places or self._places[-1][1] != what):
            self._places.append((self._line, what))
        self._line += sql.count(b"\n")

    def of(self, message: str) -> str:
        """`table shop.orders`, from the line that the client's message names; empty when it names none."""
        match = _AT_LINE.search(message)
        line = int(match.group(1)) if match else 0
        return next((what for start, what in reversed(self._places) if start <= line), "")
