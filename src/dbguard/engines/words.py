"""What an engine says when it is asked for the statements of a backup. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DdlGuard:
    """How one session keeps every other one from changing tables, and whom else that would hold up."""

    lock: tuple[str, ...]
    privileges: tuple[str, ...]  # that these statements need
    bystanders: str  # a query for what is no DDL and would wait all the same: one row each
    harm: str  # what happens to those, in a few words
    overtaken: str = ""  # a query for who began before `{since}` milliseconds, and holds a table while it waits for us
