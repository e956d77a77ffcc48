"""A checksum over all rows of a table, in whatever order: two servers of one version that hold the same say the same.

Each row's columns are hashed with SHA-256, and the first 64 bits of all rows are added up: unlike with XOR, two rows
that are the same do not cancel out. FLOAT is taken as the text that a dump writes of it, and numbers with a fraction
inside JSON are left out: neither comes back bit by bit.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dbguard.engines.mysql import version_number
from dbguard.model import Server
from dbguard.sql import Asking, quoted

NEUTRAL = "SET SESSION time_zone = '+00:00', sql_mode = ''"
"""For the session that asks: what it is like must not be seen in the answer."""
_COLUMNS = (
    "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
    "WHERE IFNULL(generation_expression, '') NOT IN ('ROW START', 'ROW END') ORDER BY 1, 2, ordinal_position"
)
_HUGE = {"mediumtext", "longtext", "mediumblob", "longblob"}
"""Each hashed by itself: what CONCAT_WS gives is NULL when it is longer than max_allowed_packet."""
_BITS = {"bit", "vector", "geometry", "point", "linestring", "polygon", "geomcollection", "geometrycollection",
         "multipoint", "multilinestring", "multipolygon"}  # fmt: skip
_FRACTIONS = "-?[0-9]+([.][0-9]+([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"

Columns = Mapping[tuple[str, str], Sequence[tuple[str, str]]]
"""By database and table: name and type of each column."""


def columns(asking: Asking) -> Columns:
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for schema, table, name, kind in asking.query(_COLUMNS, timeout=600.0)[0]:
        found[schema, table].append((name, kind.lower()))
    return found


def statement(server: Server, source: str, of: Sequence[tuple[str, str]]) -> str:
    """Its one row is for `checksum`; `source` stands behind FROM."""
    values = ", ".join(_value(server, quoted(name), kind) for name, kind in of)
    nulls = ", ".join(f"ISNULL({quoted(name)})" for name, _ in of)
    row = f"SHA2(CONCAT_WS('#', {values}, CONCAT({nulls})), 256)"
    return f"SELECT COUNT(*), SUM(CAST(CONV(LEFT({row}, 16), 16, 10) AS DECIMAL(20))) FROM {source}"


def checksum(row: Sequence[str]) -> tuple[int, str]:
    """Number of rows, and 32 hexadecimal digits."""
    rows, total = row
    return int(rows), hashlib.sha256(f"{rows}:{total}".encode()).hexdigest()[:32]


def _value(server: Server, name: str, kind: str) -> str:
    if kind == "json":  # of MySQL: MariaDB's is a text
        text = f"CAST({name} AS CHAR CHARACTER SET utf8mb4)"
        old = version_number(server.version) < (8, 0)
        return f"JSON_LENGTH({name})" if old else f"REGEXP_REPLACE({text}, '{_FRACTIONS}', '~')"
    if kind in _HUGE:
        return f"SHA2({name}, 256)"
    if kind in _BITS:
        return f"HEX({name})"
    return f"CAST({name} AS {'CHAR' if kind in {'float', 'double'} else 'BINARY'})"
