"""A bucket whose store fails, is slow, loses its answers or lies: only what is whole is published, nothing is left."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from botocore.retries import standard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbguard.errors import AlreadyExists, DbguardError, NotFound, StorageError, StorageUnavailable
from dbguard.storages import s3, s3_upload
from dbguard.storages.options import BucketOptions
from dbguard.storages.s3 import S3Storage
from dbguard.storages.s3_upload import Upload
from tests.faults.s3_server import BUCKET, Fault, S3Server, Stored

pytestmark = pytest.mark.faults

MIB = 1 << 20
PART = 64 << 10
KEY = "shop/db/1/data"
FULL = f"some/prefix/{KEY}"
SMALL = random.Random(1).randbytes(1000)
LARGE = random.Random(2).randbytes(5 * PART + 7)
BOTH = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["one PUT", "parts"])


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """No pauses, small parts; as many attempts as ever, also after many failures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard.ExponentialBackoff, "delay_amount", lambda _self, _context: 0.001)
        patch.setattr(standard.RetryQuotaChecker, "acquire_retry_quota", lambda _self, _context: True)
        patch.setattr(s3_upload, "_FIRST_PART", PART)
        patch.setattr(s3_upload, "_LOOK_SECONDS", 0.001)
        yield


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[S3Server, S3Storage]]:
    """Making a client takes longer than most tests."""
    with S3Server().running() as server:
        yield server, connected(server)


@pytest.fixture
def server(shared: tuple[S3Server, S3Storage]) -> S3Server:
    shared[0].reset()
    return shared[0]


@pytest.fixture
def storage(server: S3Server, shared: tuple[S3Server, S3Storage]) -> S3Storage:
    return shared[1]


@pytest.fixture
def stuck() -> Iterator[S3Server]:
    """One of its own, for a test that leaves requests behind that hang."""
    with S3Server().running() as server:
        yield server


def connected(
    server: S3Server, endpoint: str | None = None, *, checks: bool = False, ca: Path | None = None
) -> S3Storage:
    options = BucketOptions(
        endpoint_url=endpoint or server.endpoint,
        region="us-east-1",
        addressing="path",
        access_key_id="test-only-key",
        secret_access_key="test-only-secret",
        checksums="always" if checks else "auto",
        ca_bundle=str(ca) if ca else None,
    )
    return S3Storage(s3.connect("s3://any", options), BUCKET, "some/prefix", options)


def put(storage: S3Storage, data: bytes) -> None:
    with storage.create(KEY) as out:
        for at in range(0, len(data), 100_000):
            out.write(data[at : at + 100_000])


def get(storage: S3Storage, size: int = 10_000) -> bytes:
    with storage.open(KEY) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


def is_there(server: S3Server, data: bytes) -> None:
    assert {key: digest(stored.data) for key, stored in server.objects.items()} == {FULL: digest(data)}
    assert not server.uploads


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def nothing_is_left(server: S3Server) -> None:
    assert not server.objects
    assert not server.uploads


def failure(storage: S3Storage, data: bytes = LARGE) -> StorageError:
    """Of a write, which must be a StorageError: whoever writes expects no other."""
    with pytest.raises(StorageError) as caught:
        put(storage, data)
    assert "test-only-secret" not in f"{caught.value} {caught.value.hint}"
    return caught.value


# --- errors of the store ---

ANSWERS = [(500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (503, "ServiceUnavailable")]
WRITES = ["head", "put", "start", "part", "complete"]


def of(operation: str) -> bytes:
    return SMALL if operation == "put" else LARGE


@pytest.mark.fault(25)
@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(("status", "code"), ANSWERS)
def test_an_error_that_passes_is_not_noticed(
    server: S3Server, storage: S3Storage, operation: str, status: int, code: str
) -> None:
    server.fault(Fault(operation=operation, times=3, status=status, code=code))
    put(storage, of(operation))
    is_there(server, of(operation))
    assert not server.uploads


@pytest.mark.fault(25)
@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize(("status", "code"), ANSWERS)
def test_an_error_that_stays_leaves_nothing(
    server: S3Server, storage: S3Storage, operation: str, status: int, code: str
) -> None:
    server.fault(Fault(operation=operation, status=status, code=code))
    error = failure(storage, of(operation))
    assert isinstance(error, StorageUnavailable)
    nothing_is_left(server)
    server.heal()
    put(storage, SMALL)
    is_there(server, SMALL)


def test_how_often_a_request_is_tried(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="list", status=500, code="InternalError"))
    with pytest.raises(StorageUnavailable):
        [*storage.list()]
    assert server.count("list") == s3._ATTEMPTS


