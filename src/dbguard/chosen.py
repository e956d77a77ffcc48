"""Which tables of an archive are meant, and what each is to be called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dbguard.archive import Archive, Database, Table
from dbguard.errors import NotFound, UsageError

_NAME = r"(?:`((?:[^`]|``)+)`|([^.:`]+))"
_WANTED = re.compile(rf"{_NAME}\.{_NAME}(?::(?:{_NAME}\.)?{_NAME})?")
_HINT = "write DATABASE.TABLE or DATABASE.TABLE:NEWDATABASE.NEWTABLE; a name with a dot or a colon in it as `a.b`"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTable:
    """One table of an archive, and where it goes."""

    database: Database
    table: Table
    to: tuple[str, str]

    @property
    def saved(self) -> tuple[str, str]:
        return self.database.name, self.table.name

    @property
    def copy(self) -> bool:
        """Under another name than it was saved with."""
        return self.to != self.saved

    def __str__(self) -> str:
        return f"{'.'.join(self.saved)} -> {'.'.join(self.to)}" if self.copy else ".".join(self.saved)


def named(text: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """`shop.orders` or `shop.orders:shop.orders_old`: what is meant, and where it goes. Raises UsageError."""
    match = _WANTED.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no table", hint=_HINT)
    parts = match.groups()
    names = [
        (quoted.replace("``", "`") if quoted else plain) for quoted, plain in zip(parts[::2], parts[1::2], strict=True)
    ]
    database, table, new_database, new_table = names
    return (database, table), (new_database or database, new_table or table)


def chosen(archive: Archive, texts: Sequence[str]) -> tuple[ChosenTable, ...]:
    """Raises UsageError, and NotFound for what the archive does not hold."""
    found = tuple(_one(archive, *named(text)) for text in texts)
    for names in ([one.saved for one in found], [one.to for one in found]):
        if twice := next(_repeated(names), None):
            raise UsageError(f"{'.'.join(twice)} is named twice")
    return found


def _one(archive: Archive, saved: tuple[str, str], to: tuple[str, str]) -> ChosenTable:
    database = next((one for one in archive.databases if one.name == saved[0]), None)
    if database is None:
        raise NotFound(f"{archive.id} holds no database {saved[0]}")
    table = next((one for one in database.tables if one.name == saved[1]), None)
    if table is None:
        kind = next((kind for kind, name in sorted(database.named()) if name == saved[1]), None)
        other = f": {saved[1]} is a {kind}" if kind else ""
        raise NotFound(f"{archive.id} holds no table {'.'.join(saved)}{other}")
    return ChosenTable(database=database, table=table, to=to)


def _repeated(names: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return (name for at, name in enumerate(names) if name in names[:at])
