"""Prove an archive: load it into a throw-away server, and compare what is there with what was saved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dbguard import __version__, comparison, sql
from dbguard.archive import Archive
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import ArchiveDamaged, NotVerified, QueryFailed, RestoreFailed
from dbguard.loading import load_accounts, load_data
from dbguard.report import Report, quiet
from dbguard.script import Script
from dbguard.sections import QuerySection
from dbguard.throwaway import WHAT_IT_MAY_TAKE, throwaway

_LOST = {None, 2006, 2013}
_SHORT = {3, 1021, 1026, 1037, 1038, 1041, 1114, 1135, 1206}
_WITHOUT_PLUGIN = {1286, 1524, 3185}
_NOT_OF_THE_ARCHIVE = _LOST | _SHORT | _WITHOUT_PLUGIN
"""Errors of a load that say nothing about what is loaded: the client was killed, or lost its server; the server is
short of disk, memory or threads; it lacks a storage engine, a plugin or a keyring that the database had.
https://dev.mysql.com/doc/mysql-errors/9.7/en/server-error-reference.html"""
_PLUGIN = "a throw-away server has the image's own plugins: verify.options can load others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What became of one archive in a server of its own. `seconds` are what its load took, as a restore will."""

    target: str
    id: str
    storage: str
    differences: tuple[str, ...]  # none: it passed
    seconds: float
    rows: int  # that were compared
    uncounted: int  # tables whose rows could not be

    @property
    def passed(self) -> bool:
        return not self.differences

    def __str__(self) -> str:
        if not self.passed:
            return f"the check of {self.id} failed: {'; '.join(self.differences)}"
        uncounted = f", {self.uncounted} tables not counted" if self.uncounted else ""
        return f"verified {self.id}: {self.rows} rows{uncounted}; to load it took {self.seconds:.1f} s"


def verify(
    archive: Archive,
    *,
    catalog: Catalog,
    containers: Containers,
    settings: Settings,
    keys: Sequence[Any] = (),
    report: Report = quiet,
) -> Check:
    """Leaves the result beside this copy of the archive. Raises NotVerified, NoKey or what the storage raises when
    nobody can say; then nothing is left."""
    started = time.monotonic()
    try:
        with throwaway(containers, archive, settings.verify) as target:
            session = sql.session(containers, target)
            names = {database.name: database.name for database in archive.databases}
            script = Script(archive, names, catalog, report, keys=keys)
            started = time.monotonic()
            load_data(script.pieces(), script.size, target, containers, settings)
            lost = load_accounts(archive, target, session, catalog, keys).failed if "accounts" in archive.blobs else ()
            took = time.monotonic() - started
            found = [
                *(f"account {failure}" for failure in lost),
                *comparison.differences(session, target.server, archive),
                *_unexpected(session, archive, settings.verify.query),
            ]
    except (RestoreFailed, ArchiveDamaged) as error:
        if isinstance(error, RestoreFailed) and error.number in _NOT_OF_THE_ARCHIVE:
            hint = _PLUGIN if error.number in _WITHOUT_PLUGIN else WHAT_IT_MAY_TAKE
            raise NotVerified(f"{archive.id} was not verified: {error}", hint=hint) from error
        found, took = [str(error)], time.monotonic() - started
    rows, uncounted = comparison.counted(archive)
    check = Check(
        target=archive.target,
        id=archive.id,
        storage=catalog.url,
        differences=tuple(found),
        seconds=took,
        rows=rows,
        uncounted=uncounted,
    )
    told = {"tool": f"dbguard {__version__}", "seconds": round(took, 1), "rows": rows, "differences": found}
    catalog.check(archive.summary, "passed" if check.passed else "failed", datetime.now(UTC), told)
    return check


def _unexpected(session: sql.Session, archive: Archive, queries: Sequence[QuerySection]) -> Iterator[str]:
    for query in queries:
        if query.target in {None, archive.target} and (why := _why_not(session, query)):
            yield f"verify.query {query.statement!r}: {why}"


def _why_not(session: sql.Session, query: QuerySection) -> str:
    try:
        rows = session.query(query.statement)[0]
    except QueryFailed as error:
        if error.number is None:  # it was not the server who refused
            raise
        return str(error)
    if not rows:
        return "no row"
    answer = rows[0][0]
    if query.equals is not None and answer != query.equals:
        return f"{answer!r} is not {query.equals!r}"
    if query.at_least is None and query.at_most is None:
        return ""
    try:
        number = float(answer)
    except ValueError:
        return f"{answer!r} is not a number"
    if query.at_least is not None and not number >= query.at_least:
        return f"{answer} is less than {query.at_least:g}"
    if query.at_most is not None and not number <= query.at_most:
        return f"{answer} is more than {query.at_most:g}"
    return ""
