"""Is a dump whole? Watched while it goes by."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dbguard.archive import Database
from dbguard.errors import IncompleteDump
from dbguard.sqldump import SANDBOX, Piece, Scanner

_HEADS = (b"-- MySQL dump ", b"-- MariaDB dump ")
_TRAILER = b"-- Dump completed"
_POSITION = re.compile(rb"-- CHANGE MASTER TO MASTER_LOG_FILE='([^']+)', MASTER_LOG_POS=([0-9]+);")


class Checker:
    """Watches a dump go by and says at the end whether it is whole."""

    def __init__(self) -> None:
        self.current = ""
        self.largest_statement = 0
        self.position: tuple[str, int] | None = None  # in the binary log, where the dump itself says it
        self._scanner = Scanner()
        self._seen: set[tuple[str | None, str, str]] = set()
        self._head = b""
        self._last_line = b""
        self._statement_size = 0

    def feed(self, data: bytes) -> None:
        if len(self._head) < 256:
            self._head += data[:256]
        for piece in self._scanner.feed(data):
            self._look_at(piece)

    def finish(self, databases: Sequence[Database]) -> None:
        """The dump has ended: raises IncompleteDump unless first line, last line and every object are there."""
        for piece in self._scanner.close():
            self._look_at(piece)
        if not SANDBOX.sub(b"", self._head).startswith(_HEADS):
            raise IncompleteDump(f"what came is not a dump: it begins with {self._head[:80]!r}")
        if not self._last_line.startswith(_TRAILER):
            raise IncompleteDump("the dump has no last line ('-- Dump completed'): it was cut or it failed")
        expected: set[tuple[str | None, str, str]] = {
            (db.name, kind, name) for db in databases for kind, name in [*db.named(), ("database", "")]
        }
        if missing := sorted(expected - self._seen, key=str):
            shown = ", ".join(f"{kind} {db}.{name}".rstrip(".") for db, kind, name in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise IncompleteDump(
                f"the dump lacks {shown}{more}",
                hint="was it dropped or renamed meanwhile? then run the backup again; else the account may not see it",
            )

    def _look_at(self, piece: Piece) -> None:
        self._statement_size += len(piece.data)
        self.largest_statement = max(self.largest_statement, self._statement_size)
        if piece.kind != "rows" or piece.data.endswith(b";\n"):  # what comes next is another statement
            self._statement_size = 0
        if piece.kind == "comment":
            if match := _POSITION.match(piece.data):
                self.position = (match[1].decode(), int(match[2]))
            self._last_line = piece.data.strip() or self._last_line
            return
        self._last_line = b""
        if piece.kind == "database":
            self._seen.add((piece.database, "database", ""))
        if piece.object is not None:
            kind, name = piece.object
            self.current = f"{piece.database}.{name}"
            if piece.kind == "create":
                self._seen.add((piece.database, kind, name))
