"""What `dbguard doctor` sees before it hurts, and what `--clean` removes of what killed runs have left behind."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyrage
import pytest

from dbguard.lock import target_lock
from dbguard.model import TargetName
from tests.buckets import BucketServer, moto
from tests.conftest import Dbguard, Result
from tests.servers import LABEL, PASSWORD, Server, docker, remove_container

pytestmark = pytest.mark.docker

SHOP = "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.t (a INT PRIMARY KEY);"
LIMITED = """
CREATE USER IF NOT EXISTS limited@localhost IDENTIFIED BY 'lim';
GRANT SELECT, SHOW VIEW, EVENT, LOCK TABLES ON *.* TO limited@localhost;
"""
EIGHT_DAYS = 8 * 86400


@pytest.fixture(scope="module")
def box() -> Iterator[Server]:
    """A server in a project of its own, so that no other test's is looked at or cleaned; its volume has no name."""
    project = f"dbguard-test-{secrets.token_hex(6)}"
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.service": "db",
        "com.docker.compose.oneoff": "False",
    }
    words = [word for pair in labels.items() for word in ("--label", "=".join(pair))]
    image = os.environ.get("DBGUARD_TEST_MARIADB118", "mariadb:11.8")
    password = f"MARIADB_ROOT_PASSWORD={PASSWORD}"
    container = docker(
        "run", "--detach", "--name", f"{project}-db", "--label", LABEL, *words, "--env", password, image
    ).strip()
    try:
        server = Server(container, "mariadb118", f"{project}/db")
        server.wait_until_ready()
        server.sql(SHOP + LIMITED)
        yield server
    finally:
        remove_container(container)


@pytest.fixture(scope="module")
def store() -> Iterator[BucketServer]:
    with moto() as server:
        yield server


class Doctor:
    """It looks at one project only."""

    def __init__(self, dbguard: Dbguard, server: Server) -> None:
        self.dbguard = dbguard
        self.server = server
        self.project = server.target.partition("/")[0]

    def __call__(self, *words: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
        """What a person reads."""
        done = self._run(*words, environment=environment)
        assert done.code == code, done.err + done.out
        return done.out

    def json(self, *, code: int = 0, environment: Mapping[str, str] | None = None) -> Any:
        done = self._run("--json", environment=environment)
        assert done.code == code, done.err + done.out
        return json.loads(done.out)

    def _run(self, *words: str, environment: Mapping[str, str] | None) -> Result:
        return self.dbguard("doctor", "--project", self.project, *words, environment=environment)


@pytest.fixture
def doctor(dbguard: Dbguard, box: Server) -> Doctor:
    return Doctor(dbguard, box)


def lines(text: str, mark: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(mark)]


def test_healthy(servers: Any, dbguard: Dbguard) -> None:
    """A server with a volume that has a name."""
    server = servers.get("mariadb118")
    server.sql(SHOP)
    doctor = Doctor(dbguard, server)
    said = doctor()
    assert (lines(said, "FAIL"), lines(said, "WARN")) == ([], []), said
    assert f"{server.target}: mariadb" in said
    dbguard("backup", "now", server.target).succeeded()
    before = sorted(dbguard.storage.rglob("*"))
    found = doctor.json()
    assert (found["schema_version"], found["healthy"]) == (1, True)
    assert {one["state"] for one in found["findings"]} == {"ok"}
    assert sorted(dbguard.storage.rglob("*")) == before, "the probe was left behind"


def test_nothing_to_back_up_is_said(dbguard: Dbguard) -> None:
    said = dbguard("doctor", "--project", f"dbguard-test-{secrets.token_hex(6)}").succeeded().out
    assert any("no database" in line for line in lines(said, "WARN")), said


def test_engine_behind_something(doctor: Doctor) -> None:
    """Nobody can see what a proxy does with silent connections, but that there may be one."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=relay, args=(listener,), daemon=True).start()
    host = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    said = doctor(environment={"DOCKER_HOST": host})
    assert any("through a proxy" in line for line in lines(said, "WARN")), said
    assert f"{doctor.server.target}: mariadb" in said, "its programs can be run all the same"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def relay(listener: socket.socket) -> None:
    """Passes everything on to the engine's socket."""
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=join, args=(near,), daemon=True).start()


