"""One object on its way out of a bucket."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dbguard.errors import StorageError
from dbguard.storages.s3_errors import is_conflict, no_store, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RESUMES = 5
"""How often in a row a download that breaks without a byte is taken up again where it stopped."""


class Download:
    """One object from its beginning; taken up again where it stopped when the connection breaks."""

    def __init__(self, client: S3Client, bucket: str, key: str, where: str) -> None:
        self._get = functools.partial(client.get_object, Bucket=bucket, Key=key)
        self._translated = functools.partial(translated, where, bucket=bucket)
        self._where = where
        self._position = 0
        self._resumes = 0
        with self._translated():
            answer = self._get()
        if not {"ETag", "ContentLength"} <= answer.keys():
            raise no_store(where)
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
                self._resumes = 0
                return data

    def close(self) -> None:
        self._body.close()

    def _resume(self) -> None:
        self._body.close()
        with self._translated():
            try:
                answer = self._get(Range=f"bytes={self._position}-", IfMatch=self._version)
            except ClientError as error:
                if is_conflict(error):
                    raise StorageError(f"{self._where}: it was replaced while it was read") from error
                raise
        self._body = answer["Body"]
        if answer.get("ETag") != self._version:  # a store may ignore the one condition, or the other
            raise StorageError(f"{self._where}: it was replaced while it was read")
        if not answer.get("ContentRange", "").startswith(f"bytes {self._position}-"):
            raise StorageError(f"{self._where}: the connection broke, and the store cannot go on where it stopped")
