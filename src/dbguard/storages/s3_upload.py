"""One object on its way into a bucket: a single PUT when it is small, else parts, a few at a time."""

from __future__ import annotations

import contextlib
import io
import secrets
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dbguard.errors import AlreadyExists, NotFound, StorageError, StorageUnavailable
from dbguard.storages.s3_errors import FAILURES, code, is_conflict, is_unknown_condition, no_store, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

_FIRST_PART = 8 << 20
_PARTS_OF_A_SIZE = 1000
_LANES = 3
"""Parts on the way at once. With the one being filled, at most 4 of 8 MiB are held for the first 8 GB."""
_TOKEN = "dbguard-write"  # noqa: S105 — the name of a piece of metadata
_CHECKSUMS = {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA256"}
_ABORTS = 5
_LOOKS = 5
_LOOK_SECONDS = 0.1
"""Between the first two looks at what was written; twice as long each time."""
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
        self._stop = threading.Event()
        self._perhaps_there = False

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
        self._stop.set()
        self._end_threads()
        with contextlib.suppress(*FAILURES):
            if self._perhaps_there and self._is_ours():
                self._client.delete_object(Bucket=self._bucket, Key=self._key)
        with contextlib.suppress(*FAILURES):
            if self._id is not None:
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
            with self._translated():
                answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key, **self._headers)
            if "UploadId" not in answer:
                raise no_store(self._where)
            self._id = answer["UploadId"]
            self._pool = ThreadPoolExecutor(_LANES, thread_name_prefix="upload")
        while len(self._moving) >= _LANES:
            self._result(self._moving.popleft())
        future = self._pool.submit(self._upload_part, self._id, len(self._parts) + 1, self._taken())
        self._parts.append(future)
        self._moving.append(future)

    def _upload_part(self, upload_id: str, number: int, data: bytes) -> dict[str, Any]:
        """In a thread. botocore sends the part again from this buffer when it must."""
        body = _Stoppable(data, self._stop)
        answer = self._client.upload_part(
            Bucket=self._bucket, Key=self._key, UploadId=upload_id, PartNumber=number, Body=body
        )
        if "ETag" not in answer:
            raise no_store(self._where)
        checksums = {name: value for name, value in answer.items() if name in _CHECKSUMS}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def _result(self, future: Future[dict[str, Any]]) -> dict[str, Any]:
        with self._translated():
            return future.result()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self._where, bucket=self._bucket):
                yield
        except NotFound as error:  # to a writer that is no answer: it looks for nothing
            raise StorageError(f"{self._where}: it is gone while it was written: did somebody abort it?") from error

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
        self._perhaps_there = True
        try:
            try:
                send(_CONDITION)
            except ClientError as error:
                if not is_unknown_condition(error):
                    raise
                send({})
        except FAILURES as error:
            if self._is_ours():
                return
            if isinstance(error, ClientError) and is_conflict(error):
                raise AlreadyExists(f"{self._where} exists already; nothing is ever overwritten") from error
            with self._translated():
                raise

    def _is_ours(self) -> bool:
        try:
            return self._stored().get("word") == self._word
        except FAILURES:
            return False

    def _check(self) -> None:
        """What arrived must be what was sent."""
        try:
            with translated(self._where, bucket=self._bucket):
                size = self._seen()["size"]
        except NotFound as error:
            raise StorageError(f"{self._where}: the store took it, but does not have it") from error
        except StorageUnavailable as error:
            if isinstance(error.__cause__, ClientError) and code(error.__cause__) in {"403", "AccessDenied"}:
                return  # an account that may only write; its answer said that all went well
            raise
        if size != self._size:
            raise StorageError(f"{self._where}: {self._size} bytes were sent, the store has {size}")

    def _seen(self) -> dict[str, Any]:
        """Some stores hide an object for a moment when two write it: rclone does."""
        for look in range(_LOOKS - 1):
            try:
                return self._stored()
            except ClientError as error:
                if code(error) != "404":
                    raise
            time.sleep(_LOOK_SECONDS * 2**look)
        return self._stored()

    def _stored(self) -> dict[str, Any]:
        answer = self._client.head_object(Bucket=self._bucket, Key=self._key)
        words = {
            name.lower(): value for name, value in answer.get("Metadata", {}).items()
        }  # some stores change the case
        return {"size": answer.get("ContentLength"), "word": words.get(_TOKEN)}


class _Stoppable(io.BytesIO):
    """A part's bytes; reading them fails once nobody wants them any more, or a slow store would hold up a stop."""

    def __init__(self, data: bytes, stop: threading.Event) -> None:
        super().__init__(data)
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise _Stopped
        return super().read(size)


class _Stopped(BaseException):
    """No Exception: botocore would try again."""