@pytest.mark.fault(25)
def test_an_error_in_an_answer_that_says_200(server: S3Server, storage: S3Storage) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""
    body = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"
    server.fault(Fault(operation="complete", times=2, status=200, body=body))
    put(storage, LARGE)
    is_there(server, LARGE)


@pytest.mark.fault(25)
def test_an_error_in_an_answer_that_says_200_for_ever(server: S3Server, storage: S3Storage) -> None:
    body = b"<Error><Code>InternalError</Code><Message>try again</Message></Error>"
    server.fault(Fault(operation="complete", status=200, body=body))
    assert isinstance(failure(storage), StorageUnavailable)
    nothing_is_left(server)


REFUSALS = {
    (400, "ExpiredToken"): "expired",
    (403, "AccessDenied"): "permissions",
    (403, "InvalidAccessKeyId"): "access key",
    (403, "SignatureDoesNotMatch"): "secret key",
    (403, "RequestTimeTooSkewed"): "clock",
    (404, "NoSuchBucket"): "create the bucket",
}


@pytest.mark.fault(29)
@pytest.mark.parametrize("operation", ["put", "start", "part", "complete"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_says_what_to_do(
    server: S3Server, storage: S3Storage, operation: str, refusal: tuple[int, str]
) -> None:
    """Also when it comes in the middle: credentials expire, clocks are set, buckets are removed."""
    status, code = refusal
    server.fault(Fault(operation=operation, skip=2 if operation == "part" else 0, status=status, code=code))
    error = failure(storage, of(operation))
    assert isinstance(error, StorageUnavailable)
    assert code in str(error)
    assert REFUSALS[refusal] in str(error.hint)
    nothing_is_left(server)


@pytest.mark.fault(29)
@pytest.mark.parametrize(("status", "word"), [(400, "expired"), (403, "clock")])
def test_a_refusal_without_a_reason(server: S3Server, storage: S3Storage, status: int, word: str) -> None:
    """The answer to a HEAD has no body, so nobody can know."""
    server.fault(Fault(operation="head", status=status, code="whatever"))
    error = failure(storage)
    assert isinstance(error, StorageUnavailable)
    assert word in str(error.hint)
    nothing_is_left(server)


@pytest.mark.fault(29)
def test_an_account_that_may_no_longer_read_has_its_write(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="head", skip=1, status=403, code="AccessDenied"))
    put(storage, LARGE)
    is_there(server, LARGE)


@pytest.mark.fault(32)
def test_an_account_that_may_not_delete(server: S3Server, storage: S3Storage) -> None:
    put(storage, SMALL)
    server.fault(Fault(operation="delete", status=403, code="AccessDenied"))
    with pytest.raises(StorageUnavailable, match="AccessDenied") as caught:
        storage.delete(KEY)
    assert "permissions" in str(caught.value.hint)
    is_there(server, SMALL)


@pytest.mark.parametrize("operation", ["part", "complete"])
def test_an_upload_that_somebody_else_aborts(server: S3Server, storage: S3Storage, operation: str) -> None:
    server.fault(Fault(operation=operation, meanwhile=server.uploads.clear))
    assert "abort" in str(failure(storage))
    nothing_is_left(server)


def test_an_abort_is_repeated_until_no_part_is_left(server: S3Server, storage: S3Storage) -> None:
    """A part that was on the way may come to rest after it."""
    late = b"<ListPartsResult><Part><PartNumber>1</PartNumber></Part></ListPartsResult>"
    server.fault(Fault(operation="parts", times=2, status=200, body=late))
    server.fault(Fault(operation="abort", times=2, status=200, body=b""))
    server.fault(Fault(operation="complete", status=403, code="AccessDenied"))
    failure(storage)
    nothing_is_left(server)
    assert server.count("abort") == 3


# --- the network ---


@pytest.mark.fault(27, 28)
@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("drop", ["before", "body", "after"])
def test_a_connection_that_breaks_now_and_then(server: S3Server, storage: S3Storage, operation: str, drop: str) -> None:
    """A lost answer among it: the second try meets the object of the first, and it is ours."""
    server.fault(Fault(operation=operation, times=2, drop=drop))
    put(storage, of(operation))
    assert digest(server.objects[FULL].data) == digest(of(operation))
    assert len(server.objects) == 1
    assert [*storage.leftovers()] == [] or (operation, drop) == ("start", "after"), "nobody has heard of its name"


@pytest.mark.fault(27)
def test_a_cut_in_part_3_is_sent_again_from_its_buffer(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="part", skip=2, times=3, drop="body"))
    put(storage, LARGE)
    is_there(server, LARGE)
    assert server.count("part") == 6 + 3


