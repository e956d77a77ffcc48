"""One object on its way into a bucket: a single PUT when it is small, else parts, a few at a time."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from dbguard.errors import AlreadyExists, NotFound, StorageError
from dbguard.storages.s3_errors import code, is_conflict, is_unknown_condition, translated, translation

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

_FIRST_PART = 8 << 20
_PARTS_OF_A_SIZE = 1000
_LANES = 3
"""Parts on the way at once. With the one being filled, at most 4 of 8 MiB are held for the first 8 GB."""
_TOKEN = "dbguard-write"  # noqa: S105 — the name of a piece of metadata
_CHECKSUMS = {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA256"}
_ABORTS = 5
_CONDITION = {"IfNoneMatch": "*"}


def part_size(number: int) -> int:
    """Bytes of the part with this number, from 1 on. Twice as large after each thousand: 10,000 parts, which is all a
    store takes, then hold 7.8 TiB, more than its largest object.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    """
    return _FIRST_PART << ((number - 1) // _PARTS_OF_A_SIZE)


class Upload:
    """Takes bytes; blocks while the store is slower than they come. Not for several threads.

    Each write carries a random word of its own as metadata: by it our own success is recognised when only the
    store's answer was lost, and told from the object of another writer.
    """

    def __init__(self, client: S3Client, bucket: str, key: str, headers: dict[str, Any], *, where: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._where = where
        self._word = secrets.token_hex(16)
        self._headers = headers | {"Metadata": {_TOKEN: self._word}}
        self._size = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._id: str | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._parts: list[Future[dict[str, Any]]] = []
        self._moving: deque[Future[dict[str, Any]]] = deque()

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            room = part_size(len(self._parts) + 1) - self._held
            self._pieces.append(bytes(rest[:room]))
            self._held += len(self._pieces[-1])
            rest = rest[room:]
            if self._held == part_size(len(self._parts) + 1):
                self._send_part()

    def finish(self) -> None:
        """Publishes the object. Raises AlreadyExists when another writer was quicker."""
        if self._id is None:
            self._publish(self._put)
        else:
            if self._held:
                self._send_part()
            parts = [self._result(future) for future in self._parts]
            self._publish(lambda condition: self._complete(parts, condition))
        self._end_threads()
        self._check()

    def abort(self) -> None:
        """Leaves nothing behind, as far as the store still answers."""
        self._end_threads()
        if self._id is not None:
            with contextlib.suppress(StorageError, NotFound), translated(self._where, bucket=self._bucket):
                self.cancel(self._client, self._bucket, self._key, self._id)

    @staticmethod
    def cancel(client: S3Client, bucket: str, key: str, upload_id: str) -> None:
        """Parts that were on the way may come to rest after an abort, so it is repeated until none is left.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
        """
        for _ in range(_ABORTS):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
            try:
                if not client.list_parts(Bucket=bucket, Key=key, UploadId=upload_id).get("Parts"):
                    return
            except ClientError:  # it is gone, or the account may not look
                return

    # --- parts ---

    def _send_part(self) -> None:
        if self._id is None or self._pool is None:
            with translated(self._where, bucket=self._bucket):
                answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key, **self._headers)
            self._id = answer["UploadId"]
            self._pool = ThreadPoolExecutor(_LANES, thread_name_prefix="upload")
        while len(self._moving) >= _LANES:
            self._result(self._moving.popleft())
        future = self._pool.submit(self._upload_part, self._id, len(self._parts) + 1, self._taken())
        self._parts.append(future)
        self._moving.append(future)

    def _upload_part(self, upload_id: str, number: int, data: bytes) -> dict[str, Any]:
        """In a thread. botocore sends the part again from this buffer when it must."""
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=upload_id, PartNumber=number, Body=data
        )
        checksums = {name: value for name, value in answer.items() if name in _CHECKSUMS}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def _result(self, future: Future[dict[str, Any]]) -> dict[str, Any]:
        with translated(self._where, bucket=self._bucket):
            return future.result()

    def _taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._size += len(data)
        self._pieces, self._held = [], 0
        return data

    def _end_threads(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    # --- publishing ---

    def _put(self, condition: dict[str, Any]) -> None:
        self._client.put_object(
            Bucket=self._bucket, Key=self._key, Body=b"".join(self._pieces), **self._headers, **condition
        )

    def _complete(self, parts: list[Any], condition: dict[str, Any]) -> None:
        self._client.complete_multipart_upload(
            Bucket=self._bucket, Key=self._key, UploadId=self._id or "", MultipartUpload={"Parts": parts}, **condition
        )

    def _publish(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Once, unless the store does not know conditions. An error may be a lost answer: then it is ours after all."""
        self._size += self._held
        try:
            try:
                send(_CONDITION)
            except ClientError as error:
                if not is_unknown_condition(error):
                    raise
                send({})
        except (ClientError, BotoCoreError) as error:
            if self._is_ours():
                return
            if isinstance(error, ClientError) and is_conflict(error):
                raise AlreadyExists(f"{self._where} exists already; nothing is ever overwritten") from error
            if isinstance(error, ClientError) and code(error) == "NoSuchUpload":
                raise StorageError(f"{self._where}: somebody else has aborted this upload") from error
            with translated(self._where, bucket=self._bucket):
                raise

    def _is_ours(self) -> bool:
        try:
            return self._stored().get("word") == self._word
        except (ClientError, BotoCoreError):
            return False

    def _check(self) -> None:
        """What arrived must be what was sent."""
        try:
            stored = self._stored()
        except ClientError as error:
            if code(error) in {"403", "AccessDenied"}:
                return  # an account that may only write; its answer said that all went well
            raise translation(self._where, self._bucket, error) from error
        except BotoCoreError as error:
            raise StorageError(f"{self._where}: written, but it cannot be looked at: {error}") from error
        if stored["size"] != self._size:
            if stored["word"] == self._word:
                with contextlib.suppress(ClientError, BotoCoreError):
                    self._client.delete_object(Bucket=self._bucket, Key=self._key)
            raise StorageError(f"{self._where}: {self._size} bytes were sent, the store has {stored['size']}")

    def _stored(self) -> dict[str, Any]:
        answer = self._client.head_object(Bucket=self._bucket, Key=self._key)
        words = {name.lower(): value for name, value in answer["Metadata"].items()}  # some stores change the case
        return {"size": answer["ContentLength"], "word": words.get(_TOKEN)}
