"""Real minutes in the lives of real sidecars: on schedule, whatever goes away meanwhile and comes back.

Nearly all of a story is waiting for the next minute, so all of them are told at the same time; each test hears how
its own has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import KEY, RCLONE, SECRET, BucketServer, free_port, wait_for
from tests.stack import QUICK, ROOT, QuickStack, sidecar_image, wait_until

pytestmark = pytest.mark.docker

MINUTE = timedelta(minutes=1)
EVER = datetime.fromtimestamp(0, UTC)
ROUND = 100.0
"""Seconds within which the next backup is there: a minute until its time, the rest for a busy machine."""
EVERY_MINUTE = {
    "DBGUARD_SCHEDULE": "* * * * *",
    "DBGUARD_RETRY_WAIT": "2s",
    "DBGUARD_LOG": "text",
    "DBGUARD_VERIFY__WHEN": "off",
}


# --- what was backed up when ---


@dataclass(frozen=True, kw_only=True)
class Taken:
    """An archive, as its manifest tells it."""

    id: str
    container: str
    started: datetime
    snapshot: datetime
    finished: datetime


def taken(folder: Path) -> list[Taken]:
    """Every archive of a storage, oldest first, read without dbguard."""
    found = [_taken(json.loads(path.read_text())) for path in folder.glob("*/db/*/manifest.json")]
    return sorted(found, key=lambda one: one.started)


def _taken(manifest: Any) -> Taken:
    moments = {name: datetime.fromisoformat(manifest[name]) for name in ("started", "snapshot", "finished")}
    return Taken(id=manifest["id"], container=manifest["source"]["container_id"], **moments)


def served(archives: Sequence[Taken]) -> list[tuple[Taken, list[datetime]]]:
    """Each archive but the first, with the times of the schedule since the one before it was ready: as the timetable
    has it, it is due when there is one. None is a backup too many, more than one a gap."""
    found = []
    for before, after in pairwise(archives):
        due = before.finished.replace(second=0, microsecond=0) + MINUTE
        found.append((after, [due + n * MINUTE for n in range((after.started - due) // MINUTE + 1)]))
    return found


def assert_nothing_twice(archives: Sequence[Taken]) -> None:
    early = [one for one, times in served(archives) if not times]
    assert not early, f"not due yet: {early}, among {archives}"


def assert_on_schedule(archives: Sequence[Taken]) -> None:
    assert_nothing_twice(archives)
    late = [(one, times) for one, times in served(archives) if len(times) > 1]
    assert not late, f"times without a backup: {late}, among {archives}"


# --- stacks ---


class Minutely(QuickStack):
    """Its database is backed up every minute, and its own health is looked at every few seconds."""

    def __init__(self, folder: Path, image: str) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, image)
        self.backups = folder / "backups"
        self.backup: dict[str, Any] = self.services["backup"]
        self.services["db"] |= {"restart": "always", "volumes": ["data:/var/lib/mysql"]}
        self.backup |= {"restart": "always", "environment": EVERY_MINUTE}
        self.backup["healthcheck"] = {"interval": "4s", "retries": 1}  # and the image's own command
        self.write()

    def up(self) -> None:
        self.compose("up", "--detach", "--wait", "db")
        self.fill()
        self.compose("up", "--detach")

    def recreate(self, service: str) -> None:
        self.compose("up", "--detach", "--force-recreate", "--no-deps", service)

    def inspected(self, what: str) -> str:
        return self.here("docker", "inspect", "--format", "{{%s}}" % what, self.container()).stdout.strip()  # noqa: UP031

    def health(self) -> str:
        return self.inspected(".State.Health.Status")

    def said(self, text: str) -> bool:
        return text in self.compose("logs", "--no-log-prefix", "backup")

    def programs(self) -> str:
        """In the database's container."""
        script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done"
        return self.compose("exec", "-T", "db", "sh", "-c", script)

    @contextmanager
    def dump(self, script: str) -> Iterator[None]:
        """While this is open, a script is the dump program; in it, `$real` is the true one."""
        place = "/usr/local/bin/mariadb-dump"
        head = '#!/bin/sh\nreal=/usr/bin/mariadb-dump\ncase "$*" in *--version*) exec "$real" --version ;; esac\n'
        write = f'printf %s "$1" >{place}.new && chmod 755 {place}.new && mv {place}.new {place}'
        self.compose("exec", "-T", "db", "sh", "-c", write, "sh", head + script)
        yield
        self.compose("exec", "-T", "db", "rm", place)


def another(folder: Path, since: datetime, *, seconds: float = ROUND) -> Taken:
    """The newest archive, when it was begun after `since`."""
    wait_until(lambda: any(one.started > since for one in taken(folder)), f"a backup after {since}", seconds)
    return taken(folder)[-1]


