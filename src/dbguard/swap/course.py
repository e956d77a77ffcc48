"""The course of every swap: begun in a journal, loaded aside, exchanged, settled; undone when anything fails before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dbguard.connections import Connection
from dbguard.create_table import Place
from dbguard.errors import DbguardError, QueryFailed, RestoreFailed
from dbguard.loading import packet
from dbguard.sql import quoted
from dbguard.swap.journal import Journal, Trigger, exchange
from dbguard.swap.recovery import Server, alone, give_up, settle

_LOCK_WAIT = 10
"""Seconds that the exchange waits for those who use a table. All who come later wait behind it."""
_LIVE = "the new tables are live; the next restore or backup of this server makes the rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What is exchanged: tables by database, live and aside, and what goes with them."""

    tables: Mapping[str, Sequence[str]]
    triggers: Sequence[Trigger]
    grants: Sequence[str] = ()


def run(
    server: Server,
    lives: Sequence[str],
    *,
    packet_size: int | None,
    load: Callable[[Journal], None],
    what: Callable[[Journal], Exchange],
    only: Sequence[Place] | None = None,
) -> float:
    """Exchanges databases, or `only` these tables of them. Returns the seconds during which something was missing.
    Raises what `load` raises, and RestoreFailed: then the live data is as it was, and nothing else is left."""
    with alone(server) as held:
        journal = Journal.new(server.session)
        try:
            journal.begin(lives, server.target.server.identity, only)
            with packet(server.session, packet_size):
                load(journal)
            began = time.monotonic()
            _exchange(server, journal, held, what(journal))
        except BaseException as error:
            error.add_note(_aftermath(server, journal))
            raise
        try:
            settle(server, journal)
            took = time.monotonic() - began
            journal.remove()
        except BaseException as error:
            error.add_note(_LIVE)
            raise
        return took


def _exchange(server: Server, journal: Journal, held: Connection, what: Exchange) -> None:
    """By the session that ends with us: nothing of it may come true when somebody else has undone it already."""
    pairs = journal.pairs()
    for trigger in what.triggers:
        journal.note_trigger(trigger)
    for grant in what.grants:
        journal.note("grant", grant.encode())
    renames = [*exchange(pairs, what.tables), journal.turn("loading", "swapped")]
    try:
        held.query(f"SET SESSION lock_wait_timeout = {_LOCK_WAIT}")
        for name in sorted({pair.live for pair in pairs} - server.databases()):
            held.query(f"CREATE DATABASE {quoted(name)}")
            journal.note("made", name.encode())
        for pair in pairs:
            held.query(f"CREATE DATABASE {quoted(pair.old)}")
        for trigger in what.triggers:
            name = f"{quoted(trigger.database)}.{quoted(trigger.name)}"
            held.query(f"DROP TRIGGER IF EXISTS {name}", timeout=3 * _LOCK_WAIT)
        held.query(f"RENAME TABLE {', '.join(renames)}", timeout=3600)
    except QueryFailed as error:
        raise RestoreFailed(
            f"{server.target.name}: the tables could not be exchanged: {error}",
            hint="does another session use them? stop the applications, then type the same command again",
        ) from error


def _aftermath(server: Server, journal: Journal) -> str:
    """Undoes what can be undone. Says how things are then."""
    try:
        if give_up(server, journal):
            return "the live data is as it was"
        return _LIVE
    except DbguardError as error:
        return f"the next restore or backup of this server brings it to its end: {error}"
