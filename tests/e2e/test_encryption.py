"""Archives for the holders of a key: nobody else reads them, and the key is never kept."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tests import compare
from tests.conftest import Dbguard, Result
from tests.servers import PASSWORD, Server
from tests.stack import ROOT, Stack, sidecar_image

pytestmark = pytest.mark.docker
ONE_SERVER = pytest.mark.parametrize("server", ["mariadb118"], indirect=True)

MARKER = f"plain-{secrets.token_hex(12)}"
SHOP = f"""
CREATE DATABASE shop; USE shop;
CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(200));
INSERT INTO item VALUES (1, '{MARKER}'), (2, '{secrets.token_urlsafe(120)}');
CREATE VIEW names AS SELECT name FROM item;
"""
PRIVATE = b"AGE-SECRET-KEY-"


class Key:
    """One pair of keys; the private one is in a file that dbguard is not told of before it is needed."""

    def __init__(self, folder: Path, name: str) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.public = str(identity.to_public())
        self.private = str(identity)
        self.file = folder / name
        self.file.write_text(f"# public key: {self.public}\n{self.private}\n")


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key, Key]:
    """Two that archives are made for, and one of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    return Key(folder, "own"), Key(folder, "spare"), Key(folder, "stranger")


@pytest.fixture(scope="module")
def age() -> str:
    """The original program, to read what dbguard wrote."""
    found = subprocess.run([ROOT / "tests/testbed/age"], capture_output=True, text=True)
    if found.returncode != 0:
        pytest.fail(f"no age command: {found.stderr}")
    return found.stdout.strip()


