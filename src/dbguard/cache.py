"""What was read of manifests before. They never change, so a summary is right as long as its file is the same one.

A cache that is lost, damaged or cannot be written costs time only.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydantic

from dbguard.archive import Summary

_SUMMARY = pydantic.TypeAdapter(Summary)
_LAYOUT = "2"
"""Another one when Summary changes: what an older dbguard has written is then not looked at."""
_SCHEMA = """CREATE TABLE IF NOT EXISTS summaries (
    storage TEXT, target TEXT, id TEXT, version TEXT, summary BLOB, PRIMARY KEY (storage, target, id, version)
) WITHOUT ROWID"""


class SummaryCache:
    """Of one storage. Versions are those that the storage gives a manifest's file."""

    def __init__(self, state: Path, storage: str) -> None:
        self._file = state / f"summaries-{_LAYOUT}.sqlite"
        self._storage = storage

    def load(self, target: str) -> dict[tuple[str, str], Summary]:
        """By id and version."""
        with contextlib.suppress(sqlite3.Error, pydantic.ValidationError, OSError), self._open() as database:
            rows = database.execute(
                "SELECT id, version, summary FROM summaries WHERE storage = ? AND target = ?", (self._storage, target)
            )
            return {(row[0], row[1]): _SUMMARY.validate_json(row[2]) for row in rows}
        return {}

    def save(self, target: str, new: Mapping[tuple[str, str], Summary], gone: set[tuple[str, str]]) -> None:
        if not new and not gone:
            return
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as database, database:
            database.executemany(
                "INSERT OR REPLACE INTO summaries VALUES (?, ?, ?, ?, ?)",
                [(self._storage, target, *key, _SUMMARY.dump_json(summary)) for key, summary in new.items()],
            )
            database.executemany(
                "DELETE FROM summaries WHERE storage = ? AND target = ? AND id = ? AND version = ?",
                [(self._storage, target, *key) for key in gone],
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with contextlib.closing(sqlite3.connect(self._file, timeout=5)) as database:
                database.execute(_SCHEMA)
                yield database
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError):  # it is no database, or a damaged one
                self._file.unlink(missing_ok=True)
            raise
