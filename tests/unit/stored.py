"""A storage with archives of real dumps in it, as a backup would leave it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbguard.archive import Archive, Blob, Database
from dbguard.catalog import DATA, Catalog
from dbguard.storages.local import LocalStorage
from dbguard.stream import Packer
from tests.unit.nouns import OWNER, archive

DUMPS = Path(__file__).parent / "dumps"


class Stored:
    """Puts archives into one storage."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "backups"
        self.state = folder / "state"
        self.catalog = Catalog(LocalStorage(self.root), self.state)
        self.catalog.prepare(OWNER)

    def put(self, sql: bytes, *databases: str, number: int = 0, **changes: Any) -> Archive:
        """The dump of these databases, as the archive with this number."""
        packer = Packer(3)
        packed = packer.pack(sql) + packer.finish()
        blob = Blob(
            key=DATA,
            size=len(packed),
            sha256=hashlib.sha256(packed).hexdigest(),
            plain_size=len(sql),
            plain_sha256=hashlib.sha256(sql).hexdigest(),
        )
        saved = tuple(Database(name=name, create=f"CREATE DATABASE {_quoted(name)} /*!40100 */") for name in databases)
        made = replace(archive(number, databases=saved, **changes), blobs={"data": blob})
        with self.catalog.create(made.name, made.id, DATA) as out:
            out.write(packed)
        self.catalog.publish(made)
        return made

    def data(self, made: Archive) -> Path:
        return self.root / made.target / made.id / DATA


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
