"""Can every database here be backed up, whole, and does its data survive a new container?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbguard.doctor.findings import Finding, failed, ok, warning
from dbguard.engines import ENGINES
from dbguard.model import Sighting
from dbguard.signs import is_data_folder
from dbguard.sql import missing_grant


def look(sightings: Sequence[Sighting]) -> Iterator[Finding]:
    databases = [seen for seen in sightings if seen.database]
    if not databases:
        yield warning(
            "targets",
            "no database is running here",
            hint="`dbguard discover --all` shows every container of the engine",
        )
    for seen in databases:
        about = str(seen.name or seen.container.name)
        yield _target(seen, about)
        for mount in seen.container.mounts:
            if mount.anonymous and is_data_folder(mount.destination):
                yield warning(
                    about,
                    f"its data lies in an anonymous volume, {mount.destination}: a new container gets another one",
                    hint=f"name it in the compose file: volumes: [data:{mount.destination}]",
                )


def _target(seen: Sighting, about: str) -> Finding:
    if not seen.enabled:
        return ok(about, "left out by its label dbguard.enable, or by its section")
    if seen.target is None:
        return failed(about, f"not backed up: {seen.why_not}")
    server = seen.target.server
    if server.blind_spots:
        return warning(
            about,
            f"its archives are partial: {'; '.join(server.blind_spots)}",
            hint=f"grant {server.account} what is missing, or let dbguard log in as root",
        )
    if missing := sorted(ENGINES[server.engine].exact_privileges(server) - server.privileges):
        return warning(
            about,
            "its backups may lack their exact position and the numbers of rows",
            hint=f"{missing_grant(missing, server.account)}, or let dbguard log in as root",
        )
    where = "in its container" if seen.target.programs.zstd else "here, as its container has no zstd"
    return ok(about, f"{server.engine} {server.version}, all of it can be seen; compressed {where}")
