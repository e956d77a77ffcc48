"""Tables that stay as they are for as long as a backup takes: others are kept from changing them, or caught at it.

A table that is emptied or rebuilt behind a dump's snapshot may be written empty, and the dump ends well (MySQL bugs
27850 and 71025).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from dbguard import sql
from dbguard.connections import LOCK_WAIT_TIMEOUT, YEAR, Asked, Connection, Sessions
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.engines.words import DdlGuard
from dbguard.errors import DbguardError, DumpFailed, QueryFailed
from dbguard.model import Target
from dbguard.sql import Asking

Mode = Literal["auto", "always", "never"]
_WAIT = 10
"""Seconds for somebody who is changing a table to come to an end; who wants to begin waits as long."""
_PULSE = 1.0
"""Seconds between two looks whether somebody must be let go on."""
_GAVE_UP = "a change of a table that had begun before the backup held up everybody: it was let go on"
_BY_DATE = """SELECT CONCAT(table_schema, '/', table_name), IFNULL(create_time, '') FROM information_schema.tables
WHERE table_type NOT IN ('VIEW', 'SYSTEM VIEW')"""
_NO_OLD_DATES = "SET SESSION /*!80000 information_schema_stats_expiry = 0, */ lock_wait_timeout = 60"
"""Of MySQL 8, which keeps them for a day. MariaDB does not know the variable, and reads no /*!50700 to /*!99999."""
_PASSING = ("mysql/", "sys/", "information_schema/", "performance_schema/")
"""Schemas whose tables come and go by themselves."""


class Held:
    """Others cannot change tables while this lives, unless `why_not` says why they can. `asking` is whom to ask what
    the tables are like; `doubts` are what could change unseen."""

    def __init__(self, session: Connection, asking: Asking, target: Target, why_not: str) -> None:
        self.asking = asking
        self.why_not = why_not
        self.doubts = _doubts(target) if why_not else ()
        self._session = session

    def check(self) -> None:
        """Raises SessionLost when the session is gone: since then everybody could change them."""
        self._session.query("DO 0")


@contextlib.contextmanager
def tables_held(containers: Containers, sessions: Sessions, target: Target, mode: Mode) -> Iterator[Held]:
    """Raises DumpFailed when they must be held (`always`) and cannot be, and when one was changed; SessionLost when
    they were not held to the end."""
    with sessions.open() as session:
        why_not = _why_not(session, target, mode)
        if why_not and mode == "always":
            raise DumpFailed(f"{target.name}: its tables cannot be kept from changing: {why_not}")
        asking = Asked(session) if session.way == "tunnel" else sql.session(containers, target)
        held = Held(session, asking, target, why_not)
        with _letting_go(sessions, session, target) if not why_not else contextlib.nullcontext():
            before = _generations(asking, target)
            yield held
            held.check()
            if changed := sorted(name for name, _ in before - _generations(asking, target)):
                more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
                raise DumpFailed(
                    f"{target.name}: tables were changed during the dump: {', '.join(changed[:3])}{more}",
                    hint="run it again when nobody changes tables, or set block_ddl = `always`",
                )


@contextlib.contextmanager
def _letting_go(sessions: Sessions, session: Connection, target: Target) -> Iterator[None]:
    """Gives the tables up when somebody for whom the lock did not wait is at his end, and keeps his table from
    everybody, us too, until we are at ours. Raises DumpFailed then."""
    guard = ENGINES[target.server.engine].ddl_guard(target.server)
    if guard is None or not guard.overtaken:
        yield
        return
    stop, gave_up, since = threading.Event(), threading.Event(), time.monotonic()
    with sessions.open() as watching:
        watching.query(f"SET SESSION wait_timeout = {YEAR}")

        def watch() -> None:
            while not stop.wait(_PULSE):
                elapsed = int(1000 * (time.monotonic() - since))
                if watching.query(guard.overtaken.format(since=elapsed)):
                    gave_up.set()
                    watching.query(f"KILL {session.number}")
                    return

        with ThreadPoolExecutor(1) as pool:
            watched = pool.submit(watch)
            try:
                yield
            except DbguardError as error:
                if gave_up.is_set():
                    raise DumpFailed(f"{target.name}: {_GAVE_UP}", hint="run it again when that has ended") from error
                raise
            finally:
                stop.set()
        watched.result()


def _why_not(session: Connection, target: Target, mode: Mode) -> str:
    """Why they are not held; empty when they are, from now on."""
    server = target.server
    guard = ENGINES[server.engine].ddl_guard(server)
    if mode == "never":
        return "block_ddl is `never`"
    if guard is None:
        return f"{server.engine} {server.version} has no statement for it"
    if missing := [privilege for privilege in guard.privileges if privilege not in server.privileges]:
        return f"{sql.missing_grant(missing, server.account)} is missing"
    if mode == "auto" and session.query(guard.bystanders):
        return f"{guard.harm} (block_ddl = `always` does it all the same)"
    return _refused(session, guard)


def _refused(session: Connection, guard: DdlGuard) -> str:
    session.query(f"SET SESSION lock_wait_timeout = {_WAIT}, wait_timeout = {YEAR}")
    try:
        for statement in guard.lock:
            session.query(statement, timeout=_WAIT + 60.0)
    except QueryFailed as error:
        if error.number != LOCK_WAIT_TIMEOUT:
            raise
        return f"somebody was changing a table for {_WAIT} seconds"
    return ""


def _generations(asking: Asking, target: Target) -> frozenset[tuple[str, str]]:
    """Which table stands behind each name: one that is emptied, rebuilt or renamed is another one."""
    question = _BY_DATE if _doubts(target) else ENGINES[target.server.engine].tables_by_id
    rows = asking.query(_NO_OLD_DATES, question, timeout=600.0)[1]
    return frozenset((name, number) for name, number in rows if _is_kept(name))


def _doubts(target: Target) -> tuple[str, ...]:
    if "PROCESS" in target.server.privileges:
        return ()
    grant = sql.missing_grant(["PROCESS"], target.server.account)
    return (f"{grant} is missing: tables that change places would not be noticed",)


def _is_kept(name: str) -> bool:
    return "/" in name and "#sql" not in name and not name.startswith(_PASSING)