def join(near: socket.socket) -> None:
    with near, socket.socket(socket.AF_UNIX) as far:
        far.connect("/var/run/docker.sock")
        other = threading.Thread(target=carry, args=(near, far), daemon=True)
        other.start()
        carry(far, near)
        other.join()


def carry(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def test_storage_that_cannot_be_read(doctor: Doctor, store: BucketServer) -> None:
    doctor.dbguard("backup", "now", doctor.server.target).succeeded()
    (doctor.dbguard.storage / "dbguard.json").unlink()
    gone = f"s3://gone-{secrets.token_hex(6)}/backups"
    url = doctor.dbguard.storage.as_uri()
    found = doctor.json(code=1, environment=store.environment | {"DBGUARD_STORAGE": f"{url},{gone}"})
    assert found["healthy"] is False
    failed = {one["about"]: one for one in found["findings"] if one["state"] == "failed"}
    assert failed.keys() == {url, gone}
    assert "mounted" in failed[url]["hint"]
    assert "create the bucket" in failed[gone]["hint"]
    assert any(one["about"] == doctor.server.target for one in found["findings"]), "one failure hid the rest"


def test_one_key_alone_can_be_lost(doctor: Doctor) -> None:
    keys = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
    for names, code, mark, text in (
        (keys[0], 0, "WARN", "encryption: one key"),
        (",".join(keys), 0, "ok", "encryption: each of 2 keys"),
        ("age1nonsense", 1, "FAIL", "encryption: recipients"),
    ):
        said = doctor(code=code, environment={"DBGUARD_RECIPIENTS": names})
        assert any(text in line for line in lines(said, mark)), said


def test_anonymous_volume(doctor: Doctor) -> None:
    warnings = lines(doctor(), "WARN")
    assert any(doctor.server.target in line and "anonymous volume" in line for line in warnings), warnings


def test_account_that_cannot_see_everything(doctor: Doctor) -> None:
    said = doctor(environment={"DBGUARD_USER": "limited", "DBGUARD_PASSWORD": "lim"})
    assert any("partial" in line and "GRANT TRIGGER ON *.*" in line for line in lines(said, "WARN")), said
    refused = doctor(code=1, environment={"DBGUARD_USER": "limited", "DBGUARD_PASSWORD": "wrong pass"})
    assert any("cannot log in" in line for line in lines(refused, "FAIL")), refused
    assert "wrong pass" not in refused


def test_unfinished_archives(doctor: Doctor) -> None:
    doctor.dbguard("backup", "now", doctor.server.target).succeeded()
    folder = doctor.dbguard.storage / doctor.server.target
    files = [folder / "20261101T000000Z-00000a/data.sql.zst", folder / "20261102T000000Z-00000b/.tmp-data"]
    young = folder / "20261103T000000Z-00000c/data.sql.zst"
    for file in (*files, young):
        file.parent.mkdir()
        file.write_bytes(b"cut off")
    for file in files:
        os.utime(file, (time.time() - EIGHT_DAYS,) * 2)
    said = doctor()
    assert any("2 unfinished since more than 7 days" in line for line in lines(said, "WARN")), said
    assert any("1 unfinished: being written" in line for line in lines(said, "ok")), said
    assert all(file.exists() for file in files)
    good = doctor.dbguard.archives()

    cleaned = doctor("--clean")
    assert len([line for line in lines(cleaned, "ok") if "removed: unfinished" in line]) == 2, cleaned
    assert not any(file.parent.exists() for file in files)
    assert young.exists()
    assert doctor.dbguard.archives() == good
    assert "since more than" not in doctor()


def test_bucket(doctor: Doctor, store: BucketServer) -> None:
    """An upload that never ended is listed nowhere else; a rule that deletes by age is no retention."""
    bucket = store.new_bucket()
    url = f"s3://{bucket}/some/prefix"
    environment = store.environment | {"DBGUARD_STORAGE": url}
    doctor.dbguard("backup", "now", doctor.server.target, environment=environment).succeeded()
    assert [line for line in lines(doctor(environment=environment), "WARN") if url in line] == []

    key = f"some/prefix/{doctor.server.target}/20261101T000000Z-00000a/data.sql.zst"
    store.client.create_multipart_upload(Bucket=bucket, Key=key)
    store.client.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [{"ID": "old-ones", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}]
        },
    )
    said = doctor(environment=environment)
    assert any(f"{url}: 1 unfinished since" in line for line in lines(said, "WARN")), said  # to moto all are of 2010
    assert any("lifecycle rule old-ones deletes" in line for line in lines(said, "WARN")), said
    assert len(store.client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    assert "removed: unfinished write" in doctor("--clean", environment=environment)
    assert "Uploads" not in store.client.list_multipart_uploads(Bucket=bucket)
    listed = doctor.dbguard("list", "--json", environment=environment).succeeded().json
    assert (len(listed["archives"]), listed["damaged"]) == (1, [])


def test_throwaway_container_that_nobody_uses(doctor: Doctor) -> None:
    words = ("--label", LABEL, "--label", "dbguard.role=throwaway", "--label", f"dbguard.target={doctor.server.target}")
    image = docker("inspect", "--format", "{{.Image}}", doctor.server.container).strip()
    name = f"{doctor.project}-throwaway"
    container = docker("create", "--name", name, *words, "--entrypoint", "sleep", image, "300").strip()
    try:
        assert any(name in line for line in lines(doctor(), "WARN"))
        with locked(doctor):
            assert name not in doctor("--clean"), "it belongs to a run that is at work"
        assert any(f"{name}: removed" in line for line in lines(doctor("--clean"), "ok"))
        assert docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={container}") == ""
    finally:
        with suppress(AssertionError):
            remove_container(container)


def test_dump_that_nobody_listens_to(doctor: Doctor) -> None:
    """Shaped like our script: see dbguard.command."""
    script = ("setsid", "sh", "-c", "sleep 300; :", "dbguard", "0123456789abcdef", "x")
    docker("exec", "--detach", doctor.server.container, *script)
    try:
        with locked(doctor):
            assert "of our programs" not in doctor("--clean"), "it belongs to a run that is at work"
        said = doctor()
        assert any("1 of our programs run" in line for line in lines(said, "WARN")), said
        assert "sleep 300" in processes(doctor.server)
        ended = doctor("--clean")
        assert any("ended: 1 of our programs" in line for line in lines(ended, "ok")), ended
        assert "sleep 300" not in processes(doctor.server)
        assert "of our programs" not in doctor()
    finally:
        if "sleep 300" in processes(doctor.server):
            docker("restart", doctor.server.container)
            doctor.server.wait_until_ready()


def test_backups_inside_the_volume_that_they_protect(doctor: Doctor) -> None:
    template = '{{range .Mounts}}{{if eq .Destination "/var/lib/mysql"}}{{.Name}}{{end}}{{end}}'
    volume = docker("inspect", "--format", template, doctor.server.container).strip()
    place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume).strip()) / "backups"
    try:
        said = doctor(code=1, environment={"DBGUARD_STORAGE": place.as_uri()})
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert any(volume in line and doctor.server.target in line for line in lines(said, "FAIL")), said


def locked(doctor: Doctor) -> Any:
    """As if a run of this host were at work on the target."""
    state = Path(doctor.dbguard.environment["XDG_STATE_HOME"]) / "dbguard"
    return target_lock(state, TargetName.parse(doctor.server.target))


def processes(server: Server) -> str:
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"
    words = [line for line in server.run("sh", "-c", script).decode().splitlines() if "/proc/" not in line]
    return "\n".join(words)
