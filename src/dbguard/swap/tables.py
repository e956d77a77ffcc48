"""Exchange single tables: everything else in their databases goes on as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from dbguard import comparison, sql
from dbguard.archive import Database
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.create_table import Place
from dbguard.errors import RestoreFailed
from dbguard.loading import load_data, run_script
from dbguard.loading.part import Tables, defaults
from dbguard.script import creation
from dbguard.swap.course import Exchange, run
from dbguard.swap.journal import Journal
from dbguard.swap.programs import Pieces, Told, elsewhere, removals, tables_of, trial, triggers
from dbguard.swap.recovery import Server
from dbguard.swap.room import check_room
from dbguard.swap.ties import IN_PLACE, orphans, refuse_children, refuse_steps
from dbguard.tables_plan import TablesPlan, spelled

Reader = Callable[[Tables], Pieces]
"""Reads these tables of the archive."""


def swap_tables(todo: TablesPlan, read: Reader, size: int, *, containers: Containers, settings: Settings) -> float:
    """See swap.swap."""
    server = Server(sql.session(containers, todo.target), todo.target, containers, settings)
    places = {one.saved: spelled(todo.target, one.to) for one in todo.tables}
    only = [*places.values()]
    lives = sorted({database for database, _ in only})
    coming = [_with_only(todo, name) for name in {one.database.name for one in todo.tables}]
    refuse_steps(server.session, todo.target, coming, lives, only)
    refuse_children(server.session, only)
    check_room(server.session, todo.target, containers, lives, 0, only)
    return run(
        server,
        lives,
        packet_size=todo.packet,
        load=lambda journal: _load(server, journal, todo, read, size),
        what=lambda journal: _exchange(server, journal),
        only=only,
    )


def _with_only(todo: TablesPlan, name: str) -> Database:
    chosen = [one for one in todo.tables if one.database.name == name]
    return replace(chosen[0].database, tables=tuple(one.table for one in chosen))


def _load(server: Server, journal: Journal, todo: TablesPlan, read: Reader, size: int) -> None:
    sides = {pair.live: pair.side for pair in journal.pairs()}
    to = {one.saved: spelled(todo.target, one.to) for one in todo.tables}
    aside = {saved: (sides[database], table) for saved, (database, table) in to.items()}
    makings = {sides[to[one.saved][0]]: one.database for one in reversed(todo.tables)}
    server.session.execute(*(creation(saved, side) for side, saved in makings.items()))
    selection = Tables(aside, {one.saved: one for one in todo.tables})
    programs: list[Told] = []
    load_data(tables_of(read(selection), programs), size, server.target, server.containers, server.settings)
    wrong = [
        *comparison.tables(server.session, server.target.server, todo.archive, aside, tied=selection.tied),
        *orphans(server.session, [*aside.values()]),
    ]
    if wrong:
        shown = "; ".join(wrong[:5])
        for live, side in sides.items():
            shown = shown.replace(f"{side}.", f"{live}.")
        raise RestoreFailed(f"{server.target.name}: as it was saved it does not fit here: {shown}", hint=IN_PLACE)
    _refuse_namesakes(server, {(to[table][0], name) for table, name in selection.triggers}, {*to.values()})
    homes = {saved[0]: aside[saved][0] for saved, _ in selection.triggers}
    run_script(trial(programs, homes), server.target, server.containers, server.settings)
    server.session.execute(*removals(server.session, [*sides.values()]))
    made = elsewhere(programs, {side: live for live, side in sides.items()})
    after = defaults(server.session, [*sides]) if selection.alters else ()
    journal.note("programs", b"".join([*(data for _, data, _ in made), *after]))


def _refuse_namesakes(server: Server, coming: Collection[Place], only: Collection[Place]) -> None:
    """Names of triggers exist once in a database. Raises RestoreFailed."""
    question = "SELECT trigger_schema, trigger_name, event_object_table FROM information_schema.triggers"
    for schema, name, table in server.session.query(question)[0]:
        if (schema, name) in coming and (schema, table) not in only:
            raise RestoreFailed(
                f"{server.target.name}: trigger {schema}.{name} was saved with another table than {schema}.{table}, "
                "which has it now",
                hint=f"restore {schema}.{table} too, with another --table, or drop that trigger",
            )


def _exchange(server: Server, journal: Journal) -> Exchange:
    pairs, only, present = journal.pairs(), journal.only() or [], server.tables()
    wanted = {
        pair.live: [table for table in present.get(pair.live, ()) if (pair.live, table) in only] for pair in pairs
    }
    lives = [pair.live for pair in pairs]
    return Exchange(
        tables={**wanted, **{pair.side: present.get(pair.side, ()) for pair in pairs}},
        triggers=[one for one in triggers(server.session, lives) if (one.database, one.table) in only],
    )
