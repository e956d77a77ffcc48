"""Tells whether two states of a MySQL or MariaDB server are the same, without knowing how a backup works.

Uses Python's own library and the client inside the server's container, and nothing of dbguard: what judges a restore
must not share its mistakes. Compared are each database, each `SHOW CREATE`, the order of triggers, the state of
sequences, and all rows of all tables by a checksum over every column (invisible and generated ones too; of a
system-versioned table, the history too). Not compared is what is outside of databases, such as accounts.

    MYSQL_PWD=… python tests/compare.py save CONTAINER before.json
    MYSQL_PWD=… python tests/compare.py save CONTAINER after.json
    python tests/compare.py diff before.json after.json      # prints each difference, exits with 1 if there is one
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TypedDict

Row = list[str]


class Snapshot(TypedDict):
    """A server's content. `things` must come back exactly; `floats` is what the text of a dump cannot carry."""

    things: dict[str, object]
    floats: dict[str, str]


def snapshot(container: str, password: str) -> Snapshot:
    """Everything in a running server, read as root through the container's own client."""
    server = _Client(container, password)
    tables = _tables(server)
    things = [*_definitions(server), *_sequences(server), *_rows(server, tables)]
    return {"things": dict(things), "floats": dict(_floats(server, tables))}


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that was lost, added or changed. A FLOAT counts as the text that a dump prints for it."""
    return list(_differences(before["things"], after["things"]))


def losses(before: Snapshot, after: Snapshot) -> list[str]:
    """The FLOAT columns whose values are no longer exact: a dump prints six digits of them."""
    was, now = before["floats"], after["floats"]
    return [f"FLOAT column {name}: rounded" for name in sorted(was) if now.get(name, was[name]) != was[name]]


def _differences(before: dict[str, object], after: dict[str, object]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{name}: missing"
        elif name not in before:
            yield f"{name}: was not there before"
        elif before[name] != after[name]:
            yield f"{name}: {_shown(before[name], after[name])}"


def _shown(before: object, after: object) -> str:
    """Both values around the place where they begin to differ."""
    was, now = str(before), str(after)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(was, now, strict=False)))
    start, end = max(0, same - 40), same + 60
    return f"was …{was[start:end]!r}…, is …{now[start:end]!r}…"


# What there is, and how it was created.

_USER = "NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"
_DATABASES = f"SELECT schema_name FROM information_schema.schemata WHERE schema_name {_USER}"
_OBJECTS = f"""
SELECT table_schema, table_name, table_type, '' FROM information_schema.tables WHERE table_schema {_USER}
UNION ALL
SELECT routine_schema, routine_name, routine_type, '' FROM information_schema.routines WHERE routine_schema {_USER}
UNION ALL
SELECT trigger_schema, trigger_name, 'TRIGGER', CONCAT(event_object_table, ' ', action_order)
  FROM information_schema.triggers WHERE trigger_schema {_USER}
UNION ALL
SELECT event_schema, event_name, 'EVENT', '' FROM information_schema.events WHERE event_schema {_USER}
"""
_TABLE_KINDS = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE"}
_IMPLIED_CHARSET = re.compile(r" CHARACTER SET \w+(?= COLLATE )")


def _definitions(server: _Client) -> Iterator[tuple[str, object]]:
    """Each thing's own SHOW CREATE, with the settings that it was created under."""
    names = [("DATABASE", quoted(name), "") for (name,) in server.ask(_DATABASES)]
    for database, name, kind, place in server.ask(_OBJECTS):
        names.append((_TABLE_KINDS.get(kind, kind), f"{quoted(database)}.{quoted(name)}", place))
    answers = server.ask_each([f"SHOW CREATE {kind} {name}" for kind, name, _ in names])
    for (kind, name, place), rows in zip(names, answers, strict=True):
        yield f"{kind.lower()} {name}", [_lasting(kind, row, place) for row in rows] or "cannot be shown"


def _lasting(kind: str, row: Row, place: str) -> Row:
    """The answer without what changes by itself.

    A trigger has the time of its creation. MySQL writes a column's character set beside its collation, which implies
    it, when the statement that created the table did; and a dump does as soon as it has been loaded once.
    """
    if kind == "TRIGGER":
        return [*row[:6], place]
    return [_IMPLIED_CHARSET.sub("", text) for text in row] if kind == "TABLE" else row


_SEQUENCES = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'SEQUENCE'"


def _sequences(server: _Client) -> Iterator[tuple[str, object]]:
    names = [f"{quoted(database)}.{quoted(name)}" for database, name in server.ask(_SEQUENCES)]
    states = server.ask_each([f"SELECT * FROM {name}" for name in names])
    return ((f"state of sequence {name}", state) for name, state in zip(names, states, strict=True))


# Rows.

_SHAPES = {"geometry", "point", "linestring", "polygon", "geomcollection", "geometrycollection", "vector"}
_SHAPES |= {"multipoint", "multilinestring", "multipolygon"}


@dataclass(frozen=True)
class _Column:
    name: str
    type: str

    @property
    def digest(self) -> str:
        """SQL for a checksum of the value's bytes. MySQL 9 has no MD5() and no SHA1() any more."""
        name = quoted(self.name)
        if self.type in {"enum", "set", "bit"}:
            return f"SHA2(CAST({name} AS UNSIGNED), 256)"  # the stored number: it tells '' from a value not in the list
        if self.type in _SHAPES:
            return f"SHA2(HEX({name}), 256)"
        if self.type.endswith(("char", "text", "blob", "binary", "json")):
            return f"SHA2({name}, 256)"  # no function around it: its result might be larger than a packet
        return f"SHA2(CAST({name} AS CHAR), 256)"

    @property
    def exact_digest(self) -> str:
        """The same for a FLOAT with all its digits, of which a dump and a CAST print six."""
        return f"SHA2(CAST({quoted(self.name)} + 0e0 AS CHAR), 256)"


