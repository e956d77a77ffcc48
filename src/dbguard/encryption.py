"""Encryption to the public keys of those who may read: age, https://age-encryption.org/v1.

The only module that imports pyrage, an extra. Its calls pull from a reader and push to a writer, so each runs in a
thread of its own between two bounded queues' worth of chunks.

What is encrypted to a public key is not signed: whoever can write to the storage can plant an archive.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from dbguard.errors import ArchiveDamaged, ConfigError, NoKey

_AHEAD = 4
"""Chunks that wait between two threads."""
_COMMENT = "#"


class _Out(Protocol):
    def write(self, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Public keys: as people write them, and as the library takes them."""

    names: tuple[str, ...]
    parsed: tuple[Any, ...]

    def with_one_time_key(self) -> tuple[Keys, Any]:
        """One more recipient, whose identity is nowhere but in the answer: with it, what was stored can be proven
        to open while no private key of the user lies on this machine."""
        identity = _pyrage().x25519.Identity.generate()
        return Keys(names=self.names, parsed=(*self.parsed, identity.to_public())), identity


def recipients(texts: Sequence[str], file: Path | None) -> Keys | None:
    """`age1…` and `ssh-…` keys, those of the file one a line. None when there are none. Raises ConfigError."""
    names = tuple(dict.fromkeys([*texts, *(_lines(file, "recipients_file") if file else ())]))
    if file is not None and not names:
        raise ConfigError(f"recipients_file {file}: it names no key: nothing would be encrypted")
    if not names:
        return None
    return Keys(names=names, parsed=tuple(map(_recipient, names)))


def identities(file: Path | None) -> tuple[Any, ...]:
    """The private keys in a file, as age-keygen or ssh-keygen writes it. Raises ConfigError."""
    if file is None:
        return ()
    age = _pyrage()
    lines = list(_lines(file, "identity"))
    if not lines:
        raise ConfigError(f"identity {file}: it holds no private key")
    try:
        if lines[0].startswith("-----BEGIN"):
            return (age.ssh.Identity.from_buffer("\n".join([*lines, ""]).encode()),)
        return tuple(age.x25519.Identity.from_str(line) for line in lines)
    except age.IdentityError as error:
        raise ConfigError(
            f"identity {file}: it holds no private key that can be read",
            hint="a key with a passphrase cannot be used: nobody is there to type it",
        ) from error


class Sealer:
    """Takes plain bytes, writes encrypted ones to `out`. Its end counts only after `finish`."""

    def __init__(self, out: _Out, keys: Keys) -> None:
        self._out = out
        self._keys = keys
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._rest = b""
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="encrypt", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        if self._error is not None:
            raise self._error
        if data:
            self._chunks.put(data)

    def finish(self) -> None:
        self._end()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Without `finish` before it, what was written never gets an end."""
        self._abandoned = True
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._chunks.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            _pyrage().encrypt_io(_Pulled(self._read), _Pushed(self._pass_on), list(self._keys.parsed))
        except BaseException as error:  # noqa: BLE001 — whatever it is, it is raised again where the bytes come from
            self._error = self._error or error
            while self._chunks.get() is not None:
                pass  # so that nobody waits for room in the queue

    def _read(self, size: int) -> bytes:
        if not self._rest:
            chunk = self._chunks.get()
            if chunk is None:
                self._chunks.put(None)  # the end stays the end
                if self._abandoned:
                    raise EOFError("abandoned")
                return b""
            self._rest = chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _pass_on(self, data: bytes) -> None:
        try:
            self._out.write(data)
        except BaseException as error:
            self._error = error  # the library keeps only its text
            raise


def opened(chunks: Iterable[bytes], keys: Sequence[Any], *, made_for: Sequence[str]) -> Iterator[bytes]:
    """Plain bytes of an encrypted stream. Raises NoKey, ArchiveDamaged, or what `chunks` raises."""
    if not keys:
        raise NoKey(f"it is encrypted for {', '.join(made_for)}", hint="give the private key with --identity FILE")
    plain: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
    source = _Source(chunks)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def push(data: bytes) -> None:
        if stopped.is_set():
            raise EOFError("nobody reads on")
        plain.put(data)

    def run() -> None:
        try:
            _pyrage().decrypt_io(_Pulled(source.read), _Pushed(push), list(keys))
        except BaseException as error:  # noqa: BLE001 — raised again where the bytes go; a panic is no Exception
            errors.append(source.error or error)
        plain.put(None)

    thread = threading.Thread(target=run, name="decrypt", daemon=True)
    thread.start()
    try:
        while (data := plain.get()) is not None:
            yield data
    finally:
        stopped.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):
                plain.get(timeout=0.05)
    for error in errors:
        raise _translated(error, made_for) from error


class _Source:
    """An iterator read like a file; what it raises is kept, for the library passes on its text only."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return b""
        except Exception as error:
            self.error = error
            raise
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class _Pulled:
    """A reader as pyrage wants it."""

    def __init__(self, read: Any) -> None:  # noqa: ANN401
        self._read = read

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._read(size if size > 0 else 1 << 16)
        return data


class _Pushed:
    """A writer as pyrage wants it."""

    def __init__(self, write: Any) -> None:  # noqa: ANN401
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""


def _translated(error: BaseException, made_for: Sequence[str]) -> BaseException:
    if not isinstance(error, (_pyrage().DecryptError, OSError)):
        return error
    if "No matching keys" in str(error):
        return NoKey(f"none of these keys opens it: it is encrypted for {', '.join(made_for)}")
    return ArchiveDamaged(f"the encrypted stream is damaged: {error}")


def _recipient(text: str) -> Any:  # noqa: ANN401 — pyrage has no types
    age = _pyrage()
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ConfigError("recipients: this is a private key, which nobody should see", hint="give the public one")
    try:
        return age.ssh.Recipient.from_str(text) if text.startswith("ssh-") else age.x25519.Recipient.from_str(text)
    except age.RecipientError as error:
        known = text.startswith(("age1", "ssh-"))  # else it may be a private key
        shown = repr(text) if known else "what begins with neither age1 nor ssh-"
        raise ConfigError(f"recipients: {shown} is no public key of age or ssh: {error}") from error


def _lines(file: Path, what: str) -> Iterator[str]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {file}: {getattr(error, 'strerror', None) or error}") from error
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith(_COMMENT):
            yield line


def _pyrage() -> ModuleType:
    try:
        import pyrage
    except ImportError as error:
        raise ConfigError("encryption needs the extra `age`", hint="pipx install 'dbguard[age]'") from error
    module: ModuleType = pyrage
    return module
