"""Whether a server's disk has room for a second copy of its data."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.create_table import Place
from dbguard.errors import RestoreFailed
from dbguard.model import Login, Target
from dbguard.sql import Asking
from dbguard.swap.ties import IN_PLACE

_MARGIN = 64 << 20


def check_room(
    asking: Asking,
    target: Target,
    containers: Containers,
    databases: Sequence[str],
    plain: int,
    only: Collection[Place] | None = None,
) -> None:
    """Of `databases` that are live, or `only` these tables of them. `plain` is what is to be loaded, in bytes of SQL:
    with its indexes it takes about as much on disk, and what is live now says more where that is larger. Raises
    RestoreFailed."""
    question = "SELECT table_schema, table_name, data_length + index_length FROM information_schema.tables"
    live = sum(
        int(size)
        for database, table, size in asking.query(question, timeout=600)[0]
        if database in databases and (only is None or (database, table) in only) and size.isdecimal()
    )
    logged = target.server.settings.get("log_bin") in {"ON", "1"}
    needed = max(plain, live) * (2 if logged else 1) + _MARGIN  # the binary log holds it once more
    command = Command(argv=("df", "-Pk", target.server.datadir), login=Login())
    free = int(containers.run(target.container.id, command).stdout.split()[-3]) << 10
    if free < needed:
        raise RestoreFailed(
            f"{target.name}: the database's disk has {free >> 20} MiB left, and a load beside what is there takes "
            f"about {needed >> 20} MiB",
            hint=IN_PLACE,
        )
