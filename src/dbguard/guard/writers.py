"""Whoever writes into a database that is about to be deleted is stopped before the last look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dbguard.compose import Deletion
from dbguard.containers import Containers
from dbguard.discover import is_database_image
from dbguard.errors import DbguardError, NotFound
from dbguard.model import Container
from dbguard.sidecar import ROLE

Say = Callable[[str], None]


@contextlib.contextmanager
def stopped(containers: Containers, deletion: Deletion, say: Say) -> Iterator[Sequence[Container]]:
    """Those of the containers on their way out that run, and are neither a database nor dbguard. Leave it badly, and
    exactly those run again."""
    writers = [*_writers(containers, deletion)]
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


def _writers(containers: Containers, deletion: Deletion) -> Iterator[Container]:
    for container_id in deletion.containers:
        with contextlib.suppress(NotFound):
            found = containers.inspect(container_id)
            if found.running and not is_database_image(found) and ROLE not in found.labels:
                yield found