@contextmanager
def kept(stack: Minutely) -> Iterator[None]:
    """Nothing stays of it. When something goes wrong, what the sidecar has said is told with it."""
    try:
        yield
    except BaseException as error:
        error.add_note(stack.here("docker", "compose", "logs", "--no-log-prefix", "backup").stdout)
        raise
    finally:
        stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


class Bucket:
    """On a real S3 server of this host, which goes and comes again; its objects are files."""

    def __init__(self, folder: Path) -> None:
        self.url = "s3://archives/of/this/host"
        self.backups = folder / "archives/of/this/host"
        (folder / "archives").mkdir(parents=True)
        self._folder = folder
        self._port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self.environment = BucketServer(endpoint=f"http://127.0.0.1:{self._port}", exclusive=False).environment

    def start(self) -> None:
        address = ["--addr", f"127.0.0.1:{self._port}", "--auth-key", f"{KEY},{SECRET}"]
        environment = {"HOME": str(self._folder), "RCLONE_CONFIG": str(self._folder / "rclone.conf")}
        self._server = subprocess.Popen(
            [RCLONE, "serve", "s3", *address, str(self._folder)], env=environment, stderr=subprocess.DEVNULL
        )
        wait_for(self._port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait()

    @contextmanager
    def serving(self) -> Iterator[None]:
        self.start()
        try:
            yield
        finally:
            self.stop()


# --- the stories ---


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a story plays: a folder of its own, and the sidecar's image."""

    folder: Path
    image: str


Story = Callable[[Scene], None]
STORIES: dict[str, Story] = {}


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


@pytest.fixture(scope="module")
def endings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """Of the stories that were asked for."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    image = sidecar_image()
    with ThreadPoolExecutor(len(STORIES)) as threads:
        yield {
            name: threads.submit(tell, Scene(folder=tmp_path_factory.mktemp(name), image=image))
            for name, tell in STORIES.items()
            if name in asked
        }


@story
def disk_and_bucket(scene: Scene) -> None:
    """Sidecar and database are re-created, the bucket is away for a while: no backup is missing in the end, in
    neither place, and none was made twice."""
    bucket = Bucket(scene.folder / "s3")
    stack = Minutely(scene.folder, scene.image)
    places = {"DBGUARD_STORAGE": f"file:///backups,{bucket.url}"}
    stack.backup |= {"network_mode": "host", "environment": EVERY_MINUTE | bucket.environment | places}
    stack.write()
    with bucket.serving(), kept(stack):
        stack.up()
        another(stack.backups, EVER)
        stack.recreate("backup")
        another(stack.backups, datetime.now(UTC))

        stack.recreate("db")
        new = another(stack.backups, datetime.now(UTC))
        assert new.container == stack.container("db")
        wait_until(lambda: same_in(stack, bucket), "the same archives in both places")
        assert_on_schedule(taken(stack.backups))

        bucket.stop()
        since = datetime.now(UTC)
        assert_status(stack, 0, "unreadable")
        another(stack.backups, since)
        wait_until(lambda: stack.said("db uncopied: "), "the end of a run without the bucket", 180)
        assert not same_in(stack, bucket)

        bucket.start()
        wait_until(lambda: same_in(stack, bucket), "the missing copies", 180)
        wait_until(lambda: all_green(stack), "all green", 120)
        assert_nothing_twice(taken(stack.backups))
        assert max(len(times) for _, times in served(taken(stack.backups))) <= 3, "the disk waited for the bucket"
        assert len([*stack.backups.glob("*/*")]) == 1, "the new container is another target"


def same_in(stack: Minutely, bucket: Bucket) -> bool:
    """The same archives, byte for byte."""
    places = [place.glob("*/db/*/manifest.json") for place in (stack.backups, bucket.backups)]
    here, there = ({path.parent.name: path.parent for path in found} for found in places)
    return here.keys() == there.keys() and all(contents(here[one]) == contents(there[one]) for one in here)


def contents(archive: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in archive.iterdir()}


def assert_status(stack: Minutely, code: int, *problems: str) -> None:
    """Soon: a run with attempts left has not failed yet."""

    def said() -> bool:
        done = stack.dbguard("status")
        return done.returncode == code and all(one in done.stdout for one in problems)

    wait_until(said, f"status {code}, {', '.join(problems)}", 60)


def all_green(stack: Minutely) -> bool:
    status = stack.dbguard("status", "--json")
    return status.returncode == 0 and not any(one["problems"] for one in json.loads(status.stdout)["targets"])


@story
def engine_restarted(scene: Scene) -> None:
    """Its containers stop and start with it; a `dbguard run` on the host has to wait for it."""
    with engine28(QUICK, scene.image) as engine:
        stack, alone = Minutely(scene.folder / "stack", scene.image), Minutely(scene.folder / "alone", scene.image)
        stack.backup["volumes"] = ["/run/engine28/docker.sock:/var/run/docker.sock", "/run/engine28/backups:/backups"]
        stack.backups = engine / "backups"
        del alone.services["backup"]  # the host does it
        for one in (stack, alone):
            one.environment["DOCKER_HOST"] = f"unix://{engine}/docker.sock"
            one.write()
        with kept(stack), kept(alone):
            stack.up()
            alone.up()
            with keeper_on_host(alone) as log:
                for one in (stack, alone):
                    another(one.backups, EVER)
                restart(engine)
                back = datetime.now(UTC)
                wait_until(lambda: "watching it again" in log.read_text(), "news of the engine's end")
                for one in (stack, alone):
                    first = another(one.backups, back, seconds=120)
                    second = another(one.backups, first.finished)
                    assert second.started.second < 20, "it does not look at the clock when a run is due"
                    assert_nothing_twice(taken(one.backups))
                    assert_on_schedule([each for each in taken(one.backups) if each.started > back])
                wait_until(lambda: stack.health() == "healthy", "a healthy sidecar")
                assert log.read_text().count(" engine: ") in {0, 2}, "what began must be over"


@contextmanager
def engine28(*images: str) -> Iterator[Path]:
    """Its folder, which is /run/engine28 for the engine itself."""
    script = str(ROOT / "tests/testbed/engine28")
    host = subprocess.run([script, "up", *images], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    try:
        yield Path(host.removeprefix("unix://")).parent
    finally:
        subprocess.run([script, "down", host], check=True)


def restart(engine: Path) -> None:
    found = ["docker", "ps", "--quiet", "--filter", f"label=dbguard-test.engine28={engine}"]
    container = subprocess.run(found, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["docker", "restart", "--time", "30", container], capture_output=True, check=True)


@contextmanager
def keeper_on_host(stack: Minutely) -> Iterator[Path]:
    """What it says."""
    log = stack.folder / "on-host.log"
    environment = stack.environment | EVERY_MINUTE | {"DBGUARD_STORAGE": stack.backups.as_uri()}
    argv = [sys.executable, "-m", "dbguard", "run"]
    with log.open("w") as file, subprocess.Popen(argv, cwd=stack.folder, env=environment, stderr=file) as process:
        try:
            yield log
            assert process.poll() is None, "it has not survived"
        except BaseException as error:
            error.add_note(log.read_text())
            raise
        finally:
            process.terminate()


@story
def failing_for_a_while(scene: Scene) -> None:
    """The container's health is that of the backups."""
    stack = Minutely(scene.folder, scene.image)
    stack.services["db"]["labels"]["dbguard.max-age"] = "85s"
    stack.write()
    with kept(stack):
        stack.up()
        another(stack.backups, EVER)
        wait_until(lambda: stack.health() == "healthy", "a healthy sidecar", 30)
        with stack.dump("exit 2"):
            wait_until(lambda: stack.health() == "unhealthy", "an unhealthy sidecar", 200)
            newest = taken(stack.backups)[-1]
            assert datetime.now(UTC) - newest.snapshot > timedelta(seconds=85)
            assert_status(stack, 1, "failed", "stale")
        wait_until(lambda: stack.health() == "healthy", "a sidecar that is healthy again", ROUND)
        assert taken(stack.backups)[-1].started > newest.finished
        assert_nothing_twice(taken(stack.backups))


HANGS = '"$real" "$@" | { dd bs=1 count=2000 2>/dev/null; sleep 600; }'
"""A dump that stops in its middle."""


@story
def stopped_in_the_middle(scene: Scene) -> None:
    """Nothing of the run is left, neither in the storage nor in the database's container."""
    stack = Minutely(scene.folder, scene.image)
    stack.backup["stop_grace_period"] = "10s"  # as Docker has it
    stack.write()
    with kept(stack):
        stack.compose("up", "--detach", "--wait", "db")
        stack.fill()
        with stack.dump(HANGS):
            stack.compose("up", "--detach")
            wait_until(lambda: "sleep 600" in stack.programs(), "the dump")
            began = time.monotonic()
            stack.compose("stop", "backup")
            assert time.monotonic() - began < 10
            assert stack.inspected(".State.ExitCode") == "143"
            wait_until(lambda: "sleep 600" not in stack.programs(), "the end of the dump", 5)
            assert "mariadb-dump" not in stack.programs()
            assert {path.name for path in stack.backups.rglob("*") if path.is_file()} == {"dbguard.json", "owner.json"}
            assert [*stack.backups.glob("*/db/*/")] == []
        stack.compose("start", "backup")
        another(stack.backups, EVER)


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", STORIES)
def test_story(name: str, endings: Mapping[str, Future[None]]) -> None:
    endings[name].result()
