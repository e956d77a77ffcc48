"""Does the engine hold the volumes that it is meant to hold?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbguard import anchors
from dbguard.containers import Containers
from dbguard.doctor.findings import Finding, failed, ok, warning
from dbguard.model import Sighting


def look(containers: Containers, sightings: Sequence[Sighting], expected: bool) -> Iterator[Finding]:
    """Anchors of the volumes here; that there is none is worth a word only where the settings ask for them."""
    wanted = anchors.wanted(sightings)
    ours = [one for one in anchors.all_of(containers) if one.locks in wanted]
    for one in ours:
        seen = wanted[str(one.locks)]
        if one.running:
            yield ok(str(seen.name), f"the engine keeps its volume {one.locks}, held by {one.name}")
        else:
            yield failed(
                str(seen.name),
                f"{one.name} does not run: `docker system prune` takes it, and then its volume {one.locks}",
                hint=f"`dbguard guard lock {one.locks}` makes it anew",
            )
    for volume in sorted(wanted.keys() - {one.locks for one in ours}) if expected else ():
        yield warning(
            str(wanted[volume].name),
            f"its volume {volume} has no anchor, and guard.anchor is on",
            hint=f"the sidecar makes it within minutes; `dbguard guard lock {volume}` at once",
        )
