"""One brain per project: who asks the sidecar, and from where, makes no difference to what it answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest

from dbguard import __version__
from dbguard.cli import dbguard as program
from tests.stack import QUICK, ROOT, QuickStack, sidecar_image, wait_until

pytestmark = pytest.mark.docker

Done = subprocess.CompletedProcess[str]

LOCAL = {"completion", "config check", "config schema", "config show", "health", "run"}
LOCAL |= {f"guard {word}" for word in ("install", "uninstall", "status", "lock", "unlock")}
"""These are about this very machine, engine, process or configuration."""
LIKE_COMPOSE = {"docker", "docker-compose"}
"""The same gate as `compose`, with the same judge."""
ASKED: dict[str, tuple[str, ...]] = {
    "backup now": (),
    "cat": ("ID",),
    "compose": ("down", "--volumes", "--timeout", "1"),
    "confirm": ("ID",),
    "discover": (),
    "doctor": (),
    "hold": ("ID",),
    "list": (),
    "notify test": (),
    "prune": ("--yes",),
    "release": ("ID",),
    "restore": ("db", "--latest", "--yes"),
    "status": (),
    "verify": (),
}
"""These the sidecar answers, and how they are called here."""
READING = (
    "cat ID", "cat nothing-like-this", "discover --json", "doctor", "doctor --json", "list", "list --json",
    "notify test", "prune --dry-run --json",
    "restore db --latest --dry-run", "status", "status --json", "status --max-age 0s",
)  # fmt: skip


def leaves(group: click.Group, *before: str) -> Iterator[str]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from leaves(command, *before, name)
        else:
            yield " ".join([*before, name])


def test_every_command_is_thought_of() -> None:
    """A new one belongs into one of the two tables."""
    assert sorted(leaves(program)) == sorted(LOCAL | LIKE_COMPOSE | ASKED.keys())


# --- a sidecar of the project's own ---


@pytest.fixture(scope="module")
def image() -> str:
    return sidecar_image()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[QuickStack]:
    """Each test leaves it as it was: one archive, its sidecar running."""
    stack = QuickStack(tmp_path_factory.mktemp("stack"), image)
    stack.services["db"]["volumes"] = ["data:/var/lib/mysql"]
    stack.write()
    try:
        stack.up_with_data()
        yield stack
    finally:
        stack.here("docker", "compose", "down", "--volumes", "--timeout", "1")


@pytest.fixture
def archive(stack: QuickStack) -> str:
    return stack.archives_of("db")[0].name


class Stranger:
    """May use Docker, and neither read nor write the folder of the backups or a home."""

    def __init__(self, stack: QuickStack) -> None:
        self.stack = stack
        # Root's own rights are those of the owner without these two; whoever is not root never had them.
        drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
        self.prefix = drop if os.geteuid() == 0 else ()
        self.closed = stack.folder / "closed"
        self.closed.mkdir()
        if os.geteuid() == 0:
            for folder in (self.closed, stack.folder / "backups"):
                os.chown(folder, 65534, 65534)
        (stack.folder / "backups").chmod(0o700)
        self.closed.chmod(0o700 if os.geteuid() == 0 else 0o000)
        self.environment = stack.environment | {"HOME": str(self.closed), "DOCKER_CONFIG": _docker_config()}

    def run(self, *argv: str) -> Done:
        return subprocess.run(
            [*self.prefix, *argv], cwd=self.stack.folder, env=self.environment, capture_output=True, text=True
        )

    def dbguard(self, *words: str) -> Done:
        return self.run(sys.executable, "-m", "dbguard", *words)


def _docker_config() -> str:
    return os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))


@pytest.fixture(scope="module")
def stranger(stack: QuickStack) -> Stranger:
    return Stranger(stack)


def inside(stack: QuickStack, *words: str) -> Done:
    return stack.here("docker", "compose", "exec", "-T", "backup", "dbguard", *words)


def settled(done: Done) -> tuple[int, str, str]:
    """Exit code and output, without how long ago things were: time passes between two questions."""
    out, err = (" ".join(re.sub(r"\d[\d.]*[smhd] ago", "AGO", text).split()) for text in (done.stdout, done.stderr))
    return done.returncode, out, err


def test_the_stranger_is_one(stack: QuickStack, stranger: Stranger) -> None:
    assert stranger.run("docker", "version").returncode == 0
    assert "Permission denied" in stranger.run("ls", str(stack.folder / "backups")).stderr
    assert stranger.run("mkdir", str(stranger.closed / "any")).returncode != 0


@pytest.mark.parametrize("words", READING)
def test_the_same_answer_everywhere(stack: QuickStack, stranger: Stranger, archive: str, words: str) -> None:
    argv = words.replace("ID", archive).split()
    askers: list[Callable[..., Done]] = [stack.dbguard, stranger.dbguard, lambda *argv: inside(stack, *argv)]
    with ThreadPoolExecutor() as pool:
        host, strange, own = pool.map(lambda ask: ask(*argv), askers)
    assert settled(host) == settled(own), host.stderr + own.stderr
    assert settled(strange) == settled(own), strange.stderr + own.stderr
    assert host.stdout or host.stderr
    assert not (stack.folder / "home").exists(), "the host kept something of its own"


def test_a_stranger_acts_through_the_sidecar(stack: QuickStack, stranger: Stranger, archive: str) -> None:
    """Writing needs no more rights than reading."""
    saved = stranger.dbguard("backup", "now", "--json")
    assert saved.returncode == 0, saved.stderr
    new = json.loads(saved.stdout)["archives"][0]["id"]
    assert stranger.dbguard("hold", archive).returncode == 0
    assert [path.name for path in stack.archives_of("db")] == [archive, new]
    removal = json.loads(stranger.dbguard("prune", "--dry-run", "--json").stdout)["plans"][0]
    assert [one["id"] for one in removal["keep"]] == [new, archive] or removal["remove"] == []
    assert stranger.dbguard("release", archive).returncode == 0


def test_settings_of_the_host_do_not_matter(stack: QuickStack, archive: str) -> None:
    """Nor does a configuration that only the sidecar may read."""
    stack.environment["DBGUARD_STORAGE"] = str(stack.folder / "elsewhere")
    try:
        assert archive in stack.archives()
    finally:
        del stack.environment["DBGUARD_STORAGE"]
    assert not (stack.folder / "elsewhere").exists()


def test_a_configuration_that_only_the_sidecar_may_read(stack: QuickStack, stranger: Stranger, archive: str) -> None:
    file = stack.folder / "dbguard.toml"
    file.write_text('password = "only-for-the-sidecar"\n')
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    file.chmod(0o600 if os.geteuid() == 0 else 0o000)
    try:
        done = stranger.dbguard("list")
    finally:
        file.unlink()
    assert done.returncode == 0, done.stderr
    assert archive in done.stdout


# --- none, a stopped one, another version, two ---


def test_without_a_sidecar_the_host_answers(stack: QuickStack, archive: str) -> None:
    stack.environment["DBGUARD_STORAGE"] = str(stack.folder / "own")
    stack.environment["DBGUARD_STATE"] = str(stack.folder / "state")
    stack.compose("rm", "--stop", "--force", "backup")
    try:
        saved = stack.dbguard("backup", "now")
        assert saved.returncode == 0, saved.stderr
        (own,) = (stack.folder / "own").glob("*/db/*/manifest.json")
        assert stack.archives() == [own.parent.name] != [archive]
        assert stack.dbguard("status").returncode == 0
        assert stack.dbguard("doctor").returncode == 0
    finally:
        del stack.environment["DBGUARD_STORAGE"], stack.environment["DBGUARD_STATE"]
        stack.compose("up", "-d", "backup")
    assert archive in stack.archives()


def test_a_stopped_sidecar_is_no_reason_to_answer_otherwise(stack: QuickStack, archive: str) -> None:
    stack.compose("stop", "backup")
    before = stack.archives_of("db")
    with ThreadPoolExecutor(4) as pool:
        found = {
            name: pool.submit(stack.dbguard, *name.split(), *[word.replace("ID", archive) for word in words])
            for name, words in ASKED.items()
        }
        done = {name: one.result() for name, one in found.items()}
    assert {name: one.returncode for name, one in done.items()} == dict.fromkeys(ASKED, 69)
    for name, one in done.items():
        assert f"{stack.project}-backup-1" in one.stderr, f"{name}: {one.stderr}"
        assert one.stdout == "", name
    assert stack.archives_of("db") == before
    assert stack.container("db"), "the guard let the project go"
    assert not (stack.folder / "home").exists()

    named = stack.dbguard("--storage", str(stack.folder / "named"), "backup", "now", "db")
    assert named.returncode == 0, named.stderr
    shown = stack.dbguard("config", "show")
    assert shown.returncode == 0, shown.stderr
    started = stack.dbguard("compose", "up", "-d", "backup")
    assert started.returncode == 0, started.stderr
    assert archive in stack.archives()


@pytest.fixture
def of_another_version(stack: QuickStack, image: str) -> Iterator[str]:
    """The sidecar is made anew with another version, and then as it was."""
    argv = ["docker", "run", "--rm", "--entrypoint", "python", image, "-c", "import dbguard; print(dbguard.__file__)"]
    place = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    source = (ROOT / "src/dbguard/__init__.py").read_text()
    (stack.folder / "version.py").write_text(source.replace(__version__, "0.0.9"))
    volumes = stack.services["backup"]["volumes"]
    volumes.append(f"./version.py:{place}:ro")
    stack.write()
    stack.compose("up", "-d", "backup")
    yield "0.0.9"
    volumes.pop()
    stack.write()
    stack.compose("up", "-d", "backup")


def test_versions_that_differ_are_named(stack: QuickStack, archive: str, of_another_version: str) -> None:
    note = f"this sidecar is dbguard {of_another_version}, the host has {__version__}"
    assert inside(stack, "--version").stdout.split()[-1] == of_another_version
    listed = stack.dbguard("list", "--json")
    assert (listed.returncode, archive in listed.stdout) == (0, True)
    assert listed.stderr.count(note) == 1
    saved = stack.dbguard("backup", "now")
    assert saved.returncode == 0
    assert note in saved.stderr
    plain = stack.dbguard("cat", archive)
    assert (plain.returncode, plain.stdout.count(note)) == (0, 0)
    assert note not in inside(stack, "list").stderr


def test_two_sidecars_are_refused(stack: QuickStack) -> None:
    stack.compose("up", "-d", "--scale", "backup=2", "backup")
    try:
        for words in (["list"], ["backup", "now"], ["compose", "down", "--volumes"]):
            done = stack.dbguard(*words)
            assert done.returncode == 2, done.stderr
            for number in (1, 2):
                assert f"{stack.project}-backup-{number}" in done.stderr
        assert stack.container("db")
    finally:
        stack.compose("up", "-d", "--scale", "backup=1", "backup")
    assert stack.dbguard("list").returncode == 0


# --- one for all projects of an engine ---


class Island:
    """An engine of its own, for a sidecar that serves everybody would serve other tests too. On it: a project `keeper`
    with that sidecar, two with a database only, and one with a sidecar of its own."""

    def __init__(self, folder: Path, image: str, host: str) -> None:
        def stack(name: str) -> QuickStack:
            (folder / name).mkdir()
            made = QuickStack(folder / name, image, socket="/run/engine28/docker.sock")
            made.environment["DOCKER_HOST"] = host
            return made

        self.keeper, self.one, self.other, self.own = map(stack, ("keeper", "one", "other", "own"))
        del self.keeper.services["db"], self.one.services["backup"], self.other.services["backup"]
        self.keeper.services["backup"]["environment"]["DBGUARD_SCOPE"] = "all"
        self.outside = folder

    def up(self) -> None:
        stacks = (self.one, self.other, self.own)
        for stack in (self.keeper, *stacks):
            stack.write()
        with ThreadPoolExecutor() as pool:
            [*pool.map(lambda stack: stack.compose("up", "-d", "--wait", "db"), stacks)]
        for stack in stacks:
            stack.fill()
        self.own.compose("up", "-d", "backup")
        self.keeper.compose("up", "-d")

    def here(self, *words: str) -> Done:
        """dbguard in a folder of no project."""
        environment = {name: value for name, value in self.one.environment.items() if name != "COMPOSE_PROJECT_NAME"}
        argv = [sys.executable, "-m", "dbguard", *words]
        return subprocess.run(argv, cwd=self.outside, env=environment, capture_output=True, text=True)

    def stored(self) -> list[str]:
        """The targets of the archives in the keeper's storage."""
        return sorted(one["target"] for one in listed(inside(self.keeper, "list", "--json")))


