"""Tables that stay as they are for as long as a backup takes: others are kept from changing them, or caught at it.

A table that is emptied or rebuilt behind a dump's snapshot may be written empty, and the dump ends well (MySQL bugs
27850 and 71025).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from dbguard import sql
from dbguard.connections import Asked, Connection, Sessions
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.engines.words import DdlGuard
from dbguard.errors import DumpFailed, QueryFailed
from dbguard.model import Target
from dbguard.sql import Asking

Mode = Literal["auto", "always", "never"]
_WAIT = 10
"""Seconds for somebody who is changing a table to come to an end; who wants to begin waits as long."""
_YEAR = 365 * 86400
_LOCK_WAIT_TIMEOUT = 1205
_BY_DATE = """SELECT CONCAT(table_schema, '/', table_name), IFNULL(create_time, '') FROM information_schema.tables
WHERE table_type NOT IN ('VIEW', 'SYSTEM VIEW')"""
_NO_OLD_DATES = "SET SESSION /*!80000 information_schema_stats_expiry = 0, */ lock_wait_timeout = 60"
"""Of MySQL 8, which keeps them for a day. MariaDB does not know the variable, and reads no /*!50700 to /*!99999."""
_PASSING = ("mysql/", "sys/", "information_schema/", "performance_schema/")
"""Schemas whose tables come and go by themselves."""


class Held:
    """Others cannot change tables while this lives, unless `why_not` says why they can."""

    def __init__(self, session: Connection, why_not: str) -> None:
        self.why_not = why_not
        self._session = session

    def asking(self, containers: Containers, target: Target) -> Asking:
        """Whom to ask what the tables are like, as long as this lives."""
        return Asked(self._session) if self._session.way == "tunnel" else sql.session(containers, target)

    def check(self) -> None:
        """Raises SessionLost when the session is gone: since then everybody could change them."""
        self._session.query("DO 0")


@contextlib.contextmanager
def tables_held(sessions: Sessions, target: Target, mode: Mode) -> Iterator[Held]:
    """Raises DumpFailed when they must be held (`always`) and cannot be, SessionLost when they were not to the end."""
    with sessions.open() as session:
        why_not = _why_not(session, target, mode)
        held = Held(session, why_not)
        if why_not and mode == "always":
            raise DumpFailed(f"{target.name}: its tables cannot be kept from changing: {why_not}")
        yield held
        held.check()


def _why_not(session: Connection, target: Target, mode: Mode) -> str:
    """Why they are not held; empty when they are, from now on."""
    server = target.server
    guard = ENGINES[server.engine].ddl_guard(server)
    if mode == "never":
        return "block_ddl is `never`"
    if guard is None:
        return f"{server.engine} {server.version} has no statement for it"
    if guard.privilege not in server.privileges:
        return f"{sql.missing_grant([guard.privilege], server.account)} is missing"
    if mode == "auto" and session.query(guard.bystanders):
        return f"{guard.harm} (block_ddl = `always` does it all the same)"
    return _refused(session, guard)


def _refused(session: Connection, guard: DdlGuard) -> str:
    session.query(f"SET SESSION lock_wait_timeout = {_WAIT}, wait_timeout = {_YEAR}")
    try:
        for statement in guard.lock:
            session.query(statement, timeout=_WAIT + 60.0)
    except QueryFailed as error:
        if error.number != _LOCK_WAIT_TIMEOUT:
            raise
        return f"somebody was changing a table for {_WAIT} seconds"
    return ""


class Generations:
    """Which table stood behind each name when this was made. `doubts` say what could pass unseen."""

    def __init__(self, session: Asking, target: Target) -> None:
        engine = ENGINES[target.server.engine]
        sure = "PROCESS" in target.server.privileges
        self._question = engine.tables_by_id if sure else _BY_DATE
        grant = sql.missing_grant(["PROCESS"], target.server.account)
        self.doubts = () if sure else (f"{grant} is missing: tables that change places would not be noticed",)
        self._session = session
        self._name = target.name
        self._before = self._now()

    def check(self) -> None:
        """Raises DumpFailed when one is another table now: what the dump holds of it may be nothing."""
        if changed := sorted(name for name, _ in self._before - self._now()):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise DumpFailed(
                f"{self._name}: tables were changed during the dump: {', '.join(changed[:3])}{more}",
                hint="run it again when nobody changes tables, or set block_ddl = `always`",
            )

    def _now(self) -> frozenset[tuple[str, str]]:
        rows = self._session.query(_NO_OLD_DATES, self._question, timeout=600.0)[1]
        return frozenset((name, number) for name, number in rows if _is_kept(name))


def _is_kept(name: str) -> bool:
    return "/" in name and "#sql" not in name and not name.startswith(_PASSING)
