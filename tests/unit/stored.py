"""A storage with archives of real dumps in it, as a backup would leave it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbguard import layout
from dbguard.archive import Archive, Blob, Database
from dbguard.catalog import Catalog
from dbguard.storages.local import LocalStorage
from dbguard.stream import Packer
from tests.unit.nouns import OWNER, archive

DUMPS = Path(__file__).parent / "dumps"
DATA = layout.data(encrypted=False)


class Stored:
    """Puts archives into one storage."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "backups"
        self.state = folder / "state"
        self.catalog = Catalog(LocalStorage(self.root), self.state)
        self.catalog.prepare(OWNER)

    def put(self, sql: bytes, *databases: str, number: int = 0, **changes: Any) -> Archive:
        """The dump of these databases, as the archive with this number."""
        data, blob = packed(sql)
        saved = tuple(Database(name=name, create=f"CREATE DATABASE {_quoted(name)} /*!40100 */") for name in databases)
        made = replace(archive(number, databases=saved, **changes), blobs={"data": blob})
        with self.catalog.create(made.name, made.id, DATA) as out:
            out.write(data)
        self.catalog.publish(made)
        return made

    def data(self, made: Archive) -> Path:
        return self.root / made.target / made.id / DATA


def packed(sql: bytes) -> tuple[bytes, Blob]:
    """What is stored of this text, and what the manifest says of it."""
    packer = Packer(3)
    data = packer.pack(sql) + packer.finish()
    return data, Blob(
        key=DATA,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        plain_size=len(sql),
        plain_sha256=hashlib.sha256(sql).hexdigest(),
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