@pytest.mark.fault(27)
@pytest.mark.parametrize("drop", ["before", "body", "after"])
def test_a_network_that_breaks_at_part_3_for_ever(server: S3Server, storage: S3Storage, drop: str) -> None:
    server.fault(Fault(operation="part", skip=2, drop=drop))
    assert isinstance(failure(storage), StorageUnavailable)
    nothing_is_left(server)


@pytest.mark.fault(27)
@BOTH
def test_a_store_that_is_gone_for_good(server: S3Server, storage: S3Storage, data: bytes) -> None:
    operation = "put" if data is SMALL else "complete"
    server.fault(Fault(operation=operation, drop="before", times=1, meanwhile=lambda: down(server)))
    assert isinstance(failure(storage, data), StorageUnavailable)
    assert not server.objects


def down(server: S3Server) -> None:
    server.fault(Fault(operation="any", drop="before"))


@pytest.mark.fault(28)
@BOTH
def test_an_answer_that_is_lost_for_ever_is_a_success(server: S3Server, storage: S3Storage, data: bytes) -> None:
    """The store has it, and says so to who asks."""
    server.fault(Fault(operation="put" if data is SMALL else "complete", drop="after"))
    put(storage, data)
    is_there(server, data)


@pytest.mark.fault(28)
@BOTH
def test_a_lost_answer_and_the_object_of_another(server: S3Server, storage: S3Storage, data: bytes) -> None:
    def other_is_quicker() -> None:
        server.objects[FULL] = Stored(data=data, metadata={"dbguard-write": "of another"})

    operation = "put" if data is SMALL else "complete"
    server.fault(Fault(operation=operation, times=1, drop="after", meanwhile=other_is_quicker))
    assert isinstance(failure(storage, data), AlreadyExists)
    assert server.objects[FULL].metadata == {"dbguard-write": "of another"}
    is_there(server, data)


