"""Becoming Compose, and asking it what dies: with a `docker` that says what real ones said."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dbguard import compose
from dbguard.compose import Deletion, Doomed, Place
from dbguard.errors import EngineUnavailable, Refused
from tests.unit.played import MYSQL, V2, V5, Docker, Engine, container, program

HOOK = ' DRY-RUN MODE - Executing command ["touch" "/x"] in d11de (detached mode)\n'


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker.on_path(tmp_path, monkeypatch)


def resolved(line: str, engine: Engine | None = None) -> Deletion:
    containers: Any = engine or Engine(MYSQL)
    return compose.resolve(program(line), containers)


@pytest.mark.parametrize("said", [V2, V5, V2 + HOOK, HOOK + V5])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_every_version_is_understood(docker: Docker, said: str, stream: str) -> None:
    docker.answers({"--dry-run": (0, said, "") if stream == "stdout" else (0, "", said)})
    assert resolved("down -v") == Deletion(
        engine_id="E",
        containers=("id-shop-db",),
        volumes=(
            Doomed(
                name="shop_data",
                places=(Place(project="shop", service="db", image="mysql:9.7", path="/var/lib/mysql"),),
            ),
        ),
    )


def test_the_dry_run_is_a_dry_run_whatever_the_user_said(docker: Docker) -> None:
    resolved("--dry-run -f a.yaml --dry-run=false --progress quiet down --volume --dry-run=0 -- -x")
    dry = next(call for call in docker.calls if "down" in call)
    assert dry == [
        *("compose", "--file=a.yaml", "--ansi=never", "--progress=plain"),
        *("down", "--dry-run", "--volumes", "--", "-x"),
    ]


def test_anonymous_volumes_of_removed_containers_die_too(docker: Docker) -> None:
    db = container("shop-db", ("f" * 64, "/var/lib/mysql"), anonymous=True)
    docker.answers({"--dry-run": (0, "", " DRY-RUN MODE -  Container shop-db  Removed\n")})
    assert [volume.name for volume in resolved("rm -fsv", Engine(db)).volumes] == ["f" * 64]
    assert any("--force" in call for call in docker.calls)


def test_a_project_name_alone_reads_no_file(docker: Docker) -> None:
    resolved("-p shop down -v")
    assert not any("config" in call for call in docker.calls)


PROVIDER = json.dumps({"services": {"cloud": {"provider": {"type": "x"}}}})


@pytest.mark.parametrize(
    "answers",
    [
        {"config": (0, PROVIDER, "")},
        {"--no-interpolate": (0, PROVIDER, ""), "config": (15, "", "env file a.env not found")},
    ],
)
def test_a_provider_would_run_for_real(docker: Docker, answers: dict[str, tuple[int, str, str]]) -> None:
    docker.answers(answers)
    with pytest.raises(Refused, match="cloud has a provider"):
        resolved("down -v")
    assert not any("--dry-run" in call for call in docker.calls)


def test_a_broken_file_is_judged_by_what_compose_says(docker: Docker) -> None:
    docker.answers({"config": (15, "", "yaml: line 3")})
    assert [volume.name for volume in resolved("down -v").volumes] == ["shop_data"]


@pytest.mark.parametrize(
    "answer",
    [(1, "", "no configuration file provided: not found"), (1, "", V2), (0, "something new", "")],
)
def test_when_compose_cannot_say_the_guard_refuses(docker: Docker, answer: tuple[int, str, str]) -> None:
    docker.answers({"--dry-run": answer})
    with pytest.raises(Refused, match="cannot say what down would delete"):
        resolved("down -v")


@pytest.mark.parametrize(
    "said",
    [
        'Warning: No resource found to remove for project "shop".\n',
        "No stopped containers\n",
        'level=info msg="Any of the services [web] not running in project \\"shop\\""\n',
    ],
)
def test_nothing_to_remove_is_an_answer(docker: Docker, said: str) -> None:
    docker.answers({"--dry-run": (0, "", said)})
    assert resolved("down -v").volumes == ()


def test_another_engine_is_refused(docker: Docker) -> None:
    docker.answers({"info": (0, "F\n", "")})
    with pytest.raises(Refused, match="another engine"):
        resolved("down -v")
    docker.answers({"info": (1, "", "Cannot connect to the Docker daemon")})
    with pytest.raises(EngineUnavailable, match="Cannot connect"):
        resolved("down -v")


@pytest.mark.parametrize("where", ["-f /dev/stdin", "-f a.yaml --env-file {fifo}", "-f {fifo}", "COMPOSE_FILE"])
def test_what_can_be_read_only_once_is_refused(
    docker: Docker, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    if where == "COMPOSE_FILE":
        monkeypatch.setenv("COMPOSE_FILE", "a.yaml:/dev/fd/3")
        where = ""
    with pytest.raises(Refused, match="read only once"):
        resolved(f"{where.format(fifo=fifo)} down -v")
    assert docker.calls == []


def test_up_yes_deletes_what_exists_and_would_be_created(docker: Docker) -> None:
    said = " DRY-RUN MODE -  Container shop-db  Removed\n DRY-RUN MODE -  Volume shop_data  Creating\n"
    docker.answers({"--dry-run": (0, "", said), "volume": (0, "shop_data\nother\n", "")})
    assert [volume.name for volume in resolved("up -yd").volumes] == ["shop_data"]
    assert any("--no-start" in call for call in docker.calls)


def test_up_yes_asks_nothing_while_no_volume_could_have_changed(docker: Docker) -> None:
    docker.answers({"volume": (0, "\n", "")})
    assert resolved("up -yd", Engine()).volumes == ()
    assert not any("--dry-run" in call for call in docker.calls)


# --- becoming docker compose ---


@pytest.mark.parametrize("line", ["ps -a", "down", "down -v=yes", "run --rm db sh -c 'down -v'", "exec -- db x"])
def test_what_deletes_nothing_is_passed_on_untouched(docker: Docker, line: str, tmp_path: Path) -> None:
    docker.answers({"--no-trunc": (0, "", ""), "volume": (0, "", ""), "compose": (42, "out", "err")})
    args = shlex.split(line)
    code = f"from dbguard import compose; compose.plugin_or_standalone({args!r}, print)"
    done = subprocess.run([sys.executable, "-c", code], input=b"typed", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (42, b"out", b"err")
    *questions, passed = map(json.loads, docker.log.read_text().splitlines())
    assert passed == {"args": ["compose", *args], "stdin": "typed"}
    assert len(questions) == (args[0] in {"down", "run"} and "-v=yes" not in args)


def test_compose_does_not_inherit_what_python_ignores(tmp_path: Path) -> None:
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\ngrep SigIgn /proc/self/status\n")
    fake.chmod(0o755)
    code = "from dbguard import compose; compose.plugin_or_standalone(['ps'], print)"
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    ignored = int(done.stdout.split()[1], 16)  # whoever started the tests may ignore others
    assert not [number for number in (signal.SIGPIPE, signal.SIGXFSZ) if ignored >> (number - 1) & 1]


def test_a_command_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Refused, match="unknown flag: --purge") as raised:
        compose.plugin_or_standalone(["down", "-v", "--purge"], print)
    assert raised.value.exit_code == 77


def test_without_a_docker_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="docker: No such file"):
        compose.plugin_or_standalone(["ps"], print)
