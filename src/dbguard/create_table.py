"""A CREATE TABLE taken apart, as a server's own SHOW CREATE TABLE writes it."""

from __future__ import annotations

import re
from collections.abc import Callable

from dbguard.errors import RestoreFailed
from dbguard.sqldump import IDENT, unquoted

_SIGN = re.compile(IDENT + rb"|'(?:[^'\\]|\\.|'')*+'|[(),]", re.DOTALL)
_KEY = re.compile(
    rb"\s*(?:CONSTRAINT " + IDENT + rb" )?FOREIGN KEY (?:" + IDENT + rb" )?\((?:" + IDENT + rb"|[, ])+\) REFERENCES "
    rb"(?:(" + IDENT + rb")\.)?(" + IDENT + rb")"
)
_CHECK = re.compile(rb"(\s*)CONSTRAINT " + IDENT + rb" (?=CHECK )")
Place = tuple[str, str]
"""Database and table."""


def items(create: bytes) -> tuple[int, int, list[bytes]] | None:
    """Where the list of columns and keys begins and ends, and its items. None when it does not end."""
    depth = begin = start = 0
    found: list[bytes] = []
    for sign in _SIGN.finditer(create):
        match sign.group():
            case b"(":
                depth += 1
                if depth == 1:
                    begin = start = sign.end()
            case b")":
                depth -= 1
                if depth == 0:
                    return begin, sign.start(), [*found, create[start : sign.start()]]
            case b"," if depth == 1:
                found.append(create[start : sign.start()])
                start = sign.end()
    return None


def pointed(create: bytes, to: Callable[[str | None, str], Place]) -> bytes:
    """With foreign keys that refer to the table that `to` says, given the database, where one is named, and the table.
    Raises RestoreFailed."""
    return _changed(create, lambda item: _pointed(item, to))


def untied(create: bytes) -> bytes:
    """For a copy beside the original: without foreign keys, and without names of checks, which exist once in a
    database. Raises RestoreFailed."""
    return _changed(create, lambda item: None if _KEY.match(item) else _CHECK.sub(rb"\1", item, count=1))


def _changed(create: bytes, change: Callable[[bytes], bytes | None]) -> bytes:
    if b"CONSTRAINT" not in create and b"FOREIGN KEY" not in create:
        return create
    body = items(create)
    if body is None:
        raise RestoreFailed(f"a table's definition is not understood: {create[:60]!r}")
    begin, end, parts = body
    kept = [item for item in map(change, parts) if item is not None]
    if len(kept) < len(parts):
        kept[-1] = kept[-1].rstrip() + b"\n"
    return create[:begin] + b",".join(kept) + create[end:]


def _pointed(item: bytes, to: Callable[[str | None, str], Place]) -> bytes:
    match = _KEY.match(item)
    if match is None:
        return item
    database = unquoted(match[1]) if match[1] else None
    target = b".".join(map(_quoted, to(database, unquoted(match[2]))))
    return item[: match.start(1) if match[1] else match.start(2)] + target + item[match.end() :]


def _quoted(name: str) -> bytes:
    return b"`" + name.encode("utf-8", "surrogateescape").replace(b"`", b"``") + b"`"
