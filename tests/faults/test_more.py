"""Kills, keys and other hosts, where no database is needed to see what comes of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dbguard.archive import Archive, Blob
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.copies import Round
from dbguard.encryption import Sealer, identities, opened, recipients
from dbguard.errors import AlreadyExists, ArchiveDamaged, NoKey, PruneRefused, StorageUnavailable
from dbguard.mirror import copy
from dbguard.prune import ABANDONED, begun, prune, sweep
from dbguard.storages import Storage
from dbguard.storages.local import LocalStorage
from dbguard.storages.options import BucketOptions
from dbguard.storages.s3 import S3Storage, connect
from dbguard.stream import Meter
from tests.faults.rig import wait_until
from tests.faults.s3_server import BUCKET, MOMENT, Fault, S3Server
from tests.unit.nouns import OWNER, TARGET, archive

pytestmark = pytest.mark.faults

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)
UNFINISHED = f"{TARGET}/20261123T013000Z-000000/data.sql.zst"


class Host:
    """One of several with a storage in common: locks and memory are its own."""

    def __init__(self, folder: Path, storage: Storage) -> None:
        self.settings = Settings(state=folder, storage=(storage.url,), keep_last=2)
        self.catalog = Catalog(storage, folder)
        self.catalog.prepare(OWNER)

    @contextlib.contextmanager
    def backing_up(self, number: int) -> Iterator[Archive]:
        """Inside, its data is stored and its manifest is not."""
        with Round([self.catalog], TARGET, archive(number).id).create("data.sql.zst") as out:
            out.write(b"data")
        meter = Meter()
        meter.update(b"data")
        sizes: dict[str, Any] = {"size": 4, "plain_size": 4}
        blob = Blob(key="data.sql.zst", sha256=meter.sha256, plain_sha256=meter.sha256, **sizes)
        made = archive(number, blobs={"data": blob})
        yield made
        self.catalog.publish(made)

    def back_up(self, *numbers: int) -> None:
        for number in numbers:
            with self.backing_up(number):
                pass

    def prune(self, now: datetime = NOW) -> list[str]:
        return [one.id for one in prune(TARGET, catalog=self.catalog, settings=self.settings, now=now).removed]

    @property
    def listed(self) -> list[str]:
        return [one.id for one in self.catalog.listing(TARGET).archives]

    @property
    def unfinished(self) -> list[str]:
        return [one.id for one in self.catalog.listing(TARGET).unfinished]


def ids(*numbers: int) -> list[str]:
    return [archive(number).id for number in numbers]


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DBGUARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def host(tmp_path: Path, root: Path) -> Host:
    return Host(tmp_path / "one host", LocalStorage(root))


@pytest.fixture
def other(tmp_path: Path, root: Path) -> Host:
    return Host(tmp_path / "other host", LocalStorage(root))


@pytest.fixture
def bucket() -> Iterator[S3Server]:
    with S3Server().running() as server:
        yield server


def of(server: S3Server) -> S3Storage:
    options = BucketOptions(
        endpoint_url=server.endpoint,
        region="us-east-1",
        addressing="path",
        access_key_id="test-only-key",
        secret_access_key="test-only-secret",
    )
    return S3Storage(connect("s3://any", options), BUCKET, "prefix", options)


# --- killed ---


@contextlib.contextmanager
def another_process(script: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), *words])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def killed_when(true: Callable[[], object], script: str, *words: str) -> None:
    with another_process(script, *words) as process:
        wait_until(true, "it writes")
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def nothing_but_a_leftover(catalog: Catalog, began: datetime) -> None:
    """And that goes when it is old enough."""
    listing = catalog.listing(TARGET)
    assert (listing.archives, listing.damaged, listing.unfinished) == ((), (), ())
    assert len(begun(catalog)) == 1
    assert sweep(TARGET, catalog=catalog, now=began + ABANDONED - DAY) == []
    assert len(begun(catalog)) == 1
    assert len(sweep(TARGET, catalog=catalog, now=began + ABANDONED + DAY)) == 1
    assert begun(catalog) == []


@pytest.mark.fault(2)
def test_killed_while_it_writes_into_a_folder(host: Host, root: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from dbguard.storages.local import LocalStorage
        with LocalStorage(Path(sys.argv[1])).create(sys.argv[2]) as out:
            out.write(b"x" * 1000)
            time.sleep(60)
        """
    killed_when(lambda: any(path.stat().st_size for path in root.rglob(".tmp-*")), script, str(root), UNFINISHED)
    nothing_but_a_leftover(host.catalog, datetime.now(UTC))


