"""Speed and memory of an upload, beside the tools that people upload with.

    tests/bench/run upload [--mib MIB] [--rounds N]

One file of random bytes goes to one S3 server (rclone's, on this machine), by each tool in turn, round by round.
`aws` takes part when it is on PATH. Writes docs/benchmarks/upload.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests import buckets
from tests.bench.measure import MIB, ROOT, Cost, cost
from tests.buckets import KEY, RCLONE, SECRET, BucketServer

REPORT = ROOT / "docs/benchmarks/upload.md"
OURS = """
import sys
from dbguard.storages import open_storage
from dbguard.storages.options import BucketOptions
url, endpoint, key, secret, name, file = sys.argv[1:]
options = BucketOptions(endpoint_url=endpoint, region="us-east-1", addressing="path",
                        access_key_id=key, secret_access_key=secret)
with open(file, "rb", buffering=0) as source, open_storage(url, options).create(name) as out:
    while data := source.read(1 << 20):
        out.write(data)
"""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=3)
    wanted = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="dbguard-bench-"))
    try:
        (home / "served").mkdir()
        with buckets.rclone(home / "served") as server:
            lines = measure(server, home, wanted.mib, wanted.rounds)
    finally:
        shutil.rmtree(home)
    REPORT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def measure(server: BucketServer, home: Path, mib: int, rounds: int) -> list[str]:
    large, small = file_of(home / "large", mib), file_of(home / "small", 1)
    bucket = server.new_bucket()
    ours = Ours(server, bucket)
    base = ours(small).peak
    ways: dict[str, Callable[[Path], Cost]] = {
        "write to the same disk (the limit)": lambda file: cost(["cp", str(file), str(home / "copy")]),
        "dbguard": ours,
        "rclone copy": lambda file: cost(
            [str(RCLONE), "copyto", "--ignore-times", str(file), f":s3:{bucket}/rclone"], rclone_environment(server)
        ),
    }
    if aws := shutil.which("aws"):
        ways["aws s3 cp"] = lambda file: cost(
            [aws, "s3", "cp", "--quiet", "--endpoint-url", server.endpoint, str(file), f"s3://{bucket}/aws"],
            os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"},
        )
    costs: dict[str, list[Cost]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            costs[way].append(run(large))
            print(f"{way:<40} {costs[way][-1].seconds:6.2f} s", flush=True)
    return report(costs, base, mib)


class Ours:
    """The storage, without a database in front of it."""

    def __init__(self, server: BucketServer, bucket: str) -> None:
        self._words = [f"s3://{bucket}", server.endpoint, KEY, SECRET]
        self._uploads = 0

    def __call__(self, file: Path) -> Cost:
        self._uploads += 1
        return cost([sys.executable, "-c", OURS, *self._words, f"upload-{self._uploads}", str(file)])


def rclone_environment(server: BucketServer) -> dict[str, str]:
    return os.environ | {
        "RCLONE_S3_PROVIDER": "Rclone",
        "RCLONE_S3_ENDPOINT": server.endpoint,
        "RCLONE_S3_ACCESS_KEY_ID": KEY,
        "RCLONE_S3_SECRET_ACCESS_KEY": SECRET,
        "RCLONE_S3_FORCE_PATH_STYLE": "true",
    }


def file_of(path: Path, mib: int) -> Path:
    with path.open("wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    return path


def report(costs: dict[str, list[Cost]], base: int, mib: int) -> list[str]:
    ours = statistics.median(run.seconds for run in costs["dbguard"])
    lines = [
        "# An upload: time and memory",
        "",
        f"`make bench` on {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()};",
        f"{mib} MiB of random bytes to rclone's S3 server on the same machine; medians of "
        f"{len(costs['dbguard'])} interleaved rounds.",
        "",
        "| way | seconds | MB/s | ours is so many times as long | peak memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for way, runs in costs.items():
        seconds = statistics.median(run.seconds for run in runs)
        peak = max(run.peak for run in runs) / MIB
        lines.append(
            f"| {way} | {seconds:.2f} | {mib * MIB / 1e6 / seconds:.0f} | {ours / seconds:.2f} | {peak:.0f} MiB |"
        )
    more = (max(run.peak for run in costs["dbguard"]) - base) / MIB
    lines += ["", f"dbguard took {more:.0f} MiB more memory for {mib} MiB than for 1 MiB."]
    return lines


if __name__ == "__main__":
    main()
