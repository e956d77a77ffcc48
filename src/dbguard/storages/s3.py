"""A bucket, of AWS or of anything that speaks its protocol."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dbguard import __version__
from dbguard.archive import Entry
from dbguard.errors import AlreadyExists, ConfigError, NotFound, StorageError
from dbguard.storages import keys
from dbguard.storages.options import BucketOptions
from dbguard.storages.s3_errors import code, translated
from dbguard.storages.s3_upload import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ATTEMPTS = 8
"""Of one request, with growing pauses, by botocore's standard mode."""
_RESUMES = 5
"""How often a download that breaks is taken up again where it stopped."""


class S3Storage:
    """Blobs as objects below one prefix of one bucket. See storages.Storage for the promise.

    An object is seen whole or not at all (https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html,
    "data consistency model"). Where the store does not know conditional writes, a look before the write takes
    their place; two writers of one key could then meet, which ids make impossible.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str, options: BucketOptions) -> None:
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._options = options

    @classmethod
    def from_url(cls, url: str, options: BucketOptions) -> Self:
        """`s3://bucket/prefix`. Asks nobody yet."""
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment or "@" in url:
            raise ConfigError(f"storage {url} is no bucket's URL", hint="s3://bucket or s3://bucket/prefix")
        if prefix and not keys.is_plain(prefix):
            raise ConfigError(f"storage {url}: {prefix!r} cannot be a prefix", hint="letters, digits, '_', '.', '-'")
        return cls(connect(url, options), parts.netloc, prefix, options)

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[Upload]:
        full = self._full(key)
        upload = Upload(self._client, self._bucket, full, self._headers(), where=f"{self.url}/{key}")
        if self._exists(full):
            raise AlreadyExists(f"{self.url}/{key} exists already; nothing is ever overwritten")
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[_Reader]:
        with contextlib.closing(_Reader(self._client, self._bucket, self._full(key), f"{self.url}/{key}")) as reader:
            yield reader

    def list(self, prefix: str = "") -> Iterator[Entry]:
        for page in self._pages("list_objects_v2", Prefix=self._prefix + prefix):
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                if keys.is_plain(key):  # what others put there is not ours
                    yield _entry(key, found)

    def folders(self, prefix: str = "") -> Iterator[str]:
        full = self._prefix + prefix
        for page in self._pages("list_objects_v2", Prefix=full, Delimiter="/"):
            for found in page.get("CommonPrefixes", ()):
                name = found["Prefix"].removeprefix(full).rstrip("/")
                if keys.is_plain(name):
                    yield name

    def delete(self, key: str) -> None:
        full = self._full(key)
        with translated(f"{self.url}/{key}", bucket=self._bucket):
            self._client.delete_object(Bucket=self._bucket, Key=full)

    def free(self) -> None:
        return None

    def leftovers(self) -> Iterator[Entry]:
        """Uploads that never ended. No listing shows them, and the store keeps them, and bills them, for ever."""
        with contextlib.suppress(NotFound):  # rclone's word for "none"
            for page in self._pages("list_multipart_uploads", Prefix=self._prefix):
                for found in page.get("Uploads", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    yield Entry(key=key, size=0, modified=found["Initiated"], version=found["UploadId"])

    def clear(self, leftover: Entry) -> None:
        with contextlib.suppress(NotFound), translated(f"{self.url}/{leftover.key}", bucket=self._bucket):
            Upload.cancel(self._client, self._bucket, self._prefix + leftover.key, leftover.version)

    def doubts(self) -> Iterator[str]:
        """Rules of the bucket that delete by themselves would delete the last good archive when backups stop."""
        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except ClientError as error:
            if code(error) != "NoSuchLifecycleConfiguration":
                yield f"its lifecycle rules cannot be read ({code(error)}): do they delete objects?"
            return
        except BotoCoreError as error:
            yield f"its lifecycle rules cannot be read: {error}"
            return
        for rule in answer.get("Rules", ()):
            if rule["Status"] == "Enabled" and "Expiration" in rule and self._concerns(_rule_prefix(rule)):
                name = rule.get("ID", "without a name")
                yield f"the lifecycle rule {name} deletes archives by age, also the last good one: let dbguard prune"

    def _concerns(self, prefix: str) -> bool:
        return self._prefix.startswith(prefix) or prefix.startswith(self._prefix)

    def _pages(self, operation: Any, **arguments: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 — a name boto3 lists
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self._bucket, **arguments))
        while True:
            with translated(self.url, bucket=self._bucket):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _exists(self, full: str) -> bool:
        try:
            with translated(f"s3://{self._bucket}/{full}", bucket=self._bucket):
                self._client.head_object(Bucket=self._bucket, Key=full)
        except NotFound:
            return False
        return True

    def _headers(self) -> dict[str, Any]:
        named = {
            "ServerSideEncryption": self._options.sse,
            "SSEKMSKeyId": self._options.sse_kms_key_id,
            "StorageClass": self._options.storage_class,
        }
        return {name: value for name, value in named.items() if value}

    def _full(self, key: str) -> str:
        full = self._prefix + keys.checked(key)
        if len(full) > 1024:
            raise StorageError(f"{key[:80]}…: a key of {len(full)} bytes is longer than a bucket takes")
        return full


class _Reader:
    """One object from its beginning; taken up again where it stopped when the connection breaks."""

    def __init__(self, client: S3Client, bucket: str, key: str, where: str) -> None:
        self._get = functools.partial(client.get_object, Bucket=bucket, Key=key)
        self._translated = functools.partial(translated, where, bucket=bucket)
        self._position = 0
        self._resumes = 0
        with self._translated():
            answer = self._get()
        self._version, self._size, self._body = answer["ETag"], answer["ContentLength"], answer["Body"]

    def read(self, size: int) -> bytes:
        while True:
            try:
                with self._translated():
                    data = self._body.read(size)
                    if not data and size and self._position < self._size:
                        raise StorageError("the object ends too early")
            except StorageError:
                self._resumes += 1
                if self._resumes > _RESUMES:
                    raise
                self._resume()
            else:
                self._position += len(data)
                return data

    def close(self) -> None:
        self._body.close()

    def _resume(self) -> None:
        self._body.close()
        with self._translated():
            answer = self._get(Range=f"bytes={self._position}-", IfMatch=self._version)
        self._body = answer["Body"]


def connect(url: str, options: BucketOptions) -> S3Client:
    """A client that several threads may use. Asks nobody yet. Raises ConfigError."""
    session = botocore.session.get_session()
    # A list of thousands spends most of its time in the parser that botocore takes for times.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    checks = {"auto": options.endpoint_url is None, "always": True, "never": False}[options.checksums]
    when: Literal["when_supported", "when_required"] = "when_supported" if checks else "when_required"
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        max_pool_connections=16,
        request_checksum_calculation=when,
        response_checksum_validation=when,
        s3={"addressing_style": options.addressing},
        user_agent_extra=f"dbguard/{__version__}",
    )
    try:
        return boto3.Session(
            botocore_session=session,
            profile_name=options.profile,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            region_name=options.region,
        ).client("s3", endpoint_url=options.endpoint_url, config=config, verify=options.ca_bundle)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"storage {url}: {error}") from error


def _moment(text: str) -> datetime:
    from botocore.utils import parse_timestamp

    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = parse_timestamp(text)  # a header's, or a store's own way to write it
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _entry(key: str, found: dict[str, Any]) -> Entry:
    return Entry(key=key, size=found["Size"], modified=found["LastModified"], version=found.get("ETag", ""))


def _rule_prefix(rule: Any) -> str:  # noqa: ANN401 — boto3's own dictionary
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