@pytest.mark.fault(3)
def test_killed_while_it_uploads(tmp_path: Path, bucket: S3Server) -> None:
    script = f"""
        import sys
        from dbguard.storages import s3_upload
        from dbguard.storages.options import BucketOptions
        from dbguard.storages.s3 import S3Storage, connect
        s3_upload._FIRST_PART = 1 << 16
        options = BucketOptions(endpoint_url=sys.argv[1], region="us-east-1", addressing="path",
            access_key_id="test-only-key", secret_access_key="test-only-secret")
        with S3Storage(connect("s3://any", options), "{BUCKET}", "prefix", options).create(sys.argv[2]) as out:
            while True:
                out.write(b"x" * 100_000)
        """
    host = Host(tmp_path, of(bucket))
    killed_when(lambda: bucket.taken > 200_000, script, bucket.endpoint, UNFINISHED)
    assert not [key for key in bucket.objects if UNFINISHED in key]
    nothing_but_a_leftover(host.catalog, datetime.fromisoformat(MOMENT))
    assert not bucket.uploads


@pytest.mark.fault(6)
def test_killed_in_a_prune_after_a_manifest(host: Host, root: Path) -> None:
    host.back_up(1, 2, 3)
    script = f"""
        import sys
        from datetime import datetime
        from pathlib import Path
        from dbguard.catalog import Catalog
        from dbguard.config import Settings
        from dbguard.model import TargetName
        from dbguard.prune import prune
        from dbguard.storages.local import LocalStorage
        from tests.faults import staged
        staged.STAGES["after-deleting"]("KILL")
        settings = Settings(state=Path(sys.argv[2]), keep_last=2)
        catalog = Catalog(LocalStorage(Path(sys.argv[1])), settings.state)
        now = datetime.fromisoformat("{NOW.isoformat()}")
        prune(TargetName.parse("{TARGET}"), catalog=catalog, settings=settings, now=now)
        """
    with another_process(script, str(root), str(host.settings.state)) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert host.listed == ids(3, 2)
    assert host.unfinished == ids(1)
    assert host.prune() == [], "the lock is free, and unfinished data fills no place"
    assert sweep(TARGET, catalog=host.catalog, now=datetime.now(UTC) + ABANDONED + DAY)
    assert (host.listed, host.unfinished) == (ids(3, 2), [])
    assert not (root / UNFINISHED).exists()


# --- no right to delete ---


@pytest.mark.fault(32)
def test_a_store_that_deletes_nothing(tmp_path: Path, bucket: S3Server) -> None:
    host = Host(tmp_path, of(bucket))
    bucket.fault(Fault(operation="delete", status=403, code="AccessDenied"))
    host.back_up(1, 2, 3)
    done = prune(TARGET, catalog=host.catalog, settings=host.settings, now=NOW)
    assert done.removed == ()
    assert {name: type(why) for name, why in done.stuck.items()} == {ids(1)[0]: StorageUnavailable}
    assert "AccessDenied" in str(done.stuck[ids(1)[0]])
    assert host.listed == ids(3, 2, 1)
    assert host.catalog.listing(TARGET).damaged == ()
    bucket.heal()
    assert host.prune() == ids(1)


# --- keys ---


