"""The other backup programs: restic, borgmatic, mydumper, each used as its documentation says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.bench.measure import ROOT
from tests.bench.server import DUMP, DUMP_OPTIONS, PASSWORD, Server
from tests.bench.ways import Missing, Way


def peers(server: Server, home: Path) -> Sequence[Way | Missing]:
    makers: dict[str, Callable[[Server, Path], Way]] = {
        "restic": restic,
        "borgmatic": borgmatic,
        "mydumper, 1 thread": partial(mydumper, threads=1),
        "mydumper, 2 threads": partial(mydumper, threads=2),
    }
    return [_found(name, partial(make, server, home)) for name, make in makers.items()]


def restic(server: Server, home: Path) -> Way:
    """Encrypts always, and compresses with zstd as it likes: its defaults.

    https://restic.readthedocs.io/en/stable/040_backup.html#reading-data-from-a-command
    """
    program, folder = path_of("restic"), home / "restic"
    base = [program, "--quiet", "--repo", str(folder)]
    return Way(
        name=f"restic {_says(program, 'version').split()[1]}, --stdin-from-command",
        argv=[*base, "backup", "--stdin-from-command", "--stdin-filename=bench.sql", "--", *server.command(*DUMP)],
        environment={"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(home / "restic-cache")},
        folder=folder,
        before=[*base, "init"],
    )


def borgmatic(server: Server, home: Path) -> Way:
    """Its mysql hook, with the client of the container. The dump goes through a pipe that both see.

    Its `container` option would need a client on the host: it only looks up the container's address.
    https://torsion.org/borgmatic/how-to/backup-your-databases/
    """
    program, borg, folder = path_of("borgmatic"), path_of("borg"), home / "borg"
    config = home / "borgmatic.yaml"
    config.write_text(
        f"""
repositories: [{{path: {folder}}}]
local_path: {borg}
user_runtime_directory: {home / "shared"}
user_state_directory: {home / "borgmatic-state"}
borg_base_directory: {home / "borg-base"}
unknown_unencrypted_repo_access_is_ok: true
mysql_databases:
    - name: bench
      mysql_dump_command: docker exec -e MYSQL_PWD {server.container} mysqldump
      options: {" ".join(DUMP_OPTIONS)}
      username: root
      password: {PASSWORD}
      password_transport: environment
"""
    )
    base = [program, "--config", str(config)]
    return Way(
        name=f"borgmatic {_says(program, '--version')}, {_says(borg, '--version')}",
        argv=[*base, "create"],
        folder=folder,
        before=[*base, "repo-create", "--encryption", "none"],
    )


def mydumper(server: Server, home: Path, threads: int) -> Way:
    """On the host, through the server's socket. It does the compression of its package, which is gzip."""
    program, folder = path_of("mydumper"), home / "mydumper"
    login = ["--socket", str(server.socket), "--user", "root", "--password", PASSWORD]
    what = ["--database", "bench", "--routines", "--events", "--triggers", "--compress", "--outputdir", str(folder)]
    version = _says(program, "--version").split()[1].rstrip(",")
    return Way(
        name=f"mydumper {version}, {threads} thread{'s' * (threads > 1)}, gzip",
        argv=[program, *login, *what, "--threads", str(threads)],
        folder=folder,
    )


class NotInstalled(Exception):
    """The program is not here, and could not be fetched."""


def path_of(program: str) -> str:
    """Where it is, fetched when the machine has none. Raises NotInstalled."""
    found = subprocess.run([ROOT / "tests/testbed/peers", program], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        raise NotInstalled
    return found.stdout.strip()


def _found(name: str, way: Callable[[], Way]) -> Way | Missing:
    try:
        return way()
    except NotInstalled:
        return Missing(name=name, reason="not installed")


def _says(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()
