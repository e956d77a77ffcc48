"""S3 servers on the loopback interface: moto, which honours conditional writes, and rclone, which does not."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from dbguard.storages.options import BucketOptions
from dbguard.storages.s3 import S3Storage, connect

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY, SECRET = "test-only-key", "test-only-secret-key"
RCLONE = Path(sys.executable).with_name("rclone")


@dataclass(kw_only=True)
class BucketServer:
    """One that answers; each test takes a new bucket of it."""

    endpoint: str
    exclusive: bool
    """It refuses to overwrite what a conditional write must not."""

    @cached_property
    def client(self) -> S3Client:
        """boto3's own, to look at what dbguard did."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    @property
    def options(self) -> BucketOptions:
        return BucketOptions(
            endpoint_url=self.endpoint,
            region="us-east-1",
            addressing="path",
            access_key_id=KEY,
            secret_access_key=SECRET,
        )

    @property
    def environment(self) -> dict[str, str]:
        """For a dbguard that is to use this server."""
        return {
            "DBGUARD_S3__ENDPOINT_URL": self.endpoint,
            "DBGUARD_S3__REGION": "us-east-1",
            "DBGUARD_S3__ADDRESSING": "path",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def new_bucket(self) -> str:
        name = f"test-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name

    def storage(self, bucket: str, prefix: str = "some/prefix") -> S3Storage:
        """On the client of this server: making one takes longer than most tests."""
        return S3Storage(self._ours, bucket, prefix, self.options)

    @cached_property
    def _ours(self) -> S3Client:
        return connect("s3://any", self.options)

    def used(self, bucket: str) -> int:
        """Bytes in objects, and one for each upload that has not ended."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        stored = sum(found["Size"] for page in pages for found in page.get("Contents", ()))
        return stored + len(list(S3Storage(self.client, bucket, "", self.options).leftovers()))


@contextlib.contextmanager
def moto() -> Iterator[BucketServer]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield BucketServer(endpoint="http://{}:{}".format(*server.get_host_and_port()), exclusive=True)
    finally:
        server.stop()


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[BucketServer]:
    """Serves `folder`: buckets are its folders, objects their files."""
    port = free_port()
    process = subprocess.Popen(
        [RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", str(folder)],
        env={"HOME": str(folder), "RCLONE_CONFIG": str(folder / "rclone.conf")},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield BucketServer(endpoint=f"http://127.0.0.1:{port}", exclusive=False)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, *, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
