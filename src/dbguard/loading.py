"""What an archive holds, into a server."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from dbguard import accounts, sql
from dbguard.accounts import Loaded
from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import DbguardError, ExecFailed, RestoreFailed
from dbguard.model import Target
from dbguard.script import Script, packed
from dbguard.stream import unpacked


def load_data(script: Script, target: Target, containers: Containers, *, stall: float) -> None:
    """Statement by statement, by the client in the container. Raises RestoreFailed at the first that fails, and what
    the script raises."""
    argv = ENGINES[target.server.engine].client(target.programs.client, target.server.socket)
    command = Command(argv=argv, login=target.login, feed=True)
    fence = f"fence-{command.tag}"
    said = b""
    try:
        with containers.start(target.container.id, command, stall=stall) as process:
            for data in process.output(itertools.chain(script, [f"SELECT '{fence}';\n".encode()])):
                said = (said + data)[-len(fence) - 1 :]
    except ExecFailed as error:
        place = script.place(str(error))
        where = f", in {place}" if place else ""
        hint = "the load stopped at this statement" if place else "did the server stop? `docker logs` of it may say why"
        number, _ = sql.server_error(str(error))
        raise RestoreFailed(f"{target.name}: {error}{where}", hint=hint, number=number) from error
    if said != f"{fence}\n".encode():  # an input that was cut looks to the client like the end of the script
        raise RestoreFailed(f"{target.name}: the server did not see the whole script: its input was cut")


def load_accounts(
    archive: Archive, target: Target, session: sql.Session, catalog: Catalog, keys: Sequence[Any]
) -> Loaded:
    """After the data: no server grants a right on a table that is not there."""
    plain = unpacked(packed(catalog, archive, archive.blobs["accounts"], keys))
    return accounts.load(session, target.server, b"".join(plain).decode())


@contextlib.contextmanager
def packet(session: sql.Session, size: int | None) -> Iterator[None]:
    """Lets the server take statements of so many bytes for the time of a load, where it would not."""
    if size is None:
        yield
        return
    before = session.query("SELECT @@GLOBAL.max_allowed_packet")[0][0][0]
    session.execute(f"SET GLOBAL max_allowed_packet = {size}")
    try:
        yield
    finally:
        with contextlib.suppress(DbguardError):
            session.execute(f"SET GLOBAL max_allowed_packet = {int(before)}")
