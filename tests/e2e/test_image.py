"""The image: nothing in it but dbguard, quick to rebuild, and at home in a container that may do little."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import dbguard
from tests.stack import ROOT, TABLE, Stack, sidecar_image, wait_until

pytestmark = pytest.mark.docker

BASE = os.environ.get("DBGUARD_TEST_PYTHON", "python:3.13-slim")
SOCKET = Path("/var/run/docker.sock")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/image.md").read_text(), re.DOTALL)
OWN_UID = os.getuid() or 12345
"""A user that is not root: whoever runs the tests, or, when that is root, one that no system knows."""

TROUBLE = '"level": "(warning|error)"|Traceback'


@pytest.fixture(scope="module")
def image() -> str:
    return sidecar_image()


def output(*argv: str, **options: Any) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def inspect(image: str) -> Any:
    return json.loads(output("docker", "image", "inspect", image))[0]


def within(image: str, *argv: str) -> str:
    """What a program of the image prints."""
    return output(
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--label",
        "dbguard-test=1",
        "--entrypoint",
        argv[0],
        image,
        *argv[1:],
    )


# What it says about itself


def test_health_is_that_of_the_backups(image: str) -> None:
    health = inspect(image)["Config"]["Healthcheck"]
    assert health["Test"] == ["CMD", "dbguard", "health"]
    seconds = {name: health[name] / 1e9 for name in ("Interval", "Timeout", "StartPeriod")}
    assert seconds == {"Interval": 60, "Timeout": 10, "StartPeriod": 300}


def test_labels(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == dbguard.__version__, "change ARG VERSION in the Dockerfile too"
    assert labels[f"{prefix}title"] == "dbguard"
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert labels[f"{prefix}base.name"] == BASE
    assert labels[f"{prefix}description"]
    assert labels["dbguard.role"] == "sidecar"


def test_starts_no_shell_and_runs_as_root_by_default(image: str) -> None:
    made = inspect(image)["Config"]
    assert (made["Entrypoint"], made["Cmd"], made["User"]) == (["dbguard"], ["run"], "")
    assert made["Volumes"] == {"/var/lib/dbguard": {}}


def test_the_base_is_pinned_by_digest() -> None:
    (default,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim@sha256:[0-9a-f]{64}", default)


# What is in it


def test_nothing_but_dbguard_is_added_to_the_base(image: str) -> None:
    find = ("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o", "-print")
    added = set(within(image, *find).splitlines()) - set(within(BASE, *find).splitlines())
    assert added
    assert {path for path in added if not path.startswith("/opt/dbguard")} == {"/var/lib/dbguard"}
    unwanted = re.compile(r"/site-packages/(pip|setuptools|wheel|hatchling)/|/\.cache/|\.whl$|\.(c|h|pyx)$")
    assert [path for path in added if unwanted.search(path)] == []


def test_only_the_state_may_be_written_by_everybody(image: str) -> None:
    find = ("find", "/", "-xdev", "-perm", "-0002", "!", "-type", "l")
    added = set(within(image, *find).splitlines()) - set(within(BASE, *find).splitlines())
    assert added == {"/var/lib/dbguard"}
    assert within(image, "stat", "-c", "%a %U", "/var/lib/dbguard") == "1777 root\n"


def test_no_way_to_the_packages_of_the_builder_is_left(image: str) -> None:
    settings = ("index-url", "extra-index-url", "trusted-host", "find-links", "http_proxy", "https_proxy")
    told = output("docker", "history", "--no-trunc", image) + json.dumps(inspect(image)["Config"])
    assert [name for name in settings if name in told] == []
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert within(image, "sha256sum", bundle) == within(BASE, "sha256sum", bundle)
    assert "pip.conf" not in within(image, "find", "/etc", "-name", "pip.conf")


def test_nothing_is_compiled_at_start(image: str) -> None:
    """On a read-only root it would be compiled anew by each command and each look at the health."""
    argv = ("docker", "run", "--rm", "--read-only", "--label", "dbguard-test=1", "--entrypoint", "python", image)
    done = subprocess.run([*argv, "-v", "-c", "import dbguard.cli, dbguard.run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"code object from '/opt/dbguard/.*/dbguard/.*/run\..*\.pyc'", done.stderr)
    assert re.findall(r"code object from '(/opt/dbguard/.*\.py)'", done.stderr) == []


# How it is built


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the image is made of and of what makes it."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests/testbed", copy / "tests/testbed")
    for name in ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, copy)
    shutil.copy(ROOT / ".testbed.env", copy)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


def test_a_change_of_the_code_installs_no_dependency_again(image: str, checkout: Path, tmp_path: Path) -> None:
    (checkout / "src/dbguard/changed.py").write_text(f'"""Changed at {time.time()}."""\n')
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    changed = output(str(checkout / "tests/testbed/sidecar-image"), env=environment).split()[-1]
    try:
        log = (tmp_path / "cache/dbguard-testbed/build-sidecar.log").read_text()
        before, after = (inspect(name)["RootFS"]["Layers"] for name in (image, changed))
    finally:
        output("docker", "image", "rm", changed)
    cached = {
        step: f"#{number} CACHED" in log for number, step in re.findall(r"^#(\d+) \[(.*?\] .*)$", log, re.MULTILINE)
    }
    assert [was for step, was in cached.items() if "requirements.lock" in step] == [True, True], log
    assert [was for step, was in cached.items() if "pip wheel" in step] == [False], log
    assert before[:-1] == after[:-1], "more than the code's own layer has to be downloaded again"
    assert before[-1] != after[-1]


def test_only_what_it_copies_is_sent_to_the_builder(checkout: Path, tmp_path: Path) -> None:
    unwanted = (
        ".git/config",
        ".env",
        "backups/shop/db/x/data.sql.zst",
        "root_password.txt",
        "src/dbguard/__pycache__/x.pyc",
    )
    for name in unwanted:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("not for the builder")
    everything = tmp_path / "Dockerfile"
    everything.write_text("FROM scratch\nCOPY . /\n")
    sent = tmp_path / "sent"
    output("docker", "build", "--file", str(everything), "--output", f"type=local,dest={sent}", str(checkout))
    assert {path.name for path in sent.iterdir()} == {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "requirements.lock",
        "src",
    }
    assert list(sent.rglob("__pycache__")) == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_dependency_has_a_wheel_for(machine: str, tmp_path: Path) -> None:
    """Asked of the index without the hashes: pip would fetch the files to check them. They are compared here."""
    lock = (ROOT / "requirements.lock").read_text()
    wanted = re.findall(r"^([a-z].*?) \\$", lock, re.MULTILINE)
    (tmp_path / "wanted.txt").write_text("\n".join(wanted))
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    argv += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.13"]
    for abi in ("cp313", "abi3", "none"):
        argv += ["--abi", abi]
    for platform in ("manylinux_2_28", "manylinux_2_17", "manylinux2014"):
        argv += ["--platform", f"{platform}_{machine}"]
    argv += ["--target", str(tmp_path / "none"), "--report", str(tmp_path / "report.json")]
    output(*argv, "--requirement", str(tmp_path / "wanted.txt"))
    found = [one["download_info"] for one in json.loads((tmp_path / "report.json").read_text())["install"]]
    assert len(found) == len([one for one in wanted if "win32" not in one])
    assert [one["url"] for one in found if one["archive_info"]["hashes"]["sha256"] not in lock] == []


# What it needs of its container


def snippet(holding: str) -> str:
    """The example of docs/image.md, with the numbers of this machine."""
    (text,) = (text for text in SNIPPETS if holding in text)
    group = str(SOCKET.stat().st_gid)
    return str(text).replace('"1000:1000"', f'"{OWN_UID}:{OWN_UID}"').replace('"999"', f'"{group}"')


@pytest.fixture(scope="module")
def database(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One database for many sidecars, and no sidecar yet."""
    stack = Stack(tmp_path_factory.mktemp("image"), image)
    stack.compose("up", "-d", "--wait", "db")
    stack.sql(TABLE)
    yield stack
    empty(stack.folder / "backups", image)
    stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


