"""Secondary indexes of a CREATE TABLE: taken out, to be added when the rows are there.

An index that is built at once from all rows is sorted and written page by page; one that grows with each row is
searched and split for every one of them.
"""

from __future__ import annotations

import re

from dbguard.create_table import items
from dbguard.sqldump import IDENT

_AUTO = re.compile(rb"(" + IDENT + rb") .*\bAUTO_INCREMENT\b", re.DOTALL | re.IGNORECASE)
_REFERENCES = re.compile(rb"\bREFERENCES (?:" + IDENT + rb"\.)?(" + IDENT + rb")")


def without_indexes(create: bytes) -> tuple[bytes, list[bytes]] | None:
    """The statement without its plain indexes, and their definitions; None where it has none, or any doubt: it is taken
    apart only as a server's own SHOW CREATE TABLE has it, with nothing in it but columns and usual keys."""
    body = None if b"\\" in create else items(create)
    if body is None or b"ENGINE=InnoDB" not in create[body[1] :] or b"SYSTEM VERSIONING" in create[body[1] :]:
        return None
    kept, taken = [], []
    for item in body[2]:
        first = item.lstrip()
        if first.startswith(b"KEY "):
            taken.append(first.rstrip())
        elif first.startswith((b"`", b"PRIMARY KEY ", b"UNIQUE KEY ")):
            kept.append(item)
        else:
            return None
    if not taken or not all(_covered(column.group(1), kept) for item in kept if (column := _AUTO.match(item.lstrip()))):
        return None
    return create[: body[0]] + b",".join(kept) + b"\n" + create[body[1] :], taken


def referenced(create: bytes) -> list[bytes]:
    """Tables that its foreign keys name, quoted as they are, whatever their database."""
    return _REFERENCES.findall(create) if b"REFERENCES" in create else []


def _covered(column: bytes, items: list[bytes]) -> bool:
    """A column that counts for itself needs to be the first of some index, always."""
    return any(item.lstrip().startswith(b"PRIMARY KEY (" + column) for item in items)
