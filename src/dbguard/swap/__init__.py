"""Replace live databases by an archive's: loaded beside them, compared, exchanged in one short window.

Until the exchange the live data is untouched. The exchange of all tables is one RENAME TABLE, which the server does
wholly or not at all. Views, routines, triggers and events cannot be renamed: those that were there are dropped, and the
archive's are made from the journal, by us or by whoever comes after us.
"""

from __future__ import annotations

from collections.abc import Callable

from dbguard import comparison, sql
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import RestoreFailed
from dbguard.loading import load_data, run_script
from dbguard.model import Target
from dbguard.restore_plan import RestorePlan
from dbguard.swap.course import Exchange, run
from dbguard.swap.journal import Journal
from dbguard.swap.programs import Pieces, Told, elsewhere, removals, routine_grants, tables_of, trial, triggers
from dbguard.swap.recovery import Server
from dbguard.swap.room import check_room
from dbguard.swap.ties import refuse_steps, refuse_ties

Reader = Callable[[dict[str, str]], Pieces]
"""Reads the archive's databases, under other names."""


def swap(todo: RestorePlan, read: Reader, size: int, *, containers: Containers, settings: Settings) -> float:
    """`size` is the archive's, in bytes of SQL. Returns the seconds during which something was missing. Raises
    RestoreFailed and what a load raises: then the live data is as it was, and nothing else is left."""
    server = Server(sql.session(containers, todo.target), todo.target, containers, settings)
    lives = [_spelled(todo.target, name) for _, name in todo.databases]
    refuse_steps(server.session, todo.target, [saved for saved, _ in todo.databases], lives)
    refuse_ties(server.session, lives)
    check_room(server.session, todo.target, containers, lives, size)
    return run(
        server,
        lives,
        packet_size=todo.packet,
        load=lambda journal: _load(server, journal, todo, read, size),
        what=lambda journal: _exchange(server, journal),
    )


def _spelled(target: Target, name: str) -> str:
    """As the server itself writes it."""
    return name if target.server.settings.get("lower_case_table_names", "0") == "0" else name.lower()


def _load(server: Server, journal: Journal, todo: RestorePlan, read: Reader, size: int) -> None:
    """Everything but events, which would run: so that nothing can go wrong for the first time when it is too late."""
    pairs = dict(zip((saved.name for saved, _ in todo.databases), journal.pairs(), strict=True))
    sides = {saved: pair.side for saved, pair in pairs.items()}
    programs: list[Told] = []
    load_data(tables_of(read(sides), programs), size, server.target, server.containers, server.settings)
    refuse_ties(server.session, list(sides.values()))
    tables = [(sides[one.name], table) for one, _ in todo.databases for table in one.tables if table.rows is not None]
    if wrong := [*comparison.rows(server.session, server.target.server, tables)]:
        raise RestoreFailed(f"{server.target.name}: what was loaded is not what was saved: {'; '.join(wrong[:5])}")
    run_script(trial(programs, sides), server.target, server.containers, server.settings)
    server.session.execute(*removals(server.session, list(sides.values())))
    journal.note(
        "programs",
        b"".join(data for _, data, _ in elsewhere(programs, {saved: pair.live for saved, pair in pairs.items()})),
    )


def _exchange(server: Server, journal: Journal) -> Exchange:
    lives = [pair.live for pair in journal.pairs()]
    return Exchange(
        tables=server.tables(),
        triggers=[*triggers(server.session, lives)],
        grants=routine_grants(server.session, lives),
    )
