"""One brain per project: the running sidecar holds configuration and storage, so it answers for the host."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from dbguard import __version__
from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.errors import EngineUnavailable, ExecFailed, UsageError
from dbguard.model import Container, Login
from dbguard.scope import ASKED_FOR

ROLE = "dbguard.role"
_SEALED = '"$@"; printf "%s %03d" "$0" "$?"'
"""Ends the output with a word of ours and the exit code: that the program has ended does not prove that all it wrote
has arrived."""

ANSWERING = "DBGUARD_ANSWERING"
"""Set, to the host's version, in the sidecar's process that answers: it must not look for a sidecar again."""


def find(containers: Containers, project: str | None) -> Container | None:
    """The sidecar that serves `project`, its own before one for all; None when there is none.

    Raises EngineUnavailable when there is one that does not run: to go on with other settings and another
    storage would answer a different question.
    """
    found = [one for one in containers.list(stopped=True, label=f"{ROLE}=sidecar") if not one.one_off]
    own = [one for one in found if project is not None and one.project == project]
    sidecars = own or [one for one in found if one.serves_all]
    if not sidecars:
        return None
    running = [one for one in sidecars if one.running]
    if not running:
        raise EngineUnavailable(
            f"the sidecar {sidecars[0].name} of {_whom(project)} is not running: it knows where the archives are",
            hint=f"docker start {sidecars[0].name}, or name the storage yourself with --storage",
        )
    if len(running) > 1:
        names = ", ".join(one.name for one in running)
        raise UsageError(f"{_whom(project)} has several sidecars: {names}", hint="keep one of them")
    return running[0]


def _whom(project: str | None) -> str:
    return f"project {project}" if project is not None else "all projects"


def answer(
    containers: Containers,
    sidecar: Container,
    arguments: Sequence[str],
    *,
    out: Callable[[bytes], object],
    message: Callable[[str], None],
    secret: bytes | None = None,
    project: str | None = None,
) -> int:
    """Runs the same command in the sidecar and returns its exit code. It finds the `secret` in SECRET_FILE. One that
    serves all is told which `project` is meant.

    When this process dies, the command in the sidecar is stopped as well.
    """
    seal = secrets.token_hex(8).encode()
    command = Command(argv=("sh", "-c", _SEALED, seal.decode(), "dbguard", *arguments), login=Login(), secret=secret)
    length = len(seal) + len(" 000")
    held = b""
    env = {ANSWERING: __version__} | ({ASKED_FOR: project} if sidecar.serves_all and project else {})
    with containers.start(sidecar.id, command, env=env) as process:
        process.on_message = message
        for chunk in process.output():
            held += chunk
            out(held[:-length])
            held = held[-length:]
    word, _, code = held.partition(b" ")
    if word != seal or not code.isdigit():
        raise ExecFailed(f"the answer of the sidecar {sidecar.name} was cut")
    return int(code)
