"""Whoever writes into a database that is about to be deleted is stopped before the last look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from dbguard.compose import Deletion
from dbguard.containers import Containers
from dbguard.errors import DbguardError, NotFound
from dbguard.model import Container, Verdict
from dbguard.sidecar import ROLE

Say = Callable[[str], None]


@contextlib.contextmanager
def stopped(containers: Containers, deletion: Deletion, verdict: Verdict, say: Say) -> Iterator[Sequence[Container]]:
    """Those of the containers on their way out that run, and are neither dbguard nor the servers of the databases
    themselves. Leave it badly, and exactly those run again."""
    databases = {volume.volume for volume in verdict.volumes if volume.target}
    writers = [*_writers(containers, deletion, databases)]
    if writers:
        say(f"dbguard: stopping {', '.join(writer.name for writer in writers)}, so that nobody writes meanwhile")
    done: list[Container] = []
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            for future in [pool.submit(_stop, containers, writer, done) for writer in writers]:
                future.result()
        yield writers
    except BaseException:
        for writer in done:
            try:
                containers.go_on(writer.id)
            except DbguardError as error:
                say(f"dbguard: {writer.name} was stopped and does not start again: {error}")
        raise


def _stop(containers: Containers, writer: Container, done: list[Container]) -> None:
    done.append(writer)
    with contextlib.suppress(NotFound):
        containers.stop(writer.id)


def _writers(containers: Containers, deletion: Deletion, databases: Set[str]) -> Iterator[Container]:
    for found in containers.inspect_all(deletion.containers):
        serves = any(mount.name in databases for mount in found.mounts)
        if found.running and not serves and ROLE not in found.labels:
            yield found
