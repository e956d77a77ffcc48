"""Volumes that the engine itself keeps: what deletes is really run, and the list of volumes says what is left.

On an engine of its own: `docker system prune` spares nobody.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbguard import anchors
from dbguard.containers import Containers
from dbguard.errors import ExecFailed, NotFound
from dbguard.model import Sighting, TargetName
from tests.stack import QuickStack, sidecar_image, wait_until

pytestmark = pytest.mark.docker

SCRIPT = str(Path(__file__).parents[1] / "testbed/engine28")
VOLUME = "shop_data"
COMPOSE = """
name: shop
services:
  db:
    image: dbguard-test/tiny
    command: [sleep, infinity]
    stop_signal: SIGKILL
    volumes: ["data:/var/lib/mysql"]
volumes: {data: {}}
"""


def tiny(*programs: str) -> bytes:
    """An image's files: these programs of this machine, with what they need."""
    files = {
        f"/bin/{name}": subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
        for name in programs
    }
    for file in list(files.values()):
        needs = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        files |= {path: path for path in re.findall(r"(/\S+)", needs)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for place, file in files.items():
            tar.add(os.path.realpath(file), arcname=place.lstrip("/"))
    return out.getvalue()


class Host:
    """An engine with a project, and a dbguard that looks at it."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "DOCKER_HOST": host}
        for name in ("DOCKER_CONFIG", "LANG"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        (folder / "compose.yaml").write_text(COMPOSE)

    def run(self, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, input=stdin, capture_output=True, timeout=120
        )
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    def docker(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run("docker", *words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dbguard(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dbguard", *words)

    @property
    def volumes(self) -> list[str]:
        return self.docker("volume", "ls", "--quiet").split()

    @property
    def anchors(self) -> list[str]:
        return self.docker(
            "ps", "--all", "--filter", "label=dbguard.lock", "--format", "{{.Names}} {{.State}}"
        ).splitlines()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    started = subprocess.run([SCRIPT, "up"], stdout=subprocess.PIPE, text=True, check=True)
    try:
        yield Host(tmp_path_factory.mktemp("anchors"), started.stdout.strip())
    finally:
        subprocess.run([SCRIPT, "down", started.stdout.strip()], check=True)


@pytest.fixture
def host(engine: Host) -> Iterator[Host]:
    """With a volume that holds something, and a container that uses it."""
    change = ["--change", "VOLUME /declared", "--change", "LABEL dbguard-test=1"]
    engine.docker("import", *change, "-", "dbguard-test/tiny", stdin=tiny("sleep", "tail"))
    engine.docker("compose", "up", "--detach")
    yield engine
    if ids := engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", "--volumes", *ids)
    if engine.volumes:
        engine.docker("volume", "rm", *engine.volumes)


@pytest.fixture
def containers(host: Host, monkeypatch: pytest.MonkeyPatch) -> Containers:
    monkeypatch.setenv("DOCKER_HOST", host.environment["DOCKER_HOST"])
    return Containers.connect()


DELETING = [
    "compose down --volumes --timeout 0",
    "compose down --volumes --remove-orphans --timeout 0",
    f"volume rm --force {VOLUME}",
    "volume prune --force --all",
    "API=1.41 volume prune --force",  # as before Engine 23, whose named volumes went with it
    "API=1.41 system prune --volumes --all --force",
]


def delete(host: Host, command: str) -> None:
    words = command.split()
    if words[0].startswith("API="):
        words = ["env", f"DOCKER_{words[0].replace('=', '_VERSION=')}", "docker", *words[1:]]
    host.run(*words if words[0] == "env" else ["docker", *words])


def test_without_an_anchor_each_of_them_deletes(host: Host) -> None:
    """Else the next test would prove nothing."""
    for command in DELETING:
        host.docker("compose", "up", "--detach")
        if "compose" not in command:
            host.docker("compose", "down", "--timeout", "0")
        assert VOLUME in host.volumes
        delete(host, command)
        assert VOLUME not in host.volumes, command


def test_the_engine_refuses(host: Host) -> None:
    locked = host.dbguard("guard", "lock", "shop/db", "--json")
    assert locked.returncode == 0, locked.stderr
    assert json.loads(locked.stdout)["volumes"] == [{"volume": VOLUME, "locked": True, "changed": True}]
    volumes = host.volumes
    assert VOLUME in volumes
    for command in DELETING:
        delete(host, command)
        assert VOLUME in host.volumes, command
        assert host.anchors == [f"dbguard-lock-{VOLUME} running"], command
    assert host.docker("ps", "--quiet", "--filter", "label=com.docker.compose.project").split() == []
    assert host.dbguard("guard", "lock", VOLUME).stderr == f"{VOLUME} is locked, and was before\n"

    unlocked = host.dbguard("guard", "unlock", VOLUME)
    assert (unlocked.returncode, unlocked.stderr) == (0, f"{VOLUME} is unlocked\n")
    assert host.anchors == []
    assert VOLUME in host.volumes
    assert host.dbguard("guard", "unlock", VOLUME).stderr == f"{VOLUME} was not locked\n"
    host.docker("volume", "rm", VOLUME)


def test_what_an_anchor_may_do(host: Host) -> None:
    """Nothing, and so it can do no harm; nor is there anything left of it."""
    before = host.volumes
    assert host.dbguard("guard", "lock", VOLUME).returncode == 0
    assert host.volumes == before, "no volume of what its image declares"
    (facts,) = json.loads(host.docker("inspect", f"dbguard-lock-{VOLUME}"))
    config, limits = facts["Config"], facts["HostConfig"]
    assert config["Labels"]["dbguard.role"] == "anchor"
    assert config["Labels"]["dbguard.lock"] == VOLUME
    assert not any(label.startswith("com.docker.compose") for label in config["Labels"])
    assert limits["NetworkMode"] == "none"
    assert limits["ReadonlyRootfs"]
    assert limits["CapDrop"] == ["ALL"]
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    assert limits["Memory"] == 16 << 20
    assert [mount["RW"] for mount in facts["Mounts"] if mount["Type"] == "volume"] == [False]
    assert facts["Image"] == json.loads(host.docker("inspect", "shop-db-1"))[0]["Image"]


def test_it_comes_back_and_nobody_sweeps_it(host: Host) -> None:
    assert host.dbguard("guard", "lock", VOLUME).returncode == 0
    host.docker("restart", f"dbguard-lock-{VOLUME}")
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    doctor = host.dbguard("doctor", "--project", "shop", "--clean")
    assert f"the engine keeps its volume {VOLUME}" in doctor.stdout
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    shown = host.dbguard("discover", "--all")
    assert f"no: an anchor: it keeps volume {VOLUME} from being deleted" in shown.stdout

    host.docker("stop", f"dbguard-lock-{VOLUME}")
    doctor = host.dbguard("doctor", "--project", "shop", "--clean")
    assert f"dbguard-lock-{VOLUME} does not run: `docker system prune` takes it" in doctor.stdout
    assert host.dbguard("guard", "lock", VOLUME).stderr == f"{VOLUME} is locked\n"
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]


def test_an_anonymous_volume_survives_its_anchor_too(host: Host) -> None:
    box = host.docker("run", "--detach", "--volume", "/var/lib/mysql", "dbguard-test/tiny", "sleep", "infinity").strip()
    mounts = json.loads(host.docker("inspect", "--format", "{{json .Mounts}}", box))
    volume = next(mount["Name"] for mount in mounts if mount["Destination"] == "/var/lib/mysql")
    assert host.dbguard("guard", "lock", volume).returncode == 0
    host.run("docker", "rm", "--force", "--volumes", box)
    assert volume in host.volumes
    assert host.dbguard("guard", "unlock", volume).returncode == 0
    assert volume in host.volumes


def test_what_cannot_be_locked(host: Host) -> None:
    before = host.volumes
    unknown = host.dbguard("guard", "lock", "no_such_volume")
    assert unknown.returncode == 1
    assert "there is no volume no_such_volume, and no target no_such_volume" in unknown.stderr
    host.docker("volume", "create", "unused")
    unused = host.dbguard("guard", "lock", "unused")
    assert unused.returncode == 1
    assert "no container uses volume unused" in unused.stderr
    assert host.dbguard("guard", "lock", "unused", "--image", "dbguard-test/tiny").returncode == 0
    host.docker("create", "--name", f"dbguard-lock-{VOLUME}", "dbguard-test/tiny", "sleep")
    taken = host.dbguard("guard", "lock", VOLUME)
    assert taken.returncode == 1
    assert "already in use" in taken.stderr
    assert "no_such_volume" not in host.volumes
    assert set(before) <= set(host.volumes)


def test_an_image_with_little_in_it(host: Host, containers: Containers) -> None:
    """Another program that idles will do; where there is none, that is said, and nothing is left."""
    host.docker("import", "-", "dbguard-test/tail", stdin=tiny("tail", "true"))
    (host.folder / "null").write_bytes(b"")
    assert anchors.lock(containers, VOLUME, "dbguard-test/tail")
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    anchors.release(containers, [VOLUME])
    host.docker("import", "-", "dbguard-test/nothing", stdin=tiny("true"))
    with pytest.raises(ExecFailed, match=r"no program of image dbguard-test/nothin can idle: sleep: .*; tail: "):
        anchors.lock(containers, VOLUME, "dbguard-test/nothing")
    assert host.anchors == []
    with pytest.raises(NotFound):
        anchors.lock(containers, VOLUME, "dbguard-test/not-here")


def test_release_and_restore(host: Host, containers: Containers) -> None:
    host.docker("volume", "create", "other")
    assert anchors.lock(containers, VOLUME)
    assert anchors.lock(containers, "other", "dbguard-test/tiny")
    released = anchors.release(containers, [VOLUME, "other", "unheard_of"])
    assert {one.volume for one in released} == {VOLUME, "other"}
    assert host.anchors == []
    host.docker("volume", "rm", "other")
    anchors.restore(containers, released)
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    assert "other" not in host.volumes, "an anchor does not bring a volume back"


def test_a_sidecar_keeps_them_up_to_date(host: Host, containers: Containers) -> None:
    here = containers.inspect("shop-db-1")
    name = TargetName(project="shop", service="db")
    seen = [Sighting(container=here, name=name, database=True, target=None, why_not="no server in it")]
    watch, now = anchors.Watch(containers), datetime.now(UTC)
    assert watch.look(seen, now) == {}
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    host.docker("stop", f"dbguard-lock-{VOLUME}")
    watch.look(seen, now)
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]

    anchors.release(containers, [VOLUME])
    watch.look(seen, now)
    assert host.anchors == [], "it may have been released for a deletion that goes on"
    assert list(anchors.missing(containers, seen)) == [VOLUME]
    watch.look(seen, now + anchors.PATIENCE)
    assert host.anchors == [f"dbguard-lock-{VOLUME} running"]
    assert anchors.missing(containers, seen) == {}

    host.docker("create", "--name", "holder", "--volume", f"{VOLUME}:/x", "dbguard-test/tiny", "sleep")
    anchors.release(containers, [VOLUME])
    host.docker("create", "--name", f"dbguard-lock-{VOLUME}", "dbguard-test/tiny", "sleep")
    problems = watch.look(seen, now + 2 * anchors.PATIENCE)
    assert "already in use" in problems["shop/db"]


def test_it_survives_the_engine(host: Host) -> None:
    assert host.dbguard("guard", "lock", VOLUME).returncode == 0
    container = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=dbguard-test.engine28={Path(host.environment['DOCKER_HOST'].removeprefix('unix://')).parent}"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(["docker", "restart", "--time", "30", container], check=True, capture_output=True)
    wait_until(lambda: host.run("docker", "info").returncode == 0, "the engine is back")
    wait_until(lambda: host.anchors == [f"dbguard-lock-{VOLUME} running"], "the anchor is back")
    time.sleep(0)
    host.docker("compose", "down", "--volumes")
    assert VOLUME in host.volumes


# --- the sidecar, on the machine's own engine ---


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[QuickStack]:
    stack = QuickStack(tmp_path, sidecar_image())
    stack.services["backup"]["environment"]["DBGUARD_GUARD__ANCHOR"] = "true"
    stack.services["db"]["volumes"] = ["data:/var/lib/mysql"]
    stack.write()
    yield stack
    stack.dbguard("guard", "unlock", f"{stack.project}_data")
    stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")
    stack.here("docker", "volume", "rm", "--force", f"{stack.project}_data")


def test_the_sidecar_locks_what_it_backs_up(stack: QuickStack) -> None:
    volume = f"{stack.project}_data"
    name = f"dbguard-lock-{volume}"

    def held() -> bool:
        return stack.here("docker", "inspect", "--format", "{{.State.Running}}", name).stdout == "true\n"

    stack.up_with_data()
    wait_until(held, "the anchor")
    assert stack.dbguard("status").stderr == ""
    stack.here("docker", "rm", "--force", name)
    status = stack.dbguard("status", "--json")
    assert json.loads(status.stdout)["targets"][0]["problems"] == {"unlocked": f"volume {volume} has no anchor"}
    assert status.returncode == 0, "its backups are as they should be"
    doctor = stack.dbguard("doctor")
    assert f"WARN  {stack.project}/db: its volume {volume} has no anchor, and guard.anchor is on" in doctor.stdout
    stack.compose("restart", "--timeout", "1", "backup")
    wait_until(held, "the anchor that is missing when a sidecar begins")
    time.sleep(1)  # whoever is stopped before it has seen that the anchor stays takes it away again
    stack.compose("down", "--volumes", "--timeout", "1")
    assert held()
    assert stack.here("docker", "volume", "inspect", volume).returncode == 0