@dataclass
class _Table:
    name: str
    versioned: bool
    columns: list[_Column] = field(default_factory=list)

    @property
    def source(self) -> str:
        return f"{self.name} FOR SYSTEM_TIME ALL" if self.versioned else self.name

    @property
    def checksum(self) -> str:
        return self.sum_of(column.digest for column in self.columns)

    def sum_of(self, digests: Iterable[str]) -> str:
        """SQL for the number of rows and a checksum of them, in any order, that counts equal ones.

        It is the sum of the parts of each row's checksum.
        """
        row = ", ".join(f"COALESCE({digest}, '-')" for digest in digests)
        rows = f"SELECT SHA2(CONCAT_WS(',', {row}), 256) AS h FROM {self.source}"
        parts = (f"SUM(CAST(CONV(SUBSTRING(h, {at}, 15), 16, 10) AS DECIMAL(20)))" for at in (1, 16, 31, 46))
        return f"SELECT CONCAT(COUNT(*), ' rows'), CONCAT_WS('-', {', '.join(parts)}) FROM ({rows}) AS hashed"


_TABLES = f"SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema {_USER}"
_COLUMNS = f"""
SELECT table_schema, table_name, column_name, data_type, COALESCE(generation_expression, '')
  FROM information_schema.columns WHERE table_schema {_USER} ORDER BY ordinal_position
"""


def _tables(server: _Client) -> list[_Table]:
    """Joined here and not in SQL, where `T` and `t` are one table to some servers."""
    tables: dict[tuple[str, str], _Table] = {}
    for database, name, kind in server.ask(_TABLES):
        if kind in _TABLE_KINDS:
            tables[database, name] = _Table(f"{quoted(database)}.{quoted(name)}", kind == "SYSTEM VERSIONED")
    with_own_names = set()
    for database, name, column, type_, expression in server.ask(_COLUMNS):
        if table := tables.get((database, name)):
            table.columns.append(_Column(column, type_))
            if expression == "ROW START":
                with_own_names.add(table.name)
    for table in tables.values():
        if table.versioned and table.name not in with_own_names:
            table.columns += [_Column("row_start", "timestamp"), _Column("row_end", "timestamp")]
    return list(tables.values())


def _rows(server: _Client, tables: list[_Table]) -> Iterator[tuple[str, object]]:
    answers = server.ask_each([table.checksum for table in tables], strictly=True)
    return ((f"rows of {table.name}", row) for table, (row,) in zip(tables, answers, strict=True))


def _floats(server: _Client, tables: list[_Table]) -> Iterator[tuple[str, str]]:
    floats = [(table, column) for table in tables for column in table.columns if column.type == "float"]
    answers = server.ask_each([table.sum_of([column.exact_digest]) for table, column in floats], strictly=True)
    for (table, column), ((_, checksum),) in zip(floats, answers, strict=True):
        yield f"{table.name}.{quoted(column.name)}", checksum


# The client.


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_SESSION = "SET SESSION sql_mode = '', time_zone = '+00:00', sql_quote_show_create = 1;\n"
_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


class _Client:
    """The server's own client, as root, inside its container."""

    def __init__(self, container: str, password: str) -> None:
        program = 'exec "$(command -v mariadb || command -v mysql)" "$@"'
        options = ["--user=root", "--batch", "--skip-column-names", "--binary-mode", "--default-character-set=utf8mb4"]
        self._argv = ["docker", "exec", "-i", "-e", "MYSQL_PWD", container, "sh", "-c", program, "sh", *options]
        self._environment = os.environ | {"MYSQL_PWD": password}

    def ask(self, query: str) -> list[Row]:
        """The rows that one query returns."""
        return self._run(f"{_SESSION}{query};\n")

    def ask_each(self, queries: Sequence[str], *, strictly: bool = False) -> list[list[Row]]:
        """The rows of each query. A query that fails has none, or strictly, is an error."""
        marked = "".join(f"SELECT 'query {n}';\n{query};\n" for n, query in enumerate(queries))
        answers: list[list[Row]] = []
        for row in self._run(f"{_SESSION}{marked}SELECT 'query {len(queries)}';\n", *([] if strictly else ["--force"])):
            if row == [f"query {len(answers)}"]:
                answers.append([])
            else:
                answers[-1].append(row)
        if len(answers) != len(queries) + 1:
            raise RuntimeError(f"{len(queries)} queries were asked, {len(answers) - 1} were answered")
        return answers[:-1]

    def _run(self, script: str, *options: str) -> list[Row]:
        argv = [*self._argv, *options]
        text = script.encode("utf-8", "surrogateescape")
        done = subprocess.run(argv, input=text, env=self._environment, capture_output=True, timeout=300)
        if done.returncode != 0 and "--force" not in options:
            raise RuntimeError(f"the client in the container failed: {done.stderr.decode(errors='replace')[-2000:]}")
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
        return [[re.sub(r"\\(.)", _unescaped, text) for text in line.split("\t")] for line in lines]


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])


def main(arguments: list[str]) -> int:
    match arguments:
        case ["save", container, file]:
            Path(file).write_text(json.dumps(snapshot(container, os.environ["MYSQL_PWD"]), indent=1))
            return 0
        case ["diff", before_file, after_file]:
            before, after = (json.loads(Path(file).read_text()) for file in (before_file, after_file))
            found = differences(before, after)
            for line in (*found, *(f"known loss: {loss}" for loss in losses(before, after))):
                print(line)
            return 1 if found else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
