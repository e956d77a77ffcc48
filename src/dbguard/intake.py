"""SQL on its way into an archive: stored compressed and, if so wished, encrypted; a dump looked at on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from dbguard.archive import Blob, Database
from dbguard.checker import Checker
from dbguard.encryption import Keys, Sealer
from dbguard.storages import Writer
from dbguard.stream import Meter, Packer, Unpacker


class Intake:
    """Takes chunks as they come from the container: zstd with `packed`, else plain SQL that is packed here."""

    def __init__(self, out: Writer, *, packed: bool, level: int, keys: Keys | None = None) -> None:
        self.plain = Meter()
        self.checker = Checker()
        self._out = _Out(out, keys)
        self._unpacker = Unpacker() if packed else None
        self._packer = Packer(level)

    @property
    def stored(self) -> Meter:
        return self._out.stored

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
        self._out.finish()

    def close(self) -> None:
        """What was not finished gets no end."""
        self._out.close()

    def blob(self, key: str) -> Blob:
        return self._out.blob(key, self.plain)

    def _look(self, data: bytes) -> None:
        self.plain.update(data)
        self.checker.feed(data)


def store(text: str, out: Writer, key: str, *, level: int, keys: Keys | None) -> Blob:
    """A text that is whole already."""
    plain, packer = Meter(), Packer(level)
    plain.update(data := text.encode())
    with contextlib.closing(_Out(out, keys)) as sealed:
        sealed.write(packer.pack(data) + packer.finish())
        sealed.finish()
    return sealed.blob(key, plain)


class _Out:
    """Where packed bytes go: encrypted when there are keys, counted and hashed as they are stored."""

    def __init__(self, out: Writer, keys: Keys | None) -> None:
        self.stored = _Metered(out)
        self._names = keys.names if keys is not None else ()
        self._sealer = Sealer(self.stored, keys) if keys is not None else None
        self.write = (self._sealer or self.stored).write

    def finish(self) -> None:
        if self._sealer is not None:
            self._sealer.finish()

    def close(self) -> None:
        if self._sealer is not None:
            self._sealer.close()

    def blob(self, key: str, plain: Meter) -> Blob:
        return Blob(
            key=key,
            size=self.stored.size,
            sha256=self.stored.sha256,
            plain_size=plain.size,
            plain_sha256=plain.sha256,
            recipients=self._names,
        )


class _Metered(Meter):
    """A writer that knows what it has passed on."""

    def __init__(self, out: Writer) -> None:
        super().__init__()
        self._out = out

    def write(self, data: bytes) -> None:
        if data:
            self.update(data)
            self._out.write(data)
