"""What a swap is doing, on the server itself, for whoever comes after one that was cut short.

A database of its own holds it: `dbguard_swap_<token>`. The side databases are `dbguard_swap_<token>_<n>`, and what the
live ones held goes to `dbguard_swap_<token>_old_<n>`. How far it has come says the name of one table, because a
RENAME TABLE of many tables is all or nothing: the one that exchanges the tables renames this one too.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from dbguard.create_table import Place
from dbguard.sql import Asking, quoted

State = Literal["loading", "swapped", "settled", "given_up"]
"""`loading`: the live data is untouched. `swapped`: the new tables are live, views and programs may be missing.
`settled`: all is there, only the old data has to go. `given_up`: all but the live data has to go."""

_AUTOCOMMIT = "SET SESSION autocommit = 1"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """One database that is exchanged."""

    live: str
    side: str
    old: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """With the script that makes it again as it was made."""

    database: str
    name: str
    table: str
    script: str


class Journal:
    """Of one swap."""

    def __init__(self, name: str, asking: Asking) -> None:
        self.name = name
        self._asking = asking

    @classmethod
    def new(cls, asking: Asking) -> Journal:
        return cls(f"dbguard_swap_{secrets.token_hex(4)}", asking)

    def begin(self, lives: Sequence[str], identity: str, only: Sequence[Place] | None = None) -> None:
        """Before any side database is made. `only` where not whole databases are exchanged, but these tables of
        theirs."""
        self._asking.query(
            _AUTOCOMMIT,
            f"CREATE DATABASE {self.name}",
            f"CREATE TABLE {self.name}.entries (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(16), text LONGBLOB) "
            "ENGINE=InnoDB",
            self._note("live", json.dumps(lives).encode()),
            self._note("identity", identity.encode()),
            *([] if only is None else [self._note("only", json.dumps(only).encode())]),
            f"CREATE TABLE {self.name}.loading (n INT) ENGINE=InnoDB",
        )

    def pairs(self) -> list[Pair]:
        lives = json.loads(next(iter(self.entries("live")), b"[]"))
        return [Pair(live, f"{self.name}_{n}", f"{self.name}_old_{n}") for n, live in enumerate(lives)]

    def only(self) -> list[Place] | None:
        """None where whole databases are exchanged."""
        entry = next(iter(self.entries("only")), None)
        return None if entry is None else [(database, table) for database, table in json.loads(entry)]

    @property
    def identity(self) -> str:
        """Of the server that it was begun on: a replica gets the databases of a swap too, and must leave them alone."""
        return b"".join(self.entries("identity")).decode()

    def state(self) -> State | None:
        """None when it had hardly begun."""
        tables = self._asking.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{self.name}'"
        )[0]
        states: tuple[State, ...] = ("loading", "swapped", "settled", "given_up")
        return next((state for state in states if (state,) in tables), None)

    def note(self, what: str, text: bytes) -> None:
        """In one entry, or, where that is long, in several."""
        for at in range(0, len(text), _CHUNK):
            self._asking.query(_AUTOCOMMIT, self._note(what, text[at : at + _CHUNK]))

    def entries(self, what: str) -> Iterator[bytes]:
        rows = self._asking.query(f"SELECT HEX(text) FROM {self.name}.entries WHERE what = '{what}' ORDER BY n")[0]
        return (bytes.fromhex(row[0]) for row in rows)

    def turn(self, before: State, after: State) -> str:
        """For RENAME TABLE."""
        return f"{self.name}.{before} TO {self.name}.{after}"

    def advance(self, before: State, after: State) -> None:
        """Raises QueryFailed when it is not in that state."""
        self._asking.query(f"RENAME TABLE {self.turn(before, after)}")

    def note_trigger(self, trigger: Trigger) -> None:
        """One that is dropped for the exchange."""
        self.note("trigger", json.dumps(asdict(trigger)).encode())

    def triggers(self) -> list[Trigger]:
        """In the order in which they fire."""
        return [Trigger(**json.loads(entry)) for entry in self.entries("trigger")]

    def made(self) -> list[str]:
        """Live databases that were not there before."""
        return [name.decode() for name in self.entries("made")]

    def remove(self, databases: Iterable[str] = ()) -> None:
        """With these and all side databases; the journal itself goes last."""
        schemas = self._asking.query("SELECT schema_name FROM information_schema.schemata")[0]
        sides = [row[0] for row in schemas if row[0].startswith(f"{self.name}_")]
        for name in [*databases, *sides]:
            self._asking.query(f"DROP DATABASE IF EXISTS {quoted(name)}", timeout=3600)
        if state := self.state():  # it goes first: whoever finds the rest finds a journal that had hardly begun
            self._asking.query(f"DROP TABLE {self.name}.{state}")
        self._asking.query(f"DROP DATABASE IF EXISTS {self.name}")

    def _note(self, what: str, text: bytes) -> str:
        return f"INSERT INTO {self.name}.entries (what, text) VALUES ('{what}', x'{text.hex()}')"


def exchange(pairs: Sequence[Pair], tables: Mapping[str, Sequence[str]]) -> list[str]:
    """For RENAME TABLE: everything that is live moves away before anything comes, so that no name is taken, not that of
    a foreign key either."""
    moves = [(pair.live, pair.old) for pair in pairs] + [(pair.side, pair.live) for pair in pairs]
    return [
        f"{quoted(here)}.{quoted(table)} TO {quoted(there)}.{quoted(table)}"
        for here, there in moves
        for table in tables.get(here, ())
    ]