@pytest.mark.fault(8)
@BOTH
def test_a_stop_after_the_store_has_it_leaves_nothing(
    server: S3Server, storage: S3Storage, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told that nothing was published must not find it there later."""

    class Stop(BaseException):
        pass

    def interrupted(_self: Upload) -> None:
        assert FULL in server.objects
        raise Stop

    monkeypatch.setattr(Upload, "_check", interrupted)
    with pytest.raises(Stop):
        put(storage, data)
    nothing_is_left(server)


@pytest.mark.fault(27)
def test_a_name_that_does_not_resolve(server: S3Server) -> None:
    error = failure(connected(server, "http://store.invalid:9000"))
    assert isinstance(error, StorageUnavailable)
    assert "store.invalid" in str(error)


@pytest.mark.fault(27)
def test_a_port_where_nobody_listens(server: S3Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        lost = connected(server, f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert isinstance(failure(lost), StorageUnavailable)
        with pytest.raises(StorageUnavailable):
            [*lost.list()]


# --- TLS ---


def certificate(folder: Path, *, days: int) -> Path:
    """For 127.0.0.1, signed by itself, from two days ago until so many days from now."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "store.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def over_tls(pem: Path) -> Iterator[S3Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with S3Server(context).running() as server:
        yield server


def test_a_certificate_of_ones_own_authority(tmp_path: Path) -> None:
    pem = certificate(tmp_path, days=1)
    with over_tls(pem) as server:
        put(connected(server, ca=pem), LARGE)
        is_there(server, LARGE)
        assert digest(get(connected(server, ca=pem))) == digest(LARGE)


@pytest.mark.fault(27)
@pytest.mark.parametrize(("days", "trusted", "word"), [(-1, True, "expired"), (1, False, "self-signed")])
def test_a_certificate_that_is_no_good(tmp_path: Path, days: int, trusted: bool, word: str) -> None:
    pem = certificate(tmp_path, days=days)
    with over_tls(pem) as server:
        error = failure(connected(server, ca=pem if trusted else None))
        assert isinstance(error, StorageUnavailable)
        assert word in str(error)
        assert "certificate" in str(error.hint)
        assert not server.requests


@pytest.mark.fault(27)
def test_garbage_in_the_middle_of_a_tls_stream(tmp_path: Path) -> None:
    pem = certificate(tmp_path, days=1)
    with over_tls(pem) as server:
        storage = connected(server, ca=pem)
        put(storage, LARGE)
        server.fault(Fault(operation="get", times=2, cut=100_000, drop="garbage"))
        assert digest(get(storage)) == digest(LARGE)
        assert server.count("get") == 3


# --- slow stores ---


class Feeder(threading.Thread):
    """Writes as fast as it is let, and counts what was taken from it."""

    def __init__(self, storage: S3Storage, total: int) -> None:
        super().__init__()
        self.accepted, self.error = 0, None
        self._storage, self._total = storage, total

    def run(self) -> None:
        with self._storage.create(KEY) as out:
            while self.accepted < self._total:
                out.write(bytes(MIB // 2))
                self.accepted += MIB // 2


def settled(look: Callable[[], int]) -> int:
    """What it shows once it no longer changes."""
    seen = look()
    while True:
        time.sleep(0.3)
        if (now := look()) == seen:
            return now
        seen = now


@pytest.mark.fault(26)
def test_a_store_that_takes_nothing_stalls_the_writer(stuck: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With parts of the real size: what waits in memory is at most 5 of them."""
    monkeypatch.setattr(s3_upload, "_FIRST_PART", 8 * MIB)
    stuck.gate.clear()
    feeder = Feeder(connected(stuck), 96 * MIB)
    feeder.start()
    assert 24 * MIB <= settled(lambda: feeder.accepted) <= 40 * MIB
    assert stuck.taken == 0
    stuck.gate.set()
    feeder.join()
    assert len(stuck.objects[FULL].data) == 96 * MIB


@pytest.mark.fault(26)
def test_a_slow_store_gets_everything(server: S3Server, storage: S3Storage) -> None:
    server.rate = 100_000
    start = time.monotonic()
    put(storage, LARGE)
    assert time.monotonic() - start > 1
    is_there(server, LARGE)


@pytest.mark.fault(26)
@pytest.mark.parametrize("operation", ["head", "start", "part", "complete", "put"])
def test_a_store_that_never_answers_is_given_up(
    stuck: S3Server, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(s3, "_READ_SECONDS", 0.1)
    monkeypatch.setattr(s3, "_ATTEMPTS", 3)
    end = threading.Event()
    stuck.fault(Fault(operation=operation, meanwhile=lambda: end.wait(20), drop="before"))
    start = time.monotonic()
    try:
        assert isinstance(failure(connected(stuck), of(operation)), StorageUnavailable)
    finally:
        end.set()
    assert time.monotonic() - start < 5
    assert not stuck.objects


@pytest.mark.fault(8, 26)
def test_a_stop_does_not_wait_for_a_slow_store(stuck: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts on the way are let go: sending one to its end could take longer than anybody waits."""
    monkeypatch.setattr(s3_upload, "_FIRST_PART", 32 * MIB)
    stuck.rate = 2e6  # 16 seconds
    starts = []

    def write_and_stop() -> None:
        with connected(stuck).create(KEY) as out:
            out.write(bytes(33 * MIB))
            starts.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert time.monotonic() - starts[0] < 8
    nothing_is_left(stuck)


# --- sizes of writes ---


@pytest.mark.fault(24)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5 * PART // 2) | st.sampled_from([PART - 1, PART, PART + 1, 3 * PART]), max_size=12))
def test_any_writes_make_the_same_object(server: S3Server, storage: S3Storage, sizes: list[int]) -> None:
    data = random.Random(3).randbytes(sum(sizes))
    server.objects.clear()
    before, at = server.taken, 0
    with storage.create(KEY) as out:
        for size in sizes:
            out.write(data[at : at + size])
            at += size
            assert at - (server.taken - before) <= 5 * PART, "held"
    is_there(server, data)


# --- stores that know less ---


@pytest.mark.fault(30)
@BOTH
@pytest.mark.parametrize(
    "refusal",
    [(501, "NotImplemented", "A header you provided"), (400, "InvalidArgument", "If-None-Match is not supported")],
    ids=["501", "400"],
)
def test_a_store_that_refuses_conditional_writes(
    server: S3Server, storage: S3Storage, data: bytes, refusal: tuple[int, str, str]
) -> None:
    server.conditions = refusal
    put(storage, data)
    is_there(server, data)
    assert isinstance(failure(storage, data), AlreadyExists)


@pytest.mark.fault(30)
@BOTH
def test_a_store_that_ignores_conditional_writes(server: S3Server, storage: S3Storage, data: bytes) -> None:
    server.conditions = "ignored"
    server.fault(Fault(operation="put" if data is SMALL else "complete", times=1, drop="after"))
    put(storage, data)
    is_there(server, data)
    assert isinstance(failure(storage, data), AlreadyExists)


def test_any_other_400_is_no_reason_to_write_without_a_condition(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="put", status=400, code="InvalidArgument"))
    failure(storage, SMALL)
    assert all("if-none-match" in request.headers for request in server.requests if request.operation == "put")
    nothing_is_left(server)


@pytest.mark.fault(30)
@BOTH
def test_a_store_without_checksums(server: S3Server, data: bytes) -> None:
    server.takes_checksums = False
    put(connected(server), data)
    is_there(server, data)
    assert digest(get(connected(server))) == digest(data)


@BOTH
def test_a_store_without_checksums_that_is_told_to_check(server: S3Server, data: bytes) -> None:
    server.takes_checksums = False
    assert "NotImplemented" in str(failure(connected(server, checks=True), data))
    nothing_is_left(server)


@BOTH
def test_checksums_travel_with_every_byte(server: S3Server, data: bytes) -> None:
    put(connected(server, checks=True), data)
    is_there(server, data)
    sent = [request for request in server.requests if request.operation in {"put", "part"}]
    assert all("x-amz-checksum-crc32" in request.headers for request in sent)


@pytest.mark.fault(30)
def test_a_store_that_cannot_list_uploads_is_named(server: S3Server, storage: S3Storage) -> None:
    """Silence would mean that none is left."""
    server.fault(Fault(operation="uploads", status=501, code="NotImplemented"))
    put(storage, LARGE)
    is_there(server, LARGE)
    with pytest.raises(StorageError, match="cannot do this: NotImplemented") as caught:
        [*storage.leftovers()]
    assert not isinstance(caught.value, StorageUnavailable), "it answers, after all"
    [doubt] = storage.doubts()
    assert "unfinished uploads cannot be listed" in doubt


def test_an_account_that_may_not_list_uploads_is_named(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="uploads", status=403, code="AccessDenied"))
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        [*storage.leftovers()]
    [doubt] = storage.doubts()
    assert "AccessDenied" in doubt


def test_doubts_are_words_even_about_a_store_that_is_down(server: S3Server, storage: S3Storage) -> None:
    down(server)
    assert len([*storage.doubts()]) == 2
    server.heal()
    server.fault(Fault(operation="any", status=200, body=b"<html>hello<br></html>"))
    assert len([*storage.doubts()]) == 2


# --- answers that lie ---


@pytest.mark.fault(31)
@BOTH
@pytest.mark.parametrize("lie", [lambda size: size - 1, lambda size: size + 1, lambda _: 0], ids=["less", "more", "0"])
def test_what_arrived_must_be_what_was_sent(
    server: S3Server, storage: S3Storage, data: bytes, lie: Callable[[int], int]
) -> None:
    server.sizes = lie
    error = failure(storage, data)
    assert f"{len(data)} bytes were sent" in str(error)
    nothing_is_left(server)


@pytest.mark.fault(31)
@BOTH
def test_what_cannot_be_seen_after_the_write_is_no_success(server: S3Server, storage: S3Storage, data: bytes) -> None:
    """And a StorageError: a writer that hears NotFound would look for a mistake of its own."""
    server.fault(Fault(operation="head", skip=1, times=s3_upload._LOOKS, status=404, code="NoSuchKey"))
    assert "does not have it" in str(failure(storage, data))
    nothing_is_left(server)


@BOTH
def test_what_is_seen_a_moment_later_is_there(server: S3Server, storage: S3Storage, data: bytes) -> None:
    server.fault(Fault(operation="head", skip=1, times=s3_upload._LOOKS - 1, status=404, code="NoSuchKey"))
    put(storage, data)
    is_there(server, data)


@pytest.mark.parametrize("page", [b"<html><br>login</html>", b"<html><body>login</body></html>", b"", b"\0\xff"])
def test_a_web_page_is_no_empty_list(server: S3Server, storage: S3Storage, page: bytes) -> None:
    """A console's port, or a hotel's network, answers 200 to everything."""
    put(storage, SMALL)
    server.fault(Fault(operation="any", status=200, body=page))
    for look in (storage.list, storage.folders, storage.leftovers):
        with pytest.raises(StorageUnavailable):
            [*look()]
    with pytest.raises(StorageUnavailable), storage.open(KEY):
        pass


@pytest.mark.parametrize("operation", ["start", "part", "complete", "put"])
@pytest.mark.parametrize("page", [b"<html></html>", b""])
def test_a_web_page_is_no_success(server: S3Server, storage: S3Storage, operation: str, page: bytes) -> None:
    """A proxy in front of the store shows one that says 200."""
    server.fault(Fault(operation=operation, status=200, body=page))
    failure(storage, of(operation))
    nothing_is_left(server)


def test_404_is_no_empty_list_either(server: S3Server, storage: S3Storage) -> None:
    server.fault(Fault(operation="any", status=404, body=b"<html><br>no such page</html>"))
    for look in (storage.list, storage.folders, storage.leftovers):
        with pytest.raises(StorageUnavailable):
            [*look()]


def test_a_list_that_breaks_off_is_no_short_list(server: S3Server, storage: S3Storage) -> None:
    server.page = 2
    server.objects |= {f"some/prefix/{number}": Stored(data=b"x") for number in range(5)}
    assert len([*storage.list()]) == 5
    server.fault(Fault(operation="list", skip=1, cut=100))
    with pytest.raises(StorageUnavailable):
        [*storage.list()]
    server.heal()
    server.fault(Fault(operation="list", skip=1, times=1, cut=100))
    assert len([*storage.list()]) == 5


# --- downloads ---


@pytest.fixture
def filled(server: S3Server, storage: S3Storage) -> S3Server:
    put(storage, LARGE)
    server.requests.clear()
    return server


def ranges(server: S3Server) -> list[str]:
    return [request.headers.get("range", "") for request in server.requests if request.operation == "get"]


@pytest.mark.fault(27)
@pytest.mark.parametrize("cut", [0, 1, 12_345, len(LARGE) // 2, len(LARGE) - 1])
@pytest.mark.parametrize("size", [997, 100_000, 2 * len(LARGE)])
def test_a_download_that_breaks_is_taken_up_again(filled: S3Server, storage: S3Storage, cut: int, size: int) -> None:
    filled.fault(Fault(operation="get", times=1, cut=cut))
    assert digest(get(storage, size)) == digest(LARGE)
    first, again = (request for request in filled.requests if request.operation == "get")
    assert "range" not in first.headers
    assert again.headers["if-match"] == filled.objects[FULL].etag


def test_a_download_may_break_often_as_long_as_it_gets_on(filled: S3Server, storage: S3Storage) -> None:
    """One of many hours does."""
    filled.fault(Fault(operation="get", times=20, cut=12_000))
    assert digest(get(storage)) == digest(LARGE)
    assert len(set(ranges(filled))) == 21


@pytest.mark.fault(27)
def test_a_download_that_breaks_for_ever_fails(filled: S3Server, storage: S3Storage) -> None:
    filled.fault(Fault(operation="get", skip=1, cut=0))
    filled.fault(Fault(operation="get", times=1, cut=50_000))
    filled.fault(Fault(operation="get", cut=0))
    with pytest.raises(StorageUnavailable):
        get(storage)
    assert len(ranges(filled)) == 1 + 5


def test_a_download_of_which_the_store_dies_fails(filled: S3Server, storage: S3Storage) -> None:
    filled.fault(Fault(operation="get", times=1, cut=50_000))
    filled.fault(Fault(operation="get", drop="before"))
    with pytest.raises(StorageUnavailable):
        get(storage)


@pytest.mark.fault(34)
@pytest.mark.parametrize("kind", ["the condition holds", "the condition is ignored"])
def test_an_object_replaced_in_between_is_never_mixed(filled: S3Server, storage: S3Storage, kind: str) -> None:
    filled.honours_matches = kind == "the condition holds"
    other = Stored(data=LARGE[:-1] + b"!")
    filled.fault(Fault(operation="get", times=1, cut=50_000))
    filled.fault(Fault(operation="get", times=1, meanwhile=lambda: filled.objects.update({FULL: other})))
    with pytest.raises(StorageError, match="replaced"):
        get(storage)


def test_an_object_removed_in_between(filled: S3Server, storage: S3Storage) -> None:
    filled.fault(Fault(operation="get", times=1, cut=50_000))
    filled.fault(Fault(operation="get", meanwhile=filled.objects.clear))
    with pytest.raises(NotFound):
        get(storage)


def test_a_store_that_starts_again_at_the_beginning_is_no_continuation(filled: S3Server, storage: S3Storage) -> None:
    filled.honours_ranges = False
    filled.fault(Fault(operation="get", times=1, cut=50_000))
    with pytest.raises(StorageError, match="cannot go on"):
        get(storage)


def test_an_error_whose_reason_is_cut_off(filled: S3Server, storage: S3Storage) -> None:
    filled.fault(Fault(operation="get", status=403, code="AccessDenied", cut=20))
    with pytest.raises(StorageUnavailable):
        get(storage)


@pytest.mark.fault(26)
def test_a_download_that_stalls_is_given_up(stuck: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_READ_SECONDS", 0.1)
    monkeypatch.setattr(s3, "_ATTEMPTS", 2)
    storage, end = connected(stuck), threading.Event()
    put(storage, LARGE)
    stuck.fault(Fault(operation="get", cut=50_000, times=1, pause=end))
    stuck.fault(Fault(operation="get", cut=0, pause=end))
    try:
        with pytest.raises(StorageUnavailable):
            get(storage)
    finally:
        end.set()


def test_errors_are_always_ours(server: S3Server, storage: S3Storage) -> None:
    """Whatever the one operation meets, the program above sees a DbguardError."""
    put(storage, SMALL)
    for fault in (
        Fault(operation="any", status=418, code="IAmATeapot"),
        Fault(operation="any", status=500, body=b"<html><br>"),
        Fault(operation="any", status=404, body=b"not found"),
        Fault(operation="any", status=200, body=b"{}"),
        Fault(operation="any", drop="after"),
        Fault(operation="any", cut=0),
    ):
        server.heal()
        server.fault(fault)
        for act in (
            lambda: [*storage.list()],
            lambda: [*storage.folders()],
            lambda: get(storage),
            lambda: put(storage, LARGE),
        ):
            with pytest.raises(DbguardError):
                act()
