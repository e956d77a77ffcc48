"""The real Compose behind the shim: how dbguard's own calls get past the shim, and what dbguard becomes in the end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NoReturn

from dbguard.errors import Interrupted

THROUGH = "DBGUARD_THROUGH"
"""Set in whatever dbguard starts. A shim that finds it takes it away and becomes the real program: no loop, and what
was judged once is not judged again."""

_WAITING = "DOCKER_CLI_PLUGIN_SOCKET"
"""Names the socket by which docker, from 25 on, tells its plugin to stop: it closes that (cli-plugins/socket/socket.go
of docker/cli)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shimmed:
    """A command that came through the shim: its words as one would type them, and the very command behind the shim that
    does it.

    To become that, rather than another `docker compose`, keeps the plugin's connection to the docker command that waits
    for it: where there is no terminal, that is how Compose hears of SIGINT and SIGTERM.
    """

    words: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]


shimmed: ContextVar[Shimmed | None] = ContextVar("shimmed", default=None)


def become(words: Sequence[str]) -> NoReturn:
    """Becomes this program: same process, terminal, stdin, signals and exit code. Raises OSError.

    Raises Interrupted where the docker command that called the shim was told to stop meanwhile.
    """
    came = shimmed.get()
    if came is None or came.words != tuple(words):
        execute(words, os.environ | {THROUGH: "1"})
    if not _is_awaited(came.environment):
        raise Interrupted(signal.SIGINT)
    execute(came.command, came.environment)


def execute(command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Raises OSError."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored stays so across exec
    os.execvpe(command[0], list(command), environment)  # noqa: S606 — no shell is the point


def _is_awaited(environment: Mapping[str, str]) -> bool:
    """Whether docker still listens; an older one never does."""
    name = environment.get(_WAITING)
    if not name:
        return True
    with socket.socket(socket.AF_UNIX) as waiting:
        try:
            waiting.connect(f"\0{name[1:]}" if name.startswith("@") else name)
        except OSError:
            return False
    return True