def listed(done: Done) -> list[dict[str, Any]]:
    assert done.returncode in {0, 69}, done.stderr  # a storage that nobody has used is no answer
    found: list[dict[str, Any]] = json.loads(done.stdout or '{"archives": []}')["archives"]
    return found


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[Island]:
    script = str(ROOT / "tests/testbed/engine28")
    started = subprocess.run([script, "up", QUICK, image], stdout=subprocess.PIPE, text=True, check=True)
    host = started.stdout.strip()
    try:
        island = Island(tmp_path_factory.mktemp("island"), image, host)
        island.up()
        wait_until(lambda: len(island.stored()) >= 2, "a backup of each project without a sidecar")
        wait_until(lambda: len(listed(island.own.dbguard("list", "--json"))) == 1, "the backup of the other")
        yield island
    finally:
        subprocess.run([script, "down", host], check=True)


def targets(*stacks: QuickStack) -> list[str]:
    return sorted(f"{stack.project}/db" for stack in stacks)


def test_one_for_all_leaves_a_project_that_has_its_own(island: Island) -> None:
    assert island.stored() == targets(island.one, island.other)
    assert [one["target"] for one in listed(island.own.dbguard("list", "--json"))] == targets(island.own)


def test_one_for_all_answers_in_each_project(island: Island) -> None:
    before = island.stored()
    for stack in (island.one, island.other):
        seen = json.loads(stack.dbguard("status", "--json").stdout)
        assert [one["target"] for one in seen["targets"]] == targets(stack)
        assert stack.project in stack.dbguard("list").stdout
    saved = island.one.dbguard("backup", "now", "--json")
    assert [one["target"] for one in json.loads(saved.stdout)["archives"]] == targets(island.one), saved.stderr
    assert island.stored() == sorted([*before, *targets(island.one)])


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("restore db --latest --dry-run --json", "target"),
        ("restore --latest --dry-run --json", "target"),
        ("status db --json", "targets"),
        ("list db --json", "archives"),
        ("prune db --dry-run --json", "plans"),
    ],
)
def test_a_short_name_means_the_project_of_the_folder(island: Island, words: str, key: str) -> None:
    done = island.other.dbguard(*words.split())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)[key]
    named = {found} if isinstance(found, str) else {one["target"] for one in found}
    assert named == set(targets(island.other))


