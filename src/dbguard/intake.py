"""A dump on its way in: stored compressed and, if so wished, encrypted; and every plain byte looked at."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard import layout
from dbguard.archive import Blob, Database
from dbguard.checker import Checker
from dbguard.encryption import Keys, Sealer
from dbguard.storages import Writer
from dbguard.stream import Meter, Packer, Unpacker


class Intake:
    """Takes chunks as they come from the container: zstd with `packed`, else plain SQL that is packed here."""

    def __init__(self, out: Writer, *, packed: bool, level: int, keys: Keys | None = None) -> None:
        self.plain = Meter()
        self.stored = _Metered(out)
        self.checker = Checker()
        self._keys = keys
        self._sealer = Sealer(self.stored, keys) if keys is not None else None
        self._out: Writer = self._sealer or self.stored
        self._unpacker = Unpacker() if packed else None
        self._packer = Packer(level)

    def take(self, chunk: bytes) -> None:
        if self._unpacker is None:
            self._look(chunk)
            self._out.write(self._packer.pack(chunk))
            return
        self._out.write(chunk)
        for data in self._unpacker.unpack(chunk):
            self._look(data)

    def finish(self, databases: Sequence[Database]) -> None:
        """Only after the process was proven to end well. Raises IncompleteDump or ArchiveDamaged."""
        if self._unpacker is None:
            self._out.write(self._packer.finish())
        else:
            self._unpacker.finish()
        self.checker.finish(databases)
        if self._sealer is not None:
            self._sealer.finish()

    def close(self) -> None:
        """What was not finished gets no end."""
        if self._sealer is not None:
            self._sealer.close()

    def blob(self) -> Blob:
        return Blob(
            key=layout.data(encrypted=self._keys is not None),
            size=self.stored.size,
            sha256=self.stored.sha256,
            plain_size=self.plain.size,
            plain_sha256=self.plain.sha256,
            recipients=self._keys.names if self._keys is not None else (),
        )

    def _look(self, data: bytes) -> None:
        self.plain.update(data)
        self.checker.feed(data)


class _Metered(Meter):
    """A writer that knows what it has passed on."""

    def __init__(self, out: Writer) -> None:
        super().__init__()
        self._out = out

    def write(self, data: bytes) -> None:
        if data:
            self.update(data)
            self._out.write(data)
