"""How a swap ends: here, or in the next command after one that was cut short."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbguard import sql
from dbguard.config import Settings
from dbguard.connections import YEAR, Connection, Sessions
from dbguard.containers import Containers
from dbguard.create_table import Place
from dbguard.errors import Busy, QueryFailed
from dbguard.loading import run_text
from dbguard.model import Target
from dbguard.sql import quoted
from dbguard.swap.journal import Journal
from dbguard.swap.programs import removals

_LOCK = "dbguard_swap"
_PATIENCE = 10
"""Seconds: the session of somebody who was killed is gone a moment later."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a swap takes place."""

    session: sql.Session
    target: Target
    containers: Containers
    settings: Settings

    def databases(self) -> set[str]:
        return {row[0] for row in self.session.query("SELECT schema_name FROM information_schema.schemata")[0]}

    def tables(self) -> Mapping[str, Sequence[str]]:
        """What can be renamed, by database."""
        found = defaultdict(list)
        question = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type NOT LIKE '%VIEW'"
        for database, name in self.session.query(question, timeout=600)[0]:
            found[database].append(name)
        return found


@contextlib.contextmanager
def alone(server: Server) -> Iterator[Connection]:
    """One swap at a time on a server, whoever makes it, and wherever. Yields the session that holds the lock: what it
    does on the server ends with us. Raises Busy."""
    with Sessions(server.containers, server.target).open() as held:
        held.query(f"SET SESSION wait_timeout = {YEAR}")
        if held.query(f"SELECT GET_LOCK('{_LOCK}', {_PATIENCE})", timeout=60) != [("1",)]:
            raise Busy(f"{server.target.name}: somebody else is replacing its data right now", hint="try again later")
        yield held


def recover(target: Target, containers: Containers, settings: Settings) -> list[str]:
    """Ends what was cut short; says of each what became of it. Raises Busy while somebody is at it."""
    server = Server(sql.session(containers, target), target, containers, settings)
    with alone(server):
        journals = [Journal(name, server.session) for name in target.server.unfinished]
        return [
            _recover(server, one) for one in journals if one.state() is None or one.identity == target.server.identity
        ]


def _recover(server: Server, journal: Journal) -> str:
    if journal.state() in {"swapped", "settled"} or not give_up(server, journal):
        settle(server, journal)
        journal.remove()
        return "a restore that was cut short has been finished: its data is there"
    return "a restore that was cut short has been undone: the data is as it was"


def give_up(server: Server, journal: Journal) -> bool:
    """False when it is too late: the new tables are live."""
    state = journal.state()
    if state is None:
        journal.remove()
        return True
    if state == "loading":
        try:
            journal.advance("loading", "given_up")  # whatever still waits on the server is too late from here on
        except QueryFailed:
            if journal.state() == "swapped":
                return False
            raise
    _bring_back_triggers(server, journal)
    tables = server.tables()
    journal.remove([name for name in journal.made() if not tables.get(name)])
    return True


def _bring_back_triggers(server: Server, journal: Journal) -> None:
    """Of a table that misses any: all, as they fire in the order in which they were made."""
    present = server.session.query("SELECT trigger_schema, trigger_name FROM information_schema.triggers")[0]
    dropped = journal.triggers()
    tables = {(one.database, one.table) for one in dropped if (one.database, one.name) not in present}
    again = [one for one in dropped if (one.database, one.table) in tables]
    server.session.execute(*(f"DROP TRIGGER IF EXISTS {quoted(one.database)}.{quoted(one.name)}" for one in again))
    run_text("".join(one.script for one in again).encode(), server.target, server.containers, server.settings)


def settle(server: Server, journal: Journal) -> None:
    """Of what was there only the old tables are left, and all that belongs to the new ones is made."""
    if journal.state() == "settled":
        return
    pairs = journal.pairs()
    only = journal.only()
    server.session.execute(*_removals(server, [pair.live for pair in pairs], only))
    sides = server.session.query(
        "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata"
    )[0]
    defaults = {name: f"CHARACTER SET {charset} COLLATE {collation}" for name, charset, collation in sides}
    changed = [pair for pair in pairs if only is None or pair.live in journal.made()]
    server.session.execute(*(f"ALTER DATABASE {quoted(pair.live)} {defaults[pair.side]}" for pair in changed))
    run_text(b"".join(journal.entries("programs")), server.target, server.containers, server.settings)
    server.session.failures([grant.decode() for grant in journal.entries("grant")])  # of routines that are no more
    journal.advance("swapped", "settled")


def _removals(server: Server, lives: Sequence[str], only: Sequence[Place] | None) -> list[str]:
    """What a settling that was cut short has made goes too: all is made again."""
    if only is None:
        return removals(server.session, lives)
    found = server.session.query(
        "SELECT trigger_schema, trigger_name, event_object_table FROM information_schema.triggers"
    )[0]
    return [
        f"DROP TRIGGER IF EXISTS {quoted(schema)}.{quoted(name)}"
        for schema, name, table in found
        if (schema, table) in only
    ]
