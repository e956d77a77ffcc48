"""What is encrypted comes back whole, or an error says why not; and nothing ever hangs."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dbguard.backup import Outcome
from dbguard.encryption import Keys, Sealer, identities, opened, recipients
from dbguard.errors import ArchiveDamaged, ConfigError, NoKey, StorageError
from dbguard.intake import Intake
from dbguard.stream import unpacked
from tests.unit.dump_texts import chunked
from tests.unit.nouns import archive
from tests.unit.stored import DUMPS

BLOCK = 64 << 10
"""What age encrypts at once."""
ME = pyrage.x25519.Identity.generate()
OTHER = pyrage.x25519.Identity.generate()
PUBLIC = str(ME.to_public())
PLAIN = Random(1).randbytes(40 * BLOCK)


def keys_of(*texts: str) -> Keys:
    found = recipients(texts, None)
    assert found is not None
    return found


KEYS = keys_of(PUBLIC)


class Store:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


def in_time(act: Callable[[], None]) -> None:
    """What hangs is a failure, and not the end of the test run."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 — raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it hangs"
    for error in errors:
        raise error


def no_thread_is_left() -> bool:
    return not [thread.name for thread in threading.enumerate() if thread.name in {"encrypt", "decrypt"}]


def sealed(plain: bytes, keys: Keys = KEYS, sizes: Sequence[int] = (100_000,)) -> bytes:
    store = Store()
    with closing(Sealer(store, keys)) as sealer:
        for chunk in chunked(plain, [*sizes]):
            sealer.write(chunk)
        sealer.finish()
    return store.data


def read(data: bytes, *keys: Any, sizes: Sequence[int] = (100_000,)) -> bytes:
    return b"".join(opened(chunked(data, [*sizes]), keys or (ME,), made_for=KEYS.names))


SEALED = sealed(PLAIN[: 3 * BLOCK + 100])

lengths = st.integers(0, 300) | st.builds(
    lambda blocks, more: max(0, blocks * BLOCK + more), st.integers(0, 9), st.integers(-2, 2)
)
chunk_sizes = st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=3)


# --- there and back ---


@settings(max_examples=50)
@given(lengths, chunk_sizes, chunk_sizes)
def test_anything_comes_back_as_it_was(length: int, written: list[int], seen: list[int]) -> None:
    data = sealed(PLAIN[:length], sizes=[size + 200 for size in written])
    assert read(data, sizes=[size + 200 for size in seen]) == PLAIN[:length]
    assert no_thread_is_left()


def test_it_is_age_as_others_read_it() -> None:
    assert SEALED.startswith(b"age-encryption.org/v1\n")
    assert pyrage.decrypt(SEALED, [ME]) == PLAIN[: 3 * BLOCK + 100]
    assert read(pyrage.encrypt(b"from elsewhere", [ME.to_public()])) == b"from elsewhere"


def test_nothing_of_the_text_can_be_seen() -> None:
    assert b"hunter2" not in sealed(b"the password is hunter2 " * 100)


def test_a_dump_is_compressed_and_then_encrypted() -> None:
    sql = (DUMPS / "mysql97.sql").read_bytes()
    store = Store()
    intake = Intake(store, packed=False, level=3, keys=KEYS)
    intake.take(sql)
    intake.finish(())
    intake.close()
    blob = intake.blob("data.sql.zst.age")
    assert (blob.key, blob.recipients) == ("data.sql.zst.age", (PUBLIC,))
    assert (blob.size, blob.plain_size) == (len(store.data), len(sql))
    assert b"".join(unpacked(opened([store.data], [ME], made_for=blob.recipients))) == sql


# --- damage ---


@settings(max_examples=60)
@given(st.integers(0, len(SEALED) - 1))
def test_cut_anywhere_it_is_damaged(length: int) -> None:
    seen: list[bytes] = []
    with pytest.raises(ArchiveDamaged):
        seen.extend(opened(chunked(SEALED[:length], [50_000]), [ME], made_for=KEYS.names))
    assert PLAIN.startswith(b"".join(seen))


@pytest.mark.parametrize("blocks", range(1, 4))
def test_cut_between_two_blocks_it_is_damaged(blocks: int) -> None:
    header = len(sealed(b"")) - 16
    with pytest.raises(ArchiveDamaged):
        read(SEALED[: header + blocks * (BLOCK + 16)])


