"""Look for what could go wrong, before it does. Each look answers for itself; none stops the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.doctor import leftovers, locks, places, targets
from dbguard.doctor.findings import Finding, failed, ok, warning
from dbguard.encryption import recipients
from dbguard.errors import DbguardError
from dbguard.model import Sighting

_OLDEST_ENGINE = (20, 10)


def examine(
    containers: Containers,
    sightings: Sequence[Sighting],
    catalogs: Sequence[Catalog],
    settings: Settings,
    *,
    clean: bool,
) -> Iterator[Finding]:
    """Everything worth knowing, good and bad. With `clean`, what nobody needs any more is removed."""
    yield from _engine(containers)
    yield from targets.look(sightings)
    for catalog in catalogs:
        yield from _guarded(catalog.url, partial(places.look, containers, sightings, catalog))
        yield from _guarded(catalog.url, partial(leftovers.in_storage, catalog, clean))
    yield from _guarded("encryption", partial(_encryption, settings))
    for seen in sightings:
        if seen.target is not None:
            yield from _guarded(
                str(seen.name), partial(leftovers.in_container, containers, seen.target, settings.state, clean)
            )
    yield from _guarded("anchors", partial(locks.look, containers, sightings, settings.guard.anchor))
    yield from _guarded("throw-away containers", partial(leftovers.throwaways, containers, settings.state, clean))
    yield from _guarded("onlookers", partial(leftovers.onlookers, containers, settings.state, clean))


def _guarded(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except DbguardError as error:
        yield failed(about, str(error), hint=error.hint)


def _engine(containers: Containers) -> Iterator[Finding]:
    numbers = tuple(int(number) for number in re.findall(r"\d+", containers.engine_version)[:2])
    text = f"Docker Engine {containers.engine_version} at {containers.address}"
    yield ok("engine", text) if numbers >= _OLDEST_ENGINE else warning("engine", f"{text}: older than any tested")
    if not containers.by_socket:
        yield warning(
            "engine",
            "it is reached over the network, perhaps through a proxy: one that ends silent connections ends a dump",
            hint="its timeouts must be longer than `stall`; it must let exec and its half-closed streams through",
        )


def _encryption(settings: Settings) -> Iterator[Finding]:
    keys = recipients(settings.recipients, settings.recipients_file)
    if keys is None:
        yield ok("encryption", "archives are not encrypted")
    elif len(keys.names) == 1:
        yield warning(
            "encryption",
            "one key opens the archives: with it they are lost",
            hint="add a second recipient whose private key lies elsewhere, on paper for instance",
        )
    else:
        yield ok("encryption", f"each of {len(keys.names)} keys opens the archives")
