"""Of a dump, single tables: each with its rows, indexes and triggers, and under the name that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from dbguard.chosen import ChosenTable
from dbguard.create_table import Place, pointed, untied
from dbguard.loading.steps import step_of
from dbguard.sql import Asking, quoted
from dbguard.sqldump import Piece, name_in, words


class Tables:
    """See script.Selection. Triggers and foreign keys of a copy are left out: they would act on live tables."""

    def __init__(self, places: Mapping[Place, Place], tables: Mapping[Place, ChosenTable]) -> None:
        """Both by database and table as they were saved. `places` says where a table is to be made now."""
        self.tied: set[Place] = set()  # whose foreign keys lead somewhere else now, or nowhere
        self.triggers: list[tuple[Place, str]] = []
        self.alters = False  # some trigger was made while its database had another character set
        self._places = places
        self._tables = tables
        self._table: Place | None = None  # the last that was made, where it is wanted
        self._database = ""  # that is in use
        self._begun = False  # a statement of rows
        self._held: list[tuple[Piece, bytes]] = []  # from an ALTER DATABASE on
        self._altered = False  # by one that is still to be taken back

    def of(self, piece: Piece) -> Iterator[tuple[Piece, bytes]]:
        step, here = step_of(piece), (piece.database or "", piece.object[1] if piece.object else "")
        match step:
            case "session" | "delimiter" if self._held:
                self._held.append((piece, piece.data))
            case "session" | "delimiter":
                yield piece, piece.data
            case "table":
                yield from self._let_go(altering=False)
                self._table = here if here in self._places else None
                yield from self._create(piece)
            case "rows" if self._table == here:
                yield piece, piece.data if self._begun else self._renamed(piece.data, here)
                self._begun = not piece.data.endswith(b";\n")
            case "keys" if self._table is not None:
                yield piece, self._renamed(piece.data, self._table)
            case "trigger":
                yield from self._trigger(piece, here[1])
            case "program" if piece.object is None and piece.data.startswith(b"ALTER DATABASE "):
                yield from self._alter(piece)
            case "program" | "use" | "database":
                yield from self._let_go(altering=False)
                self._table = None if step != "program" else self._table

    def _create(self, piece: Piece) -> Iterator[tuple[Piece, bytes]]:
        here = self._table
        if here is None:
            return
        database = self._places[here][0]
        if database != self._database:
            self._database = database
            use = f"USE {quoted(database)};\n".encode()
            yield Piece("use", database, None, use), use
        create = piece.data
        if self._tables[here].copy:
            create = untied(create)
        elif database != here[0]:
            create = pointed(create, self._other_end(here[0]))
        if create != piece.data:
            self.tied.add(here)
        yield piece, self._renamed(create, here)

    def _other_end(self, database: str) -> Callable[[str | None, str], Place]:
        def place(named: str | None, table: str) -> Place:
            here = (named or database, table)
            return self._places.get(here, here)

        return place

    def _renamed(self, data: bytes, here: Place) -> bytes:
        """The statement's first name is the table's."""
        was, now = quoted(here[1]), quoted(self._places[here][1])
        return data if was == now else data.replace(_bytes(was), _bytes(now), 1)

    def _trigger(self, piece: Piece, name: str) -> Iterator[tuple[Piece, bytes]]:
        table = self._table
        wanted = table is not None and not self._tables[table].copy and _same(trigger_table(piece.data), table[1])
        yield from self._let_go(altering=wanted)
        if wanted and table is not None:
            self.triggers.append((table, name))
            yield piece, piece.data

    def _alter(self, piece: Piece) -> Iterator[tuple[Piece, bytes]]:
        """Around a trigger that was made while its database had another character set."""
        yield from self._let_go(altering=False)
        if self._table is None:
            return
        head = f"ALTER DATABASE {quoted(self._table[0])} ".encode()
        data = f"ALTER DATABASE {quoted(self._database)} ".encode() + piece.data.removeprefix(head)
        altering = Piece("statement", self._database, None, data)
        if self._altered:
            self._altered = False
            yield altering, data
        else:
            self._held.append((altering, data))

    def _let_go(self, *, altering: bool) -> Iterator[tuple[Piece, bytes]]:
        for piece, data in self._held:
            if piece.kind != "statement" or altering:
                self._altered = self._altered or piece.kind == "statement"
                self.alters = self.alters or self._altered
                yield piece, data
        self._held = []


def defaults(asking: Asking, databases: Sequence[str]) -> Iterator[bytes]:
    """Statements that make databases what they are now: around a trigger a dump sets what they were. Not to be run
    without need: in MySQL (seen in 9.7.4) ALTER DATABASE waits for every transaction that has any table of it open."""
    rows = asking.query(
        "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata"
    )[0]
    for name, charset, collation in rows:
        if name in databases:
            yield f"ALTER DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation};\n".encode()


def trigger_table(create: bytes) -> str:
    """The name behind ON: `CREATE … TRIGGER name BEFORE INSERT ON table FOR EACH ROW`; MariaDB repeats it as its author
    wrote it."""
    said = words(create)
    for word in said:
        if word.upper() == b"TRIGGER":
            name_in(said)
            break
    for word in said:
        if word.upper() == b"ON":
            return name_in(said)
    return ""


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()  # it stands behind its table in the dump: there can be no other


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