@settings(max_examples=60)
@given(st.integers(0, 300) | st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_damage_or_another_key(at: int, bit: int) -> None:
    data = bytearray(SEALED)
    data[at] ^= 1 << bit
    seen: list[bytes] = []
    with pytest.raises((ArchiveDamaged, NoKey)):
        seen.extend(opened([bytes(data)], [ME], made_for=KEYS.names))
    assert PLAIN.startswith(b"".join(seen))
    assert no_thread_is_left()


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
@pytest.mark.parametrize("more", [b"x", b"x" * BLOCK, SEALED], ids=["a byte", "a block", "another archive"])
def test_bytes_after_the_end_are_damage(length: int, more: bytes) -> None:
    with pytest.raises(ArchiveDamaged):
        read(sealed(PLAIN[:length]) + more)


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"age-encryption.org/v1\n" + data))
def test_what_was_never_encrypted_is_damaged(data: bytes) -> None:
    with pytest.raises((ArchiveDamaged, NoKey)):
        read(data)


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 20 * BLOCK])
def test_what_was_stored_is_read_to_its_end(length: int) -> None:
    """There its checksum is looked at."""

    def chunks() -> Iterator[bytes]:
        yield from chunked(sealed(PLAIN[:length]), [10_000])
        raise ArchiveDamaged("not what was stored")

    with pytest.raises(ArchiveDamaged, match="not what was stored"):
        for _ in opened(chunks(), [ME], made_for=KEYS.names):
            pass


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_source_that_fails_says_so_itself(after: int) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [SEALED[at : at + 10_000] for at in range(0, 10_000 * after, 10_000)]
        raise StorageError("the disk is gone")

    with pytest.raises(StorageError, match="the disk is gone"):
        for _ in opened(chunks(), [ME], made_for=KEYS.names):
            pass


@pytest.mark.parametrize("count", [0, 1, 3])
def test_who_stops_reading_leaves_nothing_behind(count: int) -> None:
    def stop() -> None:
        chunks = opened(chunked(sealed(PLAIN), [50_000]), [ME], made_for=KEYS.names)
        assert isinstance(chunks, Iterator)
        for _ in range(count):
            next(chunks)
        chunks.close()  # type: ignore[attr-defined]

    in_time(stop)
    assert no_thread_is_left()


# --- keys ---


def test_without_a_key_it_says_which_one_is_needed() -> None:
    with pytest.raises(NoKey, match=PUBLIC) as caught:
        [*opened([SEALED], [], made_for=[PUBLIC])]
    assert "--identity" in (caught.value.hint or "")


def test_a_wrong_key_opens_nothing_and_is_told() -> None:
    with pytest.raises(NoKey, match=PUBLIC):
        read(SEALED, OTHER)
    assert read(SEALED, OTHER, ME) == read(SEALED)


def test_each_of_several_can_read() -> None:
    data = sealed(b"for both", keys_of(PUBLIC, str(OTHER.to_public())))
    assert read(data, ME) == read(data, OTHER) == b"for both"


def test_the_one_time_key_opens_it_and_is_seen_nowhere() -> None:
    keys, once = KEYS.with_one_time_key()
    data = sealed(b"proof", keys)
    assert read(data, once) == read(data, ME) == b"proof"
    assert keys.names == KEYS.names, "nobody is asked for a key that is gone"
    with pytest.raises(NoKey):
        read(sealed(b"another"), once)
    outcome = Outcome(archive=archive(), saved=(), failed={}, identity=once)
    assert str(once).startswith("AGE-SECRET-KEY-")
    for shown in (repr(outcome), str(outcome), repr(keys), str(keys)):
        assert "AGE-SECRET-KEY-" not in shown
        assert str(once) not in shown


