"""What a bucket promises beyond the contract that every storage keeps."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbguard.errors import ConfigError, StorageError
from dbguard.storages import open_storage
from dbguard.storages.options import BucketOptions
from dbguard.storages.s3 import S3Storage, connect
from dbguard.storages.s3_upload import part_size
from tests.buckets import KEY, SECRET, BucketServer
from tests.faults.s3_server import BUCKET, Fault, S3Server

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
SIZES = pytest.mark.parametrize("size", [10, 20 * MIB], ids=["one PUT", "parts"])


@pytest.fixture
def bucket(moto: BucketServer) -> str:
    return moto.new_bucket()


@pytest.fixture
def scripted() -> Iterator[S3Server]:
    """One that shows what it was sent."""
    with S3Server().running() as server:
        yield server


def put(storage: S3Storage, key: str = "key", data: bytes = b"content") -> None:
    with storage.create(key) as out:
        out.write(data)


# --- what is sent along ---


@SIZES
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"sse": "AES256"}, {"ServerSideEncryption": "AES256"}),
        (
            {"sse": "aws:kms", "sse_kms_key_id": "alias/backups"},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/backups"},
        ),
        ({"storage_class": "STANDARD_IA"}, {"StorageClass": "STANDARD_IA"}),
    ],
    ids=["nothing", "sse", "kms", "class"],
)
def test_encryption_and_class_arrive(
    moto: BucketServer, bucket: str, size: int, options: dict[str, Any], expected: dict[str, str]
) -> None:
    storage = S3Storage(moto.client, bucket, "some/prefix", BucketOptions(**options))
    put(storage, data=bytes(size))
    head = moto.client.head_object(Bucket=bucket, Key="some/prefix/key")
    named = ("ServerSideEncryption", "SSEKMSKeyId", "StorageClass")
    found = {name: str(head.get(name)).rpartition("key/")[2] for name in named if name in head}
    assert found == expected
    assert head["ContentLength"] == size


@SIZES
def test_the_request_itself_has_them(scripted: S3Server, size: int) -> None:
    """Once, where the object begins: a store refuses them with each part."""
    options = BucketOptions(**of(scripted), sse="aws:kms", sse_kms_key_id="a-key", storage_class="GLACIER_IR")
    put(S3Storage(connect("s3://any", options), BUCKET, "", options), data=bytes(size))
    [first] = [request for request in scripted.requests if request.operation in {"put", "start"}]
    assert first.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert first.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "a-key"
    assert first.headers["x-amz-storage-class"] == "GLACIER_IR"
    assert "dbguard/" in first.headers["user-agent"]


def of(server: S3Server) -> dict[str, Any]:
    return {
        "endpoint_url": server.endpoint,
        "region": "us-east-1",
        "addressing": "path",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
    }


def test_ten_thousand_parts_hold_the_largest_object() -> None:
    sizes = [part_size(number) for number in range(1, 10_001)]
    assert sum(sizes) >= 5 * TIB
    assert min(sizes) >= 5 * MIB
    assert max(sizes) <= 5 * GIB
    assert sizes == sorted(sizes)
    assert sum(sizes[:1000]) == 1000 * 8 * MIB, "8 GB with the smallest"


# --- who we are ---


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An AWS config file that is the only source of credentials."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "credentials").write_text(
        "[backup]\naws_access_key_id = KEYOFTHEPROFILE\naws_secret_access_key = its-secret\n"
    )
    (tmp_path / "config").write_text(
        "[profile backup]\nregion = eu-west-3\n"
        "[profile writer]\nrole_arn = arn:aws:iam::123456789012:role/writer\n"
        "source_profile = backup\nregion = eu-west-3\n"
    )
    return tmp_path


def signed_by(server: S3Server, **options: Any) -> str:
    """The credential in the signature of what this storage sends."""
    chosen = BucketOptions(endpoint_url=server.endpoint, addressing="path", **options)
    put(S3Storage.from_url(f"s3://{BUCKET}", chosen))
    return server.requests[-1].headers["authorization"].partition("Credential=")[2].partition(",")[0]


def test_a_profile(profiles: Path, scripted: S3Server) -> None:
    assert signed_by(scripted, profile="backup").startswith("KEYOFTHEPROFILE/")
    assert "/eu-west-3/s3/" in signed_by_another(scripted, "backup")


def signed_by_another(server: S3Server, profile: str) -> str:
    server.reset()
    return signed_by(server, profile=profile)


def test_a_profile_that_assumes_a_role(
    profiles: Path, scripted: S3Server, moto: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.endpoint)
    credential = signed_by(scripted, profile="writer")
    assert credential.startswith("ASIA"), "temporary ones"
    assert scripted.requests[-1].headers["x-amz-security-token"]


@pytest.mark.parametrize("page", [b"<html><br>login</html>", b""])
def test_a_role_that_nobody_can_give(
    profiles: Path, scripted: S3Server, monkeypatch: pytest.MonkeyPatch, page: bytes
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", scripted.endpoint)
    scripted.fault(Fault(operation="any", status=200, body=page))
    with pytest.raises(StorageError):
        signed_by(scripted, profile="writer")


def test_a_profile_that_is_not_there(profiles: Path) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        S3Storage.from_url("s3://bucket", BucketOptions(profile="nobody"))


def test_no_credentials_at_all(profiles: Path, scripted: S3Server) -> None:
    with pytest.raises(StorageError, match="no credentials") as caught:
        signed_by(scripted, region="us-east-1")
    assert "secret_access_key_file" in str(caught.value.hint)
    assert not scripted.requests


def test_half_of_the_credentials(profiles: Path) -> None:
    with pytest.raises(ConfigError):
        S3Storage.from_url("s3://bucket", BucketOptions(access_key_id="only", region="us-east-1"))


# --- where it is ---


@pytest.mark.parametrize(
    ("addressing", "host", "path"),
    [("virtual", "vault.store.example", "/some/prefix/key"), ("path", "store.example", "/vault/some/prefix/key")],
)
def test_addressing(scripted: S3Server, monkeypatch: pytest.MonkeyPatch, addressing: Any, host: str, path: str) -> None:
    real = socket.getaddrinfo
    asked = []

    def here(name: str, *more: Any, **named: Any) -> Any:
        asked.append(name)
        return real("127.0.0.1", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    where = BucketOptions(
        **of(scripted) | {"endpoint_url": f"http://store.example:{scripted.port}", "addressing": addressing}
    )
    storage = S3Storage.from_url(f"s3://{BUCKET}/some/prefix", where)
    put(storage)
    assert set(asked) == {host}
    assert {request.headers["host"] for request in scripted.requests} == {f"{host}:{scripted.port}"}
    assert {request.path for request in scripted.requests} == {path}
    assert [*scripted.objects] == ["some/prefix/key"]


def test_aws_itself_is_met_at_the_host_of_bucket_and_region() -> None:
    client = connect("s3://any", BucketOptions(region="eu-west-1", access_key_id=KEY, secret_access_key=SECRET))
    url = client.generate_presigned_url("get_object", Params={"Bucket": "vault", "Key": "key"})
    assert url.startswith(("https://vault.s3.eu-west-1.amazonaws.com/key?", "https://vault.s3.amazonaws.com/key?"))


REFUSED = [
    "s3://", "s3:///prefix", "s3://AB", "s3://a", "s3://under_score", "s3://-bucket", "s3://bucket-", "s3://bucket:1/x",
    "s3://key:hush-hush@bucket/x", "s3://hush-hush@bucket", "s3://bucket/a@b", "s3://bucket?secret=hush-hush",
    "s3://bucket/x?secret=hush-hush", "s3://bucket/#hush-hush", "s3://bucket/../x", "s3://bucket/a//b",
    "s3://bucket/a b", "s3://bucket/.hidden", "s3://bucket/%2e%2e", "s3://bucket/naïve", "s3:bucket", "s3://key:hush/hush-hush@bucket",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(url, BucketOptions(region="us-east-1"))
    assert "hush-hush" not in f"{caught.value} {caught.value.hint}", "what is there may be a secret"


@pytest.mark.parametrize(
    ("url", "name"),
    [("s3://bucket", "s3://bucket"), ("s3://bucket/", "s3://bucket"), ("s3://b.c-d/e/f_g/", "s3://b.c-d/e/f_g")],
)
def test_urls_that_are_taken(url: str, name: str) -> None:
    options = BucketOptions(region="us-east-1", access_key_id=KEY, secret_access_key=SECRET)
    assert open_storage(url, options).url == name


# --- what others put there ---

FOREIGN = [
    "some/prefix", "some/prefix/", "some/prefix/a//b", "some/prefix//x", "some/prefix/.hidden", "some/prefix/a/",
    "some/prefix/../x", "some/prefix/a b", "some/prefix/☃", "some/prefix/-rf", "some/prefix/a+b&c<d>", "some/pre",
]  # fmt: skip


def test_odd_keys_are_not_listed(moto: BucketServer, bucket: str) -> None:
    storage = moto.storage(bucket)
    put(storage, "shop/db/1/data")
    for key in FOREIGN:
        moto.client.put_object(Bucket=bucket, Key=key, Body=b"foreign")
    assert [entry.key for entry in storage.list()] == ["shop/db/1/data"]
    assert set(storage.folders()) == {"shop", "a"}
    assert [*storage.list(".hid")] == [*storage.list("../")] == []


def test_a_neighbour_is_never_seen(moto: BucketServer, bucket: str) -> None:
    ours, other, above = (moto.storage(bucket, prefix) for prefix in ("some/prefix", "some/prefix2", ""))
    put(other, "shop/db/1/data")
    with other.create("shop/db/2/data") as out:
        out.write(bytes(9 * MIB))
        assert [*ours.list(), *ours.folders(), *ours.leftovers()] == []
        assert len([*other.leftovers()]) == len([*above.leftovers()]) == 1
    ours.delete("shop/db/1/data")
    assert [entry.key for entry in other.list()] == ["shop/db/1/data", "shop/db/2/data"]
    assert [entry.key for entry in above.list("some/prefix2/")] == [f"some/prefix2/shop/db/{n}/data" for n in (1, 2)]


# --- doubts ---

DAYS: dict[str, Any] = {"Expiration": {"Days": 30}}
TOUCHING = [
    {"Filter": {"Prefix": ""}, **DAYS},
    {"Filter": {"Prefix": "some/"}, **DAYS},
    {"Filter": {"Prefix": "some/prefix/"}, **DAYS},
    {"Filter": {"Prefix": "some/prefix/shop/"}, **DAYS},
    {"Filter": {"Prefix": "some/prefix/"}, "Expiration": {"Date": "2030-01-01T00:00:00Z"}},
    {"Prefix": "some/pre", **DAYS},
    {"Filter": {}, **DAYS},
]
HARMLESS = [
    {"Filter": {"Prefix": "some/prefix2/"}, **DAYS},
    {"Filter": {"Prefix": "some/prefix2"}, **DAYS},
    {"Filter": {"Prefix": "other/"}, **DAYS},
    {"Filter": {"Prefix": "some/prefix/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
    {"Filter": {"Prefix": "some/prefix/"}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    {"Filter": {"Tag": {"Key": "temporary", "Value": "yes"}}, **DAYS},
    {"Filter": {"And": {"Prefix": "some/", "Tags": [{"Key": "temporary", "Value": "yes"}]}}, **DAYS},
    {"Filter": {"Prefix": ""}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]},
]


def doubts(moto: BucketServer, bucket: str, *rules: Any) -> list[str]:
    moto.client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [*rules]})
    return [*moto.storage(bucket).doubts()]


@pytest.mark.parametrize("rule", TOUCHING, ids=str)
def test_a_rule_that_deletes_ours_is_named(moto: BucketServer, bucket: str, rule: dict[str, Any]) -> None:
    named = {"ID": "thirty-days", "Status": "Enabled", **rule}
    [doubt] = doubts(moto, bucket, named)
    assert "thirty-days" in doubt
    assert doubts(moto, bucket, named | {"Status": "Disabled"}) == []


@pytest.mark.parametrize("rule", HARMLESS, ids=str)
def test_a_rule_that_deletes_nothing_of_ours_is_not(moto: BucketServer, bucket: str, rule: dict[str, Any]) -> None:
    assert doubts(moto, bucket, {"ID": "other", "Status": "Enabled", **rule}) == []


def test_each_rule_is_named(moto: BucketServer, bucket: str) -> None:
    rules = [{"ID": f"rule-{n}", "Status": "Enabled", **rule} for n, rule in enumerate(TOUCHING[:2] + HARMLESS[:2])]
    assert [
        name for name in ("rule-0", "rule-1", "rule-2", "rule-3") if name in " ".join(doubts(moto, bucket, *rules))
    ] == [
        "rule-0",
        "rule-1",
    ]


def test_rules_that_cannot_be_read_are_a_doubt(scripted: S3Server) -> None:
    scripted.fault(Fault(operation="lifecycle", status=403, code="AccessDenied"))
    options = BucketOptions(**of(scripted))
    [doubt] = S3Storage(connect("s3://any", options), BUCKET, "", options).doubts()
    assert "AccessDenied" in doubt


# --- secrets ---


def test_secrets_are_shown_nowhere(scripted: S3Server) -> None:
    options = BucketOptions(**of(scripted))
    assert SECRET not in f"{options!r} {options}"
    storage = S3Storage(connect("s3://any", options), BUCKET, "", options)
    assert SECRET not in f"{storage!r} {vars(storage)}"
    for code in ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied", "WhoKnows"):
        scripted.reset()
        scripted.fault(Fault(operation="any", status=403, code=code))
        with pytest.raises(StorageError) as caught:
            [*storage.list()]
        error: BaseException | None = caught.value
        while error is not None:
            assert SECRET not in f"{error!r} {vars(error)}"
            error = error.__cause__


@pytest.mark.fault(32)
def test_a_locked_bucket_is_written_and_its_lock_is_said(moto: BucketServer) -> None:
    """A delete there only hides: the version that was written stays until its day."""
    bucket = f"locked-{secrets.token_hex(6)}"
    moto.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    moto.client.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}},
        },
    )
    storage = S3Storage.from_url(f"s3://{bucket}", replace(moto.options, checksums="always"))
    for size in (10, 20 << 20):
        with storage.create(f"blob-{size}") as out:
            out.write(bytes(size))
    storage.delete("blob-10")
    assert [entry.key for entry in storage.list()] == [f"blob-{20 << 20}"]
    versions = moto.client.list_object_versions(Bucket=bucket)
    assert "blob-10" in {version["Key"] for version in versions["Versions"]}, "it is hidden, not gone"
    [doubt] = storage.doubts()
    assert "30 days" in doubt
