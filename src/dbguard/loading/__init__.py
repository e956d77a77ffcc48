"""What an archive holds, into a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dbguard import accounts, sql
from dbguard.accounts import Loaded
from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError
from dbguard.loading.crew import LoadCrew
from dbguard.loading.sharing import Sharing
from dbguard.model import Target
from dbguard.script import packed
from dbguard.sqldump import Piece
from dbguard.stream import unpacked

_SMALL = 4 << 20
"""Bytes of SQL that are loaded before a second session has begun."""
_MOST_SESSIONS = 8


def load_data(
    pieces: Iterable[tuple[Piece, bytes, str]], size: int, target: Target, containers: Containers, settings: Settings
) -> None:
    """A script of so many bytes, statement by statement, by clients in the container. Raises RestoreFailed at the first
    that fails, and what the script raises."""
    by_itself = 1 if size < _SMALL else min(containers.processors + 1, _MOST_SESSIONS)
    sessions = settings.load_sessions or by_itself
    with LoadCrew(target, containers, sessions, stall=settings.stall.total_seconds()) as crew:
        sharing = Sharing(crew)
        for piece, sql, what in pieces:
            sharing.take(piece, sql, what)
            crew.check()
        sharing.close()
        crew.finish()


def run_script(
    pieces: Iterable[tuple[Piece, bytes, str]], target: Target, containers: Containers, settings: Settings
) -> None:
    """Like load_data, by one session."""
    run_plain(((sql, what) for _, sql, what in pieces), target, containers, settings)


def run_plain(pieces: Iterable[tuple[bytes, str]], target: Target, containers: Containers, settings: Settings) -> None:
    """Like run_script, for SQL that may be cut anywhere, with the object that each piece is about."""
    with LoadCrew(target, containers, 1, stall=settings.stall.total_seconds()) as crew:
        [session] = crew.sessions
        for sql, what in pieces:
            session.put(sql, what)
            crew.check()
        session.fence(b";")
        crew.finish()


def run_text(text: bytes, target: Target, containers: Containers, settings: Settings) -> None:
    """Like run_script."""
    run_script([(Piece("statement", None, None, text), text, "")], target, containers, settings)


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