@pytest.mark.fault(35)
def test_a_key_that_opens_nothing_gives_nothing_out(tmp_path: Path) -> None:
    age = pytest.importorskip("pyrage")
    own, wrong = age.x25519.Identity.generate(), age.x25519.Identity.generate()
    made_for = str(own.to_public())
    keys = recipients([made_for], None)
    assert keys is not None
    stored = _Kept()
    sealer = Sealer(stored, keys)
    sealer.write(b"SELECT 1;\n" * 10_000)
    sealer.finish()
    for mine in ((), (wrong,)):
        with pytest.raises(NoKey, match=made_for):
            next(opened([stored.data], mine, made_for=keys.names))
    file = tmp_path / "identity"
    file.write_text(str(own))
    assert b"".join(opened([stored.data], identities(file), made_for=keys.names)) == b"SELECT 1;\n" * 10_000
    with pytest.raises(ArchiveDamaged):
        [*opened([stored.data[:-1]], identities(file), made_for=keys.names)]


class _Kept:
    data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


# --- another host ---


@pytest.mark.fault(38)
def test_a_prune_while_another_host_backs_up(host: Host, other: Host, root: Path) -> None:
    """Before its data is stored, and between data and manifest."""
    host.back_up(1, 2, 3)
    began = datetime.now(UTC)
    with other.catalog.create(TARGET, archive(8).id, "data.sql.zst") as out:
        out.write(b"half")
        assert host.prune() == ids(1)
        assert sweep(TARGET, catalog=host.catalog, now=began + ABANDONED - DAY) == []
        out.write(b"the rest")
    with other.backing_up(9):
        assert host.prune() == []
        assert sweep(TARGET, catalog=host.catalog, now=began + ABANDONED - DAY) == []
        assert host.listed == ids(3, 2)
    assert host.listed == other.listed == ids(9, 3, 2)
    assert host.unfinished == ids(8)
    assert (root / str(TARGET) / ids(8)[0] / "data.sql.zst").read_bytes() == b"halfthe rest"


class _Meanwhile(LocalStorage):
    """Calls `meanwhile` just before the delete with this number."""

    def __init__(self, root: Path, number: int) -> None:
        super().__init__(root)
        self.number = number
        self.meanwhile: Callable[[], object] = lambda: None

    def delete(self, key: str) -> None:
        self.number -= 1
        if self.number == 0:
            self.meanwhile()
        super().delete(key)


@pytest.mark.fault(39)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_two_hosts_prune_at_once(host: Host, tmp_path: Path, root: Path, number: int) -> None:
    """At each step of the one, the other does all of its work."""
    host.back_up(1, 2, 3, 4)
    storage = _Meanwhile(root, number)
    slow = Host(tmp_path / "slow host", storage)
    storage.meanwhile = host.prune
    assert slow.prune() == ids(1, 2)
    assert host.listed == ids(4, 3)
    assert host.unfinished == []
    assert (host.prune(), slow.prune()) == ([], [])


@pytest.mark.fault(37)
def test_two_hosts_make_the_same_copy(host: Host, tmp_path: Path) -> None:
    """Whatever the slower one does, what the quicker one has stored comes to be, or stays, a whole archive."""
    host.back_up(1)
    (stored,) = host.catalog.listing(TARGET).archives
    far = Host(tmp_path / "one host", LocalStorage(tmp_path / "far"))
    with far.catalog.create(TARGET, stored.id, "data.sql.zst") as out:
        out.write(b"data")
    with contextlib.suppress(AlreadyExists):
        copy(stored, host.catalog, far.catalog, NOW)
    with contextlib.suppress(AlreadyExists):
        far.catalog.publish(host.catalog.archive(stored.summary))
    assert far.listed == ids(1)
    with pytest.raises(AlreadyExists):
        copy(stored, host.catalog, far.catalog, NOW)
    assert far.listed == ids(1)
    assert far.catalog.listing(TARGET).damaged == ()


# --- clocks ---


@pytest.mark.fault(40)
def test_nothing_is_pruned_when_an_archive_is_from_the_future(host: Host) -> None:
    host.back_up(1, 2, 3)
    with pytest.raises(PruneRefused, match="future"):
        host.prune(now=archive(3).snapshot - timedelta(hours=1))
    assert host.listed == ids(3, 2, 1)
    assert host.prune(now=archive(3).snapshot + 365 * DAY) == ids(1), (
        "a clock ahead removes no more than one that is not"
    )