def everything(folder: Path) -> Iterator[tuple[Path, bytes]]:
    return ((path, path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def holding(folder: Path, text: bytes) -> list[Path]:
    return [path for path, data in everything(folder) if text in data]


def encrypted(dbguard: Dbguard, server: Server, *keys: Key, **more: str) -> Result:
    names = ",".join(key.public for key in keys)
    return dbguard("backup", "now", server.target, environment={"DBGUARD_RECIPIENTS": names, **more}).succeeded()


@pytest.mark.parametrize(("server", "where"), [("mysql97", "client"), ("mariadb118", "container")], indirect=["server"])
def test_each_of_two_keys_brings_it_back(
    server: Server, dbguard: Dbguard, keys: tuple[Key, Key, Key], where: str
) -> None:
    own, spare, _ = keys
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    file = dbguard.folder / "recipients.txt"
    file.write_text(f"# the key in the safe\n{spare.public}\n\n")
    done = encrypted(dbguard, server, own, DBGUARD_RECIPIENTS_FILE=str(file), DBGUARD_COMPRESSION=where)
    assert dbguard.manifest()["blobs"]["data"]["recipients"] == [own.public, spare.public]
    [archive] = dbguard.archives()
    assert sorted(path.name for path in archive.iterdir()) == [
        "accounts.sql.zst.age",
        "data.sql.zst.age",
        "manifest.json",
    ]
    assert (archive / "data.sql.zst.age").read_bytes().startswith(b"age-encryption.org/v1\n")
    assert "encrypted" in dbguard("list").succeeded().out
    assert holding(dbguard.storage, MARKER.encode()) == []

    for key in (own, spare):
        server.empty()
        back = dbguard("restore", server.target, "--latest", "--yes", "--identity", str(key.file)).succeeded()
        assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []
        assert PRIVATE.decode() not in done.err + done.out + back.err + back.out
    assert MARKER in dbguard("cat", archive.name, f"--identity={own.file}").succeeded().out
    assert MARKER in dbguard("cat", archive.name, environment={"DBGUARD_IDENTITY_FILE": str(own.file)}).succeeded().out
    assert holding(dbguard.folder, PRIVATE) == []
    assert holding(dbguard.folder, own.private.encode()[len(PRIVATE) :]) == []
    assert holding(dbguard.folder, MARKER.encode()) == []


@ONE_SERVER
def test_recipients_in_a_file_alone(server: Server, dbguard: Dbguard, keys: tuple[Key, Key, Key]) -> None:
    server.sql(SHOP)
    file = dbguard.folder / "recipients.txt"
    file.write_text(keys[0].public)
    encrypted(dbguard, server, DBGUARD_RECIPIENTS_FILE=str(file))
    assert dbguard.manifest()["blobs"]["data"]["recipients"] == [keys[0].public]
    for text in ("", "# nobody\n", keys[0].private, "age1nonsense"):
        file.write_text(text)
        done = dbguard("backup", "now", server.target, environment={"DBGUARD_RECIPIENTS_FILE": str(file)})
        assert (done.code, "recipients" in done.err) == (78, True), done.err
        assert PRIVATE.decode() not in done.err, "a private key given by mistake is printed"
    assert len(dbguard.archives()) == 1, "what was to be encrypted was stored in plain"


@ONE_SERVER
def test_without_the_key_nothing_is_touched(server: Server, dbguard: Dbguard, keys: tuple[Key, Key, Key]) -> None:
    own, _, stranger = keys
    server.sql(SHOP)
    encrypted(dbguard, server, own)
    server.sql("INSERT INTO shop.item VALUES (3, 'newer')")
    before = compare.snapshot(server.container, PASSWORD)
    [archive] = dbguard.archives()
    for words in ((), ("--identity", str(stranger.file))):
        done = dbguard("restore", server.target, "--latest", "--yes", "--replace", *words)
        assert (done.code, own.public in done.err) == (1, True), done.err
        assert words or "--identity" in done.err
        shown = dbguard("cat", archive.name, *words)
        assert (shown.code, shown.out, own.public in shown.err) == (1, "", True), shown.err
        assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []

    missing = dbguard("restore", server.target, "--latest", "--yes", "--replace", "--identity", "nowhere")
    assert (missing.code, "nowhere" in missing.err) == (78, True), missing.err
    data = archive / "data.sql.zst.age"
    data.chmod(0o600)
    whole = data.read_bytes()
    data.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    right = ("--id", archive.name, "--identity", str(own.file))
    damaged = dbguard("restore", server.target, *right, "--yes", "--replace")
    assert (damaged.code, archive.name in damaged.err) == (4, True), damaged.err
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []


@ONE_SERVER
@pytest.mark.parametrize("where", ["container", "client"])
def test_age_and_zstd_are_enough(
    server: Server, dbguard: Dbguard, keys: tuple[Key, Key, Key], age: str, where: str
) -> None:
    """`age -d -i KEY | zstd -dc | mariadb`, on the day when there is no dbguard."""
    server.sql(SHOP)
    before = compare.snapshot(server.container, PASSWORD)
    encrypted(dbguard, server, *keys[:2], DBGUARD_COMPRESSION=where)
    [archive] = dbguard.archives()
    server.empty()
    own, spare = (
        subprocess.run([age, "-d", "-i", key.file, archive / "data.sql.zst.age"], capture_output=True)
        for key in keys[:2]
    )
    assert (own.returncode, spare.returncode, own.stdout) == (0, 0, spare.stdout), own.stderr + spare.stderr
    server.run("sh", "-c", "zstd -dc | mariadb -uroot", stdin=own.stdout)
    assert compare.differences(before, compare.snapshot(server.container, PASSWORD)) == []
    refused = subprocess.run([age, "-d", "-i", keys[2].file, archive / "data.sql.zst.age"], capture_output=True)
    assert (refused.returncode, refused.stdout) == (1, b"")


@pytest.fixture
def stack(tmp_path: Path, keys: tuple[Key, Key, Key]) -> Iterator[Stack]:
    """One whose sidecar knows the public keys."""
    text = (ROOT / "examples/demo/compose.yaml").read_text()
    anchor = '      DBGUARD_KEEP_LAST: "7"\n'
    assert anchor in text
    names = ",".join(key.public for key in keys[:2])
    labels = 'x-test: &test {dbguard-test: "1"}\n'
    text = labels + text.replace(anchor, f"{anchor}      DBGUARD_RECIPIENTS: {names}\n")
    for service in ("  db:\n", "  backup:\n"):
        text = text.replace(service, f"{service}    labels: *test\n")
    stack = Stack(tmp_path, sidecar_image(), text)
    yield stack
    stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


def test_the_key_reaches_the_sidecar_and_does_not_stay(stack: Stack, keys: tuple[Key, Key, Key]) -> None:
    own, _, stranger = keys
    stack.up_with_data()
    [archive] = stack.stored()
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"
    for words in ((), ("--identity", str(stranger.file))):
        refused = stack.dbguard("restore", "db", "--latest", "--yes", "--replace", *words)
        assert (refused.returncode, own.public in refused.stderr) == (1, True), refused.stderr
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"

    stack.sql("DROP DATABASE shop")
    filters = ["--filter", f"label=com.docker.compose.project={stack.project}"]
    events = subprocess.Popen(
        ["docker", "events", "--since=0s", "--format={{json .}}", *filters],
        env=stack.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        restored = stack.dbguard("restore", "db", "--latest", "--yes", f"--identity={own.file}")
        shown = stack.dbguard("cat", archive, "--identity", str(own.file))
    finally:
        events.terminate()
        said = events.communicate(timeout=30)[0]
    assert restored.returncode == 0, restored.stderr
    assert stack.sql("SELECT COUNT(*) FROM shop.t") == "3\n"
    assert "INSERT INTO `t`" in shown.stdout, shown.stderr

    commands = [json.loads(line)["Action"] for line in said.splitlines()]
    assert any("exec_create" in action and "/dev/fd/3" in action for action in commands), commands
    secret = own.private.removeprefix(PRIVATE.decode())
    containers = stack.compose("ps", "--all", "--quiet").split()
    inspected = stack.here("docker", "inspect", *containers).stdout
    logs = stack.compose("logs", "--no-color")
    for text in (said, inspected, logs, restored.stderr, restored.stdout, shown.stderr, shown.stdout):
        assert secret not in text
    assert holding(stack.folder, secret.encode()) == []
    look = 'grep -rlFs --exclude-dir=proc --exclude-dir=sys -e "$0" / && exit 1; exit 0'
    for service in ("db", "backup"):
        assert stack.compose("exec", "-T", service, "sh", "-c", look, secret) == ""

    findings: dict[str, Any] = json.loads(stack.dbguard("doctor", "--json").stdout)
    about = {one["about"]: (one["state"], one["text"]) for one in findings["findings"]}
    assert about["encryption"] == ("ok", "each of 2 keys opens the archives")
