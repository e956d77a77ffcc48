"""The real Compose behind the shim: how dbguard's own calls get past the shim, and what dbguard becomes in the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NoReturn

THROUGH = "DBGUARD_THROUGH"
"""Set in whatever dbguard starts. A shim that finds it takes it away and becomes the real program: no loop, and what
was judged once is not judged again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shimmed:
    """A command that came through the shim: what it asks of Compose, and the very command behind the shim that does it.

    To become that rather than another `docker compose` keeps the plugin's connection to the docker command that waits
    for it: where there is no terminal, that is how Compose hears of SIGINT and SIGTERM.
    """

    args: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]


shimmed: ContextVar[Shimmed | None] = ContextVar("shimmed", default=None)


def become_compose(args: Sequence[str]) -> NoReturn:
    """Becomes `docker compose ARGS`: same process, terminal, stdin, signals and exit code. Raises OSError."""
    came = shimmed.get()
    if came is not None and came.args == tuple(args):
        become(came.command, came.environment)
    become(["docker", "compose", *args], os.environ | {THROUGH: "1"})


def become(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Raises OSError."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored stays so across exec
    os.execvpe(command[0], list(command), environment)  # noqa: S606 — no shell is the point
