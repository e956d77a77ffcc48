"""Is plain `docker compose` still guarded, where somebody has wanted that?"""

from __future__ import annotations

from collections.abc import Iterator

from dbguard.doctor.findings import Finding, failed, ok
from dbguard.shim.look import look
from dbguard.shim.places import Surroundings


def look_at(around: Surroundings) -> Iterator[Finding]:
    """Of this host and user. Says nothing where no shim was ever installed."""
    for found in look(around):
        if found.wrong:
            yield failed(found.program, found.text, hint=found.hint)
        elif found.state == "guarded":
            yield ok(found.program, f"guarded by {found.text}")
