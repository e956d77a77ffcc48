"""No volume with a database is deleted without a fresh backup of it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

from dbguard import anchors
from dbguard.compose import Deleting, Deletion
from dbguard.containers import Containers
from dbguard.errors import Busy
from dbguard.guard import audit, overrides, page, writers
from dbguard.model import Verdict

_TRIES = 3
"""Backups at most: where somebody writes all the time, there is no last one."""


class Judge(Protocol):
    """The function judging.judge, called here or in the sidecar."""

    def __call__(self, deletion: Deletion, *, before: Verdict | None = None, last: bool = False) -> Verdict:
        """`before` is the verdict of a moment ago. The `last` one holds the archives that it relies on."""
        ...


class Consent(Protocol):
    """Who says whether a backup is taken first, and takes it."""

    def to_back_up(self, verdict: Verdict) -> bool:
        """Whether to take the missing backups now, and go on then."""
        ...

    def back_up(self, target: str) -> None:
        """Raises DbguardError when it failed."""
        ...


def run(
    command: Deleting,
    *,
    containers: Containers,
    judge: Judge,
    consent: Consent,
    state: Path,
    say: Callable[[str], None],
) -> NoReturn:
    """Becomes the command when every volume it would delete may go. Else raises Refused.

    All is decided before anything stops. Then those who write are stopped, and looked at again; what was written in
    between is backed up too, where a backup was consented to.
    """
    deletion = command.resolve(containers)
    if not deletion.volumes:
        command.execute()
    verdict = overrides.applied(judge(deletion))
    backing_up = not verdict.allowed and _mendable(verdict) and consent.to_back_up(verdict)
    if not verdict.allowed and not backing_up:
        audit.write(state, command.words, verdict, "refused")
        raise page.refusal(verdict, command)
    if verdict.volumes and verdict.allowed:
        say("\n".join([f"dbguard: {shlex.join(command.words)} may delete", *page.table(verdict.volumes)]))
    with contextlib.ExitStack() as stack:
        if any(volume.archive or not volume.allowed for volume in verdict.volumes):
            stack.enter_context(writers.stopped(containers, deletion, verdict, say))
            verdict = _settled(deletion, verdict, judge, consent, backing_up=backing_up, say=say)
            if not verdict.allowed:
                audit.write(state, command.words, verdict, "refused")
                raise page.refusal(verdict, command, stopped=True)
        if command.resolve(containers) != deletion:
            raise Busy("what would be deleted has changed while it was judged", hint="type the same command again")
        audit.write(state, command.words, verdict, "allowed")
        stack.enter_context(_released(containers, verdict))
        command.execute()


@contextlib.contextmanager
def _released(containers: Containers, verdict: Verdict) -> Iterator[None]:
    """Without the anchors that hold these volumes; there again if nothing came of it."""
    released = anchors.release(containers, [volume.volume for volume in verdict.volumes])
    try:
        yield
    except BaseException:
        anchors.restore(containers, released)
        raise


def _mendable(verdict: Verdict) -> bool:
    return all(volume.mendable for volume in verdict.refused)


def _settled(
    deletion: Deletion,
    verdict: Verdict,
    judge: Judge,
    consent: Consent,
    *,
    backing_up: bool,
    say: Callable[[str], None],
) -> Verdict:
    """The last verdict, now that nobody writes; after a backup of what was written, if need be."""
    for attempt in range(_TRIES + 1):
        verdict = overrides.applied(judge(deletion, before=verdict, last=True))
        if verdict.allowed or not backing_up or not _mendable(verdict) or attempt == _TRIES:
            break
        for volume in verdict.refused:
            say(f"dbguard: {volume.volume}: {volume.reason}: backing up {volume.target}")
        for target in sorted({volume.target for volume in verdict.refused}):
            consent.back_up(target)
    if backing_up and verdict.allowed:
        say("\n".join(["dbguard: what will be deleted", *page.table(verdict.volumes)]))
    return verdict
