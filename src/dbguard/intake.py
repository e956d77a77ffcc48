"""A dump on its way in: stored compressed, and every plain byte looked at."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.archive import Blob, Database
from dbguard.checker import Checker
from dbguard.storages import Writer
from dbguard.stream import Meter, Packer, Unpacker


class Intake:
    """Takes chunks as they come from the container: zstd with `packed`, else plain SQL that is packed here."""

    def __init__(self, out: Writer, *, packed: bool, level: int) -> None:
        self.plain = Meter()
        self.stored = Meter()
        self.checker = Checker()
        self._out = out
        self._unpacker = Unpacker() if packed else None
        self._packer = Packer(level)

    def take(self, chunk: bytes) -> None:
        if self._unpacker is None:
            self._look(chunk)
            self._store(self._packer.pack(chunk))
            return
        self._store(chunk)
        for data in self._unpacker.unpack(chunk):
            self._look(data)

    def finish(self, databases: Sequence[Database]) -> None:
        """Only after the process was proven to end well. Raises IncompleteDump or ArchiveDamaged."""
        if self._unpacker is None:
            self._store(self._packer.finish())
        else:
            self._unpacker.finish()
        self.checker.finish(databases)

    def blob(self, key: str) -> Blob:
        return Blob(
            key=key,
            size=self.stored.size,
            sha256=self.stored.sha256,
            plain_size=self.plain.size,
            plain_sha256=self.plain.sha256,
        )

    def _look(self, data: bytes) -> None:
        self.plain.update(data)
        self.checker.feed(data)

    def _store(self, data: bytes) -> None:
        if data:
            self.stored.update(data)
            self._out.write(data)