@pytest.fixture
def stack(database: Stack, image: str) -> Iterator[Stack]:
    """Without sidecar, without archives."""
    yield database
    database.compose("rm", "--stop", "--force", "--volumes", "backup")
    empty(database.folder / "backups", image)


def as_root(folder: Path, image: str, *argv: str) -> None:
    """In a container, with the folder as /x: it may be another user's than that of the tests."""
    words = ("docker", "run", "--rm", "--network", "none", "--label", "dbguard-test=1", "--volume", f"{folder}:/x")
    output(*words, "--entrypoint", argv[0], image, *argv[1:])


def empty(folder: Path, image: str) -> None:
    as_root(folder, image, "find", "/x", "-mindepth", "1", "-delete")
    as_root(folder, image, "chown", f"{os.getuid()}", "/x")


def own(stack: Stack, user: int, image: str) -> None:
    as_root(stack.folder / "backups", image, "chown", "-R", f"{user}:{user}", "/x")


def start(stack: Stack, *snippets: str, up: Sequence[str] = ()) -> None:
    """The sidecar with these examples laid over its service."""
    merged = "services:\n  backup:\n" + "".join(text.split("  backup:\n", 1)[1] for text in snippets)
    (stack.folder / "compose.override.yaml").write_text(merged)
    stack.compose("up", "-d", "--no-deps", *up, "backup")