def test_every_archive_has_a_one_time_key_of_its_own() -> None:
    assert str(KEYS.with_one_time_key()[1]) != str(KEYS.with_one_time_key()[1])


Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
SSH: dict[str, Private] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def public(key: Private) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize("kind", SSH)
@pytest.mark.parametrize("comment", ["", " somebody@host"])
def test_ssh_keys(tmp_path: Path, kind: str, comment: str) -> None:
    private = SSH[kind].private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "id").write_bytes(private)
    data = sealed(b"for ssh", keys_of(public(SSH[kind]) + comment))
    assert read(data, *identities(tmp_path / "id")) == b"for ssh"
    with pytest.raises(NoKey):
        read(data, ME)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_an_ssh_key_that_wants_a_passphrase_is_refused_with_words(tmp_path: Path) -> None:
    """Nobody is there to type it; and nothing is wrong with the archive."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "id"], check=True)
    data = sealed(b"for ssh", keys_of((tmp_path / "id.pub").read_text().strip()))
    with pytest.raises(ConfigError) as caught:
        read(data, *identities(tmp_path / "id"))
    assert "passphrase" in (caught.value.hint or "")


# --- files of keys ---


def test_a_file_of_recipients(tmp_path: Path) -> None:
    file = tmp_path / "recipients"
    file.write_text(f"# those who may read\n\n  {PUBLIC}  \r\n#{OTHER.to_public()}\n{public(SSH['ed25519'])} me@host\n")
    keys = recipients([PUBLIC], file)
    assert keys is not None
    assert keys.names == (PUBLIC, f"{public(SSH['ed25519'])} me@host"), "each once"
    with pytest.raises(NoKey):
        read(sealed(b"x", keys), OTHER)


def test_a_file_of_identities_as_age_keygen_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(f"# created: 2026-11-23T01:30:00Z\n# public key: {PUBLIC}\n{ME}\n\n{OTHER}\n")
    assert len(identities(file)) == 2
    assert read(SEALED, *identities(file)) == PLAIN[: 3 * BLOCK + 100]


def test_without_any_key_nothing_is_encrypted() -> None:
    assert recipients([], None) is None
    assert identities(None) == ()


@pytest.mark.parametrize("text", ["", "\n", "# nobody\n"])
def test_a_file_of_recipients_that_names_none_is_an_error(tmp_path: Path, text: str) -> None:
    """Whoever set it wants no plain archives."""
    (tmp_path / "recipients").write_text(text)
    with pytest.raises(ConfigError, match="nothing would be encrypted"):
        recipients([PUBLIC][:0], tmp_path / "recipients")


NO_PUBLIC_KEYS = {
    "a word": "x", "cut at once": "age1", "cut": PUBLIC[:-1], "too long": PUBLIC + "x",
    "ssh alone": "ssh-ed25519", "cut ssh": "ssh-ed25519 AAAA", "old ssh": "ssh-dss x",
}  # fmt: skip


@pytest.mark.parametrize("text", NO_PUBLIC_KEYS.values(), ids=NO_PUBLIC_KEYS)
def test_what_is_no_public_key_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="recipients"):
        recipients([text], None)


@pytest.mark.parametrize("lower", [False, True])
def test_a_private_key_in_the_wrong_place_is_not_shown(lower: bool) -> None:
    text = str(ME).lower() if lower else str(ME)
    with pytest.raises(ConfigError) as caught:
        recipients([text], None)
    assert text[16:] not in f"{caught.value} {caught.value.hint}"


NO_PRIVATE_KEYS = {
    "a word": b"x", "cut": b"AGE-SECRET-KEY-1", "too long": str(ME).encode() + b"x", "a public key": PUBLIC.encode(),
    "no text": b"\xff\xfe", "nothing": b"", "a comment": b"# public key: age1\n",
    "no ssh": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
}  # fmt: skip


@pytest.mark.parametrize("text", NO_PRIVATE_KEYS.values(), ids=NO_PRIVATE_KEYS)
def test_a_file_without_a_private_key_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key").write_bytes(text)
    with pytest.raises(ConfigError, match=f"identity {tmp_path / 'key'}") as caught:
        identities(tmp_path / "key")
    assert str(ME) not in str(caught.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipients_file .*missing"):
        recipients([], tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"identity .*missing"):
        identities(tmp_path / "missing")


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyrage", None)
    (tmp_path / "key").write_text(str(ME))
    for act in (lambda: recipients([PUBLIC], None), lambda: identities(tmp_path / "key")):
        with pytest.raises(ConfigError, match="needs the extra `age`") as caught:
            act()
        assert "dbguard[age]" in (caught.value.hint or "")
    assert recipients([], None) is None, "who does not encrypt needs none"
    assert identities(None) == ()


# --- when it is not finished ---


@settings(max_examples=40)
@given(lengths)
def test_what_is_abandoned_gets_no_end(length: int) -> None:
    store = Store()
    sealer = Sealer(store, KEYS)
    for chunk in chunked(PLAIN[:length], [50_000]):
        sealer.write(chunk)
    sealer.close()
    sealer.close()
    assert no_thread_is_left()
    with pytest.raises(ArchiveDamaged):
        read(store.data)


class Full:
    """Takes some bytes and then no more."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room = room
        self.error = error

    def write(self, data: bytes, /) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise self.error


@pytest.mark.parametrize("room", [0, 1, 300, BLOCK, 5 * BLOCK, 30 * BLOCK])
@pytest.mark.parametrize("size", [1000, BLOCK, 40 * BLOCK])
@pytest.mark.parametrize("error", [StorageError("the disk is full"), ValueError("a bug")], ids=repr)
def test_a_writer_that_fails_raises_its_own_error_and_nothing_hangs(room: int, size: int, error: Exception) -> None:
    def write() -> None:
        sealer = Sealer(Full(room, error), KEYS)
        try:
            for chunk in chunked(PLAIN, [size]):
                sealer.write(chunk)
            sealer.finish()
        finally:
            sealer.close()

    with pytest.raises(type(error)) as caught:
        in_time(write)
    assert caught.value is error
    assert no_thread_is_left()


@pytest.mark.parametrize("way", ["encrypt_io", "decrypt_io"])
def test_a_library_that_breaks_down_is_an_error_and_nothing_hangs(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What a panic in Rust becomes is no Exception."""

    class Panic(BaseException):
        pass

    def panic(*_: object) -> None:
        raise Panic("index out of bounds")

    monkeypatch.setattr(pyrage, way, panic)

    def act() -> None:
        if way == "decrypt_io":
            read(SEALED)
        else:
            sealed(PLAIN)

    with pytest.raises(Panic):
        in_time(act)
    assert no_thread_is_left()
