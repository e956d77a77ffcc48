"""A bucket, of AWS or of anything that speaks its protocol."""

from __future__ import annotations

import contextlib
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
from dbguard.storages.s3_download import Download
from dbguard.storages.s3_errors import FAILURES, code, is_unknown, no_store, translated
from dbguard.storages.s3_upload import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ATTEMPTS = 12
"""Of one request, with growing pauses, by botocore's standard mode: half a minute in all, enough for a restart."""
_CONNECT_SECONDS = 10.0
"""Also for each block of a body that is sent."""
_READ_SECONDS = 60.0


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
            shown = re.sub(r"(?s)(?<=//).*@|[?#].*", "…", url)  # what is cut out may be a secret
            raise ConfigError(f"storage {shown} is no bucket's URL", hint="s3://bucket or s3://bucket/prefix")
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
    def open(self, key: str) -> Iterator[Download]:
        with contextlib.closing(Download(self._client, self._bucket, self._full(key), f"{self.url}/{key}")) as reader:
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
        """Uploads that never ended. No listing shows them, and the store keeps them, and bills them, for ever.

        Raises StorageError where a store cannot list them: `doubts` then says so.
        """
        for page in self._pages("list_multipart_uploads", Prefix=self._prefix):
            for found in page.get("Uploads", ()):
                key = found["Key"].removeprefix(self._prefix)
                yield Entry(key=key, size=0, modified=found["Initiated"], version=found["UploadId"])

    def clear(self, leftover: Entry) -> None:
        with contextlib.suppress(NotFound), translated(f"{self.url}/{leftover.key}", bucket=self._bucket):
            Upload.cancel(self._client, self._bucket, self._prefix + leftover.key, leftover.version)

    def doubts(self) -> Iterator[str]:
        yield from self._doubts_about_uploads()
        yield from self._doubts_about_rules()
        yield from self._doubts_about_locks()

    def _doubts_about_uploads(self) -> Iterator[str]:
        try:
            self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=self._prefix, MaxUploads=1)
        except ClientError as error:
            if not _is_rclones_none(error):
                why = "the store has no such list" if is_unknown(error) else code(error)
                yield f"unfinished uploads cannot be listed ({why}): does the store remove them by itself?"
        except FAILURES as error:
            yield f"unfinished uploads cannot be listed: {error}"

    def _doubts_about_rules(self) -> Iterator[str]:
        """Rules of the bucket that delete by themselves would delete the last good archive when backups stop."""
        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except ClientError as error:
            if code(error) != "NoSuchLifecycleConfiguration":
                yield f"its lifecycle rules cannot be read ({code(error)}): do they delete objects?"
            return
        except FAILURES as error:
            yield f"its lifecycle rules cannot be read: {error}"
            return
        for rule in answer.get("Rules", ()):
            if _deletes_by_age(rule) and self._concerns(_rule_prefix(rule)):
                name = rule.get("ID", "without a name")
                yield f"the lifecycle rule {name} deletes archives by age, also the last good one: let dbguard prune"

    def _doubts_about_locks(self) -> Iterator[str]:
        """A store without Object Lock, or an account that may not ask, has nothing to say here."""
        with contextlib.suppress(*FAILURES):
            answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            retention = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
            if length := retention.get("Days") or retention.get("Years"):
                unit = "days" if "Days" in retention else "years"
                yield f"Object Lock keeps all for {length} {unit}: pruned earlier it is hidden and billed, not gone"

    def _concerns(self, prefix: str) -> bool:
        return self._prefix.startswith(prefix) or prefix.startswith(self._prefix)

    def _pages(self, operation: Any, **arguments: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 — a name boto3 lists
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self._bucket, **arguments))
        while True:
            try:
                with translated(self.url, bucket=self._bucket):
                    page = next(pages, None)
            except NotFound as error:
                if _is_rclones_none(error.__cause__):
                    return
                raise no_store(self.url) from error
            if page is None:
                return
            if not page.keys() & {"Name", "Bucket", "IsTruncated"}:
                raise no_store(self.url)
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


def connect(url: str, options: BucketOptions) -> S3Client:
    """A client that several threads may use. Asks nobody yet. Raises ConfigError."""
    if bool(options.access_key_id) != bool(options.secret_access_key):  # boto3 would sign with half of them
        raise ConfigError(f"storage {url}: access_key_id and secret_access_key go together")
    session = botocore.session.get_session()
    # A list of thousands spends most of its time in the parser that botocore takes for times.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    checks = {"auto": options.endpoint_url is None, "always": True, "never": False}[options.checksums]
    when: Literal["when_supported", "when_required"] = "when_supported" if checks else "when_required"
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
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


def _is_rclones_none(error: BaseException | None) -> bool:
    """What it answers when asked for uploads and there are none. No other list fails with this."""
    return isinstance(error, ClientError) and code(error) == "NoSuchUpload"


def _deletes_by_age(rule: Any) -> bool:  # noqa: ANN401 — boto3's own dictionary
    """Not one that only clears markers; nor one for tagged objects, as ours have no tags."""
    chosen = rule.get("Filter", {})
    tagged = "Tag" in chosen or "Tags" in chosen.get("And", {})
    return rule["Status"] == "Enabled" and not tagged and bool(rule.get("Expiration", {}).keys() & {"Days", "Date"})


def _rule_prefix(rule: Any) -> str:  # noqa: ANN401 — boto3's own dictionary
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