def test_a_full_name_reaches_the_sidecar_that_has_it(island: Island) -> None:
    """From any folder."""
    for stack in (island.one, island.own):
        plan = island.other.dbguard("restore", f"{stack.project}/db", "--latest", "--dry-run", "--json")
        assert plan.returncode == 0, plan.stderr
        assert json.loads(plan.stdout)["target"] == f"{stack.project}/db"


def test_outside_of_all_projects_it_speaks_of_those_it_keeps(island: Island) -> None:
    seen = json.loads(island.here("status", "--json").stdout)
    assert [one["target"] for one in seen["targets"]] == targets(island.one, island.other)


def test_one_for_all_does_not_step_in_for_one_that_restarts(island: Island) -> None:
    """Else there were two of everything after each `docker compose up`, in two places."""
    island.own.compose("stop", "backup")
    try:
        wait_until(lambda: bool(island.own.container()), "the engine's news")
        with pytest.raises(AssertionError, match="never came"):
            wait_until(lambda: targets(island.own)[0] in island.stored(), "a second backup", seconds=8)
        assert island.own.dbguard("list").returncode == 69
    finally:
        island.own.compose("start", "backup")
    assert island.own.dbguard("list").returncode == 0


def test_one_for_all_that_is_stopped(island: Island) -> None:
    island.keeper.compose("stop", "backup")
    try:
        for words in (["list"], ["backup", "now"], ["status"], ["restore", "db", "--latest", "--dry-run"]):
            done = island.one.dbguard(*words)
            assert done.returncode == 69, done.stderr
            assert f"{island.keeper.project}-backup-1" in done.stderr
        assert island.own.dbguard("list").returncode == 0
    finally:
        island.keeper.compose("start", "backup")
    assert island.one.dbguard("list").returncode == 0