def state(stack: Stack) -> Any:
    container = stack.compose("ps", "--all", "--quiet", "backup").strip()
    return json.loads(output("docker", "container", "inspect", container))[0]["State"]


def owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in folder.rglob("*")}


def said(stack: Stack) -> str:
    return stack.compose("logs", "--no-log-prefix", "backup")


def saves_its_first(stack: Stack) -> None:
    wait_until(lambda: re.search(rf"saved 20|{TROUBLE}", said(stack)) is not None, "the first backup", 120)


def backs_up(stack: Stack) -> None:
    """By itself and when asked from the host; and nothing went wrong on the way."""
    saves_its_first(stack)
    taken = stack.dbguard("backup", "now", "--json")
    assert taken.returncode == 0, taken.stderr
    listed = stack.archives()
    assert len(listed) == 2
    assert not re.search(TROUBLE, said(stack)), said(stack)
    if os.getuid() in {0, OWN_UID}:
        assert listed == stack.stored()


def test_unhealthy_when_the_newest_backup_is_too_old_while_the_process_lives(stack: Stack, image: str) -> None:
    own(stack, 0, image)
    often = "    healthcheck: {interval: 1s, retries: 1}\n"
    start(stack, f"  backup:\n{often}    environment: {{DBGUARD_MAX_AGE: 5s}}\n", up=("--wait",))
    assert state(stack)["Health"]["Status"] == "healthy"
    saves_its_first(stack)
    wait_until(lambda: state(stack)["Health"]["Status"] == "unhealthy", "the end of 5 s", seconds=90)
    assert state(stack)["Running"]
    assert "older than" in state(stack)["Health"]["Log"][-1]["Output"]


def test_read_only_and_without_any_capability(stack: Stack, image: str) -> None:
    own(stack, 0, image)
    start(stack, snippet("read_only"))
    backs_up(stack)
    assert "storages.json" in stack.compose("exec", "-T", "backup", "ls", "/var/lib/dbguard")
    root = stack.here("docker", "compose", "exec", "-T", "backup", "touch", "/etc/written")
    assert "Read-only file system" in root.stderr


