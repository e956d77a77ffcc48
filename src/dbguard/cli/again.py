"""A command of ours within another one."""

from __future__ import annotations

import subprocess
import sys

import click

from dbguard.errors import DbguardError


def back_up(ctx: click.Context, target: str) -> None:
    """`dbguard backup now`, as the user would type it: here or in the sidecar. Raises DbguardError."""
    given = ctx.find_root().obj
    named = {"--config": given["config_file"], "--storage": given["storage"]}
    options = [word for name, value in named.items() if value for word in (name, value)]
    command = [sys.executable, "-m", "dbguard", *options, "backup", "now", target]
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
    if code not in {0, 3}:  # partly: it is in one storage at least
        raise DbguardError(f"the backup of {target} failed with {code}: nothing is touched")
