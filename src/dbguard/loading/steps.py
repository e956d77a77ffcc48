"""What each statement of a dump asks of the sessions that load it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Literal

from dbguard.sqldump import Piece, words

Step = Literal[
    "nothing",
    "session",  # what sets a session up
    "delimiter",
    "use",
    "drop",
    "table",
    "rows",
    "keys",
    "lock",  # what keeps others out of a table: its LOCK, and a transaction of all its rows
    "sequence",
    "trigger",
    "database",
    "program",  # views, routines, events
    "unknown",
]
_BY_KIND: Mapping[str, Step] = {
    "comment": "nothing",
    "client": "delimiter",
    "use": "use",
    "rows": "rows",
    "database": "database",
}
_PROGRAMS = (b"VIEW", b"PROCEDURE", b"FUNCTION", b"TRIGGER", b"EVENT", b"PACKAGE")
_BY_WORDS: Mapping[tuple[bytes, ...], Step] = {
    (b"CREATE", b"TABLE"): "table",
    (b"DROP", b"TABLE"): "drop",
    (b"LOCK", b"TABLES"): "lock",
    (b"UNLOCK", b"TABLES"): "lock",
    (b"COMMIT", b";"): "lock",
    (b"CREATE", b"VIEW"): "program",  # a stand-in, until the tables behind it are there
    (b"ALTER", b"DATABASE"): "program",  # around a trigger or routine that was made under another character set
    (b"DROP", b"SEQUENCE"): "sequence",
    (b"DO", b"SETVAL"): "sequence",
    (b"SELECT", b"SETVAL"): "sequence",
    **{(b"DROP", kind): "program" for kind in _PROGRAMS},
}
_MORE_THAN_A_SESSION = re.compile(
    rb"\b(?:GLOBAL|PERSIST(?:_ONLY)?|PASSWORD|ROLE|SELECT|LAST_INSERT_ID|RESOURCE)\b", re.IGNORECASE
)
_AUTOCOMMIT = re.compile(rb"\bAUTOCOMMIT\b", re.IGNORECASE)
_KEYS = re.compile(rb"\b(?:DIS|EN)ABLE KEYS\b")


def step_of(piece: Piece) -> Step:
    """`unknown` for whatever the dump programs do not write."""
    if piece.kind in _BY_KIND:
        return _BY_KIND[piece.kind]
    if piece.kind == "session":
        if _AUTOCOMMIT.search(piece.data):
            return "lock"
        return "unknown" if _MORE_THAN_A_SESSION.search(piece.data) else "session"
    if piece.object is not None and piece.object[0] != "table":
        kind = piece.object[0]
        return kind if kind in {"trigger", "sequence"} else "program"
    first, second = (*(word.upper() for word in islice(words(piece.data), 2)), b"", b"")[:2]
    if (first, second) == (b"ALTER", b"TABLE"):
        return "keys" if _KEYS.search(piece.data) else "unknown"
    return _BY_WORDS.get((first, second), "unknown")