@pytest.mark.parametrize("hardened", [False, True], ids=["as it is", "read-only"])
def test_not_as_root(stack: Stack, image: str, hardened: bool) -> None:
    own(stack, OWN_UID, image)
    start(stack, snippet("user:"), *([snippet("read_only")] if hardened else []))
    backs_up(stack)
    assert stack.compose("exec", "-T", "backup", "id", "-u") == f"{OWN_UID}\n"
    if os.getuid() in {0, OWN_UID}:
        assert owners(stack.folder / "backups") == {OWN_UID}
    plain = stack.dbguard("cat", stack.archives()[0])
    assert "INSERT INTO `t`" in plain.stdout
    checked = stack.dbguard("restore", "db", "--latest", "--dry-run")
    assert checked.returncode == 0, checked.stderr


def test_one_error_when_the_folder_is_not_this_users(stack: Stack, image: str) -> None:
    own(stack, 0, image)
    start(stack, snippet("user:"))
    refuses(stack, "Permission denied")


def test_one_error_when_the_folder_is_mounted_read_only(stack: Stack) -> None:
    start(
        stack,
        "  backup:\n    volumes: !override ['/var/run/docker.sock:/var/run/docker.sock', './backups:/backups:ro']\n",
    )
    refuses(stack, "Read-only file system")


def test_one_error_without_the_sockets_group(stack: Stack, image: str) -> None:
    if SOCKET.stat().st_mode & stat.S_IWOTH or SOCKET.stat().st_gid == OWN_UID:
        pytest.skip("everybody may use this machine's engine")
    own(stack, OWN_UID, image)
    start(stack, "\n".join(line for line in snippet("user:").splitlines() if "group_add" not in line) + "\n")
    wait_until(lambda: "may this user open its socket?" in said(stack), "the reason", seconds=20)
    assert "Traceback" not in said(stack)


def refuses(stack: Stack, reason: str) -> None:
    wait_until(lambda: reason in said(stack), reason)
    asked = stack.dbguard("backup", "now")
    assert asked.returncode != 0
    assert reason in asked.stderr
    assert "/backups" in asked.stderr
    assert "hint: " in asked.stderr
    assert asked.stderr.count(reason) == 1, asked.stderr
    assert "Traceback" not in asked.stderr + said(stack)
    assert stack.stored() == []


def test_another_user_begins_with_a_state_of_its_own(stack: Stack, image: str) -> None:
    """What docs/image.md tells whoever changes `user`."""
    own(stack, 0, image)
    start(stack, "  backup:\n")
    backs_up(stack)
    own(stack, OWN_UID, image)
    stack.compose("rm", "--stop", "--force", "--volumes", "backup")
    start(stack, snippet("user:"))
    wait_until(lambda: stack.dbguard("list").returncode == 0, "the sidecar")
    assert len(stack.archives()) == 2
    taken = stack.dbguard("backup", "now")
    assert taken.returncode == 0, taken.stderr


def test_the_state_goes_over_to_the_container_that_replaces_it(stack: Stack) -> None:
    start(stack, "  backup:\n")
    backs_up(stack)
    stack.compose("exec", "-T", "backup", "touch", "/var/lib/dbguard/of-the-first")
    container = stack.compose("ps", "-q", "backup")
    start(stack, "  backup:\n    environment: {DBGUARD_LEVEL: '4'}\n")
    assert stack.compose("ps", "-q", "backup") != container
    assert "of-the-first" in stack.compose("exec", "-T", "backup", "ls", "/var/lib/dbguard")


def test_an_idle_sidecar_stops_at_once(stack: Stack) -> None:
    start(stack, "  backup:\n")
    saves_its_first(stack)
    container = stack.compose("ps", "-q", "backup").strip()
    before = time.monotonic()
    output("docker", "stop", "--time", "10", container)
    assert time.monotonic() - before < 3
    assert state(stack)["ExitCode"] != 137, "it had to be killed"
