"""Random schemas: hypothesis builds tables of every type, their keys, rows at the edges, views, triggers and programs.

A server may refuse a statement of them: a key that is too long, a row that is there already, a character that a
charset lacks. So a script runs to its end whatever fails, and what the server has then is the schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st

from tests.compare import quoted

Kind = Literal["number", "text", "bytes", "shape", "json", "other"]
"""What decides which keys a column can have."""
END = "$end$"

NAMES = (
    "a",
    "B",
    "id",
    "select",
    "a b",
    "it's",
    '"q"',
    "b`t",
    "semi;",
    "-- c",
    "/*!c*/",
    "#",
    "%s",
    "back\\",
    "é",
    "表ソ",
)
"""None ends with a blank or has a character beyond the first 65,536: servers take no such name."""
TEXTS = (
    "", " ", "a", "A ", "it's", '"q"', "`", "\\", "\\'", "a\\", "\n", "\r\n", "\t", "\x1a", "%_", "NULL", "0", "é", "ß",
    "❤", "😀", ";\n", ";;", "-- x", "#", "/*!50003 */", "*/", "\nDELIMITER ;\n", "表ソ", "ソ'", "\0", "Dump completed",
)  # fmt: skip
CHARSETS: Mapping[str, Sequence[str]] = {
    "utf8mb4": ("utf8mb4_bin", "utf8mb4_unicode_ci", "utf8mb4_general_ci", "utf8mb4_unicode_520_ci"),
    "utf8mb3": ("utf8mb3_bin", "utf8mb3_general_ci"),
    "latin1": ("latin1_bin", "latin1_swedish_ci", "latin1_german2_ci"),
    "ascii": ("ascii_bin", "ascii_general_ci"),
    "cp1251": ("cp1251_bin", "cp1251_general_ci"),
    "sjis": ("sjis_bin", "sjis_japanese_ci"),  # a backslash may be the second byte of a character
    "gbk": ("gbk_bin", "gbk_chinese_ci"),
    "utf16": ("utf16_bin", "utf16_unicode_ci"),
    "utf32": ("utf32_general_ci",),
}
BYTES = ("", "00", "5c", "27", "0a", "ff00275c", "3b0a", "1a", "f09f9880", "0d0a2d2d20")
DATES = ("'0000-00-00'", "'2024-00-00'", "'2024-02-29'", "'1000-01-01'", "'9999-12-31'")
MOMENTS = (*(f"'{date[1:-1]} 23:59:59.999999'" for date in DATES), "'2024-03-31 02:30:00.000001'")
STAMPS = ("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-10-27 02:30:00.123456'")
TIMES = ("'-838:59:59'", "'838:59:59'", "'00:00:00.000001'", "'00:00:00'")
JSONS = (
    '{"a": [1, -2.5, "it\'s", null, true]}',
    '"é😀\\n\\"\\\\"',
    "[]",
    "{}",
    '{"": {"b;": "`"}}',
    "9007199254740993",
)
SHAPES = ("POINT(0 0)", "POINT(-1.5 1e300)", "LINESTRING(0 0,1 1,2 0.1)", "POLYGON((0 0,10 0,10 10,0 0))")
MORE_SHAPES = ("MULTIPOINT((1 2),(3 4))", "GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))")
MEMBERS = "'a', 'it''s', '\"q\"', 'b\\\\s', 'new\\nline', 'é', '', ';'"


@dataclass(frozen=True, kw_only=True)
class Type:
    sql: str
    kind: Kind = "number"
    values: tuple[str, ...]
    default: bool = True  # it can have a constant one

    @property
    def part(self) -> str:
        """What of it a key can hold."""
        short = self.sql.startswith(("CHAR", "VARCHAR", "BINARY", "VARBINARY"))
        return "(3)" if self.kind in {"text", "bytes"} and not short else ""


def literal(text: str) -> str:
    return f"_utf8mb4 x'{text.encode().hex()}'"


def escaped(text: str) -> str:
    """For a place that takes no introducer."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "") + "'"


def _integers() -> list[Type]:
    found = []
    for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)):
        half = 2 ** (bits - 1)
        found.append(Type(sql=name, values=(str(-half), str(half - 1), "0", "-1")))
        found.append(Type(sql=f"{name} UNSIGNED", values=("0", "1", str(2 * half - 1))))
    return [*found, Type(sql="INT(7) ZEROFILL", values=("0", "42", "9999999")), Type(sql="BOOLEAN", values=("0", "1"))]


def _texts() -> list[Type]:
    values = tuple(map(literal, TEXTS))
    short = [Type(sql=sql, kind="text", values=values) for sql in ("CHAR(9)", "VARCHAR(30)", "VARCHAR(300)")]
    long = [
        Type(sql=f"{size}TEXT", kind="text", values=values, default=False) for size in ("TINY", "", "MEDIUM", "LONG")
    ]
    return short + long


def _bytes() -> list[Type]:
    values = tuple(f"x'{text}'" for text in BYTES)
    short = [Type(sql=sql, kind="bytes", values=values) for sql in ("BINARY(3)", "VARBINARY(40)")]
    long = [
        Type(sql=f"{size}BLOB", kind="bytes", values=values, default=False) for size in ("TINY", "", "MEDIUM", "LONG")
    ]
    return short + long


def _shapes() -> list[Type]:
    every = tuple(f"ST_GeomFromText('{shape}')" for shape in (*SHAPES, *MORE_SHAPES))
    names = {"GEOMETRY": every, "POINT": every[:2], "LINESTRING": every[2:3], "POLYGON": every[3:4]}
    return [Type(sql=name, kind="shape", values=values, default=False) for name, values in names.items()]


TYPES = (
    *_integers(),
    Type(sql="DECIMAL(65,30)", values=("9" * 35 + "." + "9" * 30, "-0." + "0" * 29 + "1", "0")),
    Type(sql="DECIMAL(10,2) UNSIGNED", values=("99999999.99", "0.01", "0")),
    Type(sql="DOUBLE", values=("1.7976931348623157e308", "2.2250738585072014e-308", "0.1", "-1e17", "0")),
    Type(sql="FLOAT", values=("0", "-1.5", "0.25", "1024")),
    *(Type(sql=f"BIT({bits})", values=(f"b'{'1' * bits}'", "b'0'", f"b'{'01' * bits}'")) for bits in (1, 7, 64)),
    Type(sql="DATE", values=DATES),
    Type(sql="TIME", values=TIMES),
    Type(sql="TIME(6)", values=TIMES),
    Type(sql="DATETIME", values=MOMENTS),
    Type(sql="DATETIME(6)", values=MOMENTS),
    Type(sql="TIMESTAMP NULL", values=STAMPS),
    Type(sql="TIMESTAMP(3) NULL", values=STAMPS),
    Type(sql="YEAR", values=("0", "1901", "2155")),
    Type(sql=f"ENUM({MEMBERS})", values=("1", "'it''s'", "'b\\\\s'", "'new\\nline'", "'not one of them'", "''")),
    Type(sql=f"SET({MEMBERS})", values=("0", "1", "255", "'a,it''s'", "'é'")),
    *_texts(),
    *_texts(),  # the most usual ones come more often
    *_bytes(),
    Type(sql="JSON", kind="json", values=tuple(map(escaped, JSONS)), default=False),
    *_shapes(),
)
OWN_TYPES: Mapping[str, tuple[Type, ...]] = {
    "mysql": (
        Type(sql="POINT SRID 4326", kind="shape", values=("ST_GeomFromText('POINT(48.2 16.4)', 4326)",), default=False),
        Type(sql="VECTOR(2)", kind="other", values=("TO_VECTOR('[1, -2.5]')",), default=False),
    ),
    "mariadb": (
        Type(sql="UUID", kind="other", values=("'123e4567-e89b-12d3-a456-426655440000'",)),
        Type(sql="INET6", kind="other", values=("'::'", "'2001:db8::ff00:42:8329'")),
        Type(sql="INET4", kind="other", values=("'0.0.0.0'", "'255.255.255.255'")),
        Type(sql="VARCHAR(90) COMPRESSED", kind="json", values=tuple(map(literal, TEXTS)), default=False),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: Type
    rest: str = ""
    computed: bool = False

    @property
    def sql(self) -> str:
        return f"{quoted(self.name)} {self.type.sql}{self.rest}"


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    engine: str

    @property
    def filled(self) -> list[Column]:
        return [column for column in self.columns if not column.computed]


@dataclass(frozen=True, kw_only=True)
class Schema:
    name: str
    script: str


def _named(draw: st.DrawFn, number: int) -> str:
    return f"{draw(st.sampled_from(NAMES))}{number}"


def _one_of(draw: st.DrawFn, *choices: str) -> str:
    return draw(st.sampled_from(choices))


def _chance(draw: st.DrawFn, times: int) -> bool:
    """One in so many."""
    return draw(st.integers(1, times)) == times


def _column(draw: st.DrawFn, number: int, family: str) -> Column:
    one = draw(st.sampled_from((*TYPES, *OWN_TYPES[family])))
    rest = ""
    if one.kind == "text":
        charset = _one_of(draw, *CHARSETS)
        rest = f" CHARACTER SET {charset} COLLATE {_one_of(draw, *CHARSETS[charset])}"
    if one.kind == "shape":
        rest = _one_of(draw, "", " NOT NULL")
    elif one.default and _chance(draw, 4):
        values = [value for value in one.values if not value.startswith("_")] or ["'it''s \\\\ ;'"]
        rest += f" DEFAULT {_one_of(draw, *values)}"
    elif "NULL" not in one.sql:
        rest += _one_of(draw, "", "", " NOT NULL")
    if _chance(draw, 5):
        rest += f" COMMENT {escaped(_one_of(draw, *TEXTS))}"
    if _chance(draw, 12):
        rest += " INVISIBLE" + (" DEFAULT NULL" if "NOT NULL" in rest and family == "mariadb" else "")
    return Column(name=_named(draw, number), type=one, rest=rest)


def _computed(draw: st.DrawFn, number: int, of: Column) -> Column:
    source = quoted(of.name)
    number_of = Type(sql="INT", values=())
    hexes = Type(sql="VARCHAR(90) CHARACTER SET latin1", kind="text", values=())
    one, sql = draw(
        st.sampled_from([(number_of, f"({source} IS NULL)"), (hexes, f"(CONCAT(LEFT(HEX({source}), 60), ';\\'`'))")])
    )
    rest = f" GENERATED ALWAYS AS {sql} {_one_of(draw, 'VIRTUAL', 'STORED')}"
    return Column(name=_named(draw, number), type=one, rest=rest, computed=True)


def _table(draw: st.DrawFn, number: int, family: str, engines: Sequence[str]) -> Table:
    columns = [_column(draw, n, family) for n in range(1, draw(st.integers(2, 7)))]
    if _chance(draw, 3):
        of = draw(st.sampled_from(columns))
        columns.append(_computed(draw, len(columns) + 1, of))
    key = Column(
        name="id", type=Type(sql="INT", values=()), rest=_one_of(draw, " NOT NULL AUTO_INCREMENT", " NOT NULL")
    )
    return Table(name=_named(draw, number), columns=(key, *columns), engine=_one_of(draw, *engines))


def _create(draw: st.DrawFn, table: Table) -> str:
    options = [f"ENGINE={table.engine}"]
    if _chance(draw, 4):
        options.append(f"COMMENT={escaped(_one_of(draw, *TEXTS))}")
    if _chance(draw, 4):
        options.append(f"AUTO_INCREMENT={draw(st.integers(1, 2**31))}")
    if _chance(draw, 5):
        options.append(_one_of(draw, "ROW_FORMAT=COMPRESSED", "ROW_FORMAT=REDUNDANT", "STATS_PERSISTENT=0"))
    if _chance(draw, 8):
        options.append(_one_of(draw, "PARTITION BY HASH (id) PARTITIONS 3", "PARTITION BY KEY (id) PARTITIONS 2"))
    columns = ",\n  ".join(column.sql for column in table.columns)
    return f"CREATE TABLE {quoted(table.name)} (\n  {columns},\n  PRIMARY KEY (id)\n) {' '.join(options)};\n"


def _key(draw: st.DrawFn, number: int, table: Table, family: str) -> str:
    column = draw(st.sampled_from(table.columns[1:]))
    name, of = quoted(_named(draw, number)), quoted(column.name)
    kind = column.type.kind
    if kind == "shape":
        key = f"SPATIAL KEY {name} ({of})"
    elif kind == "text" and _chance(draw, 3):
        key = f"FULLTEXT KEY {name} ({of})"
    elif kind == "json":
        key = f"KEY {name} ((CAST({of} AS CHAR(20))), id)" if family == "mysql" else f"KEY {name} (id)"
    else:
        parts = [f"{of}{column.type.part}{_one_of(draw, '', ' DESC')}"]
        if _chance(draw, 2):
            parts.insert(draw(st.integers(0, 1)), _one_of(draw, "id", "id DESC"))
        key = f"{_one_of(draw, 'KEY', 'KEY', 'UNIQUE KEY')} {name} ({', '.join(parts)})"
        key += _one_of(draw, "", "", f" COMMENT {escaped(_one_of(draw, *TEXTS))}")
    return f"ALTER TABLE {quoted(table.name)} ADD {key};\n"


def _foreign_key(draw: st.DrawFn, number: int, table: Table, parents: Sequence[Table]) -> str:
    parent = quoted(draw(st.sampled_from(parents)).name)
    name, rule = (
        quoted(_named(draw, number)),
        _one_of(draw, "", "ON DELETE CASCADE", "ON DELETE SET NULL ON UPDATE CASCADE"),
    )
    add = f"ADD COLUMN parent{number} INT, ADD CONSTRAINT {name} FOREIGN KEY (parent{number}) REFERENCES {parent} (id)"
    child = quoted(table.name)
    return f"ALTER TABLE {child} {add} {rule};\nUPDATE IGNORE {child} SET parent{number} = id;\n"


def _rows(draw: st.DrawFn, table: Table) -> str:
    names = ", ".join(quoted(column.name) for column in table.filled)
    rows = []
    for number in range(draw(st.integers(0, 5))):
        values = [_one_of(draw, *column.type.values, "NULL") for column in table.filled[1:]]
        key = _one_of(draw, str(number + 1), "-2147483648", "2147483647", "0")
        rows.append(f"INSERT IGNORE INTO {quoted(table.name)} ({names}) VALUES ({', '.join([key, *values])});\n")
    return "".join(rows)


def _grown(table: Table) -> str:
    """With so much in it that a load with several sessions shares it out, and adds its indexes afterwards."""
    name = quoted(table.name)
    rows = "".join(
        f"INSERT IGNORE INTO {name} (id, filler) VALUES ({7 + n}, REPEAT('{n};\\'', 250000));\n" for n in range(4)
    )
    return f"ALTER TABLE {name} ADD filler LONGTEXT CHARACTER SET latin1;\n{rows}"


def _view(draw: st.DrawFn, number: int, sources: Sequence[tuple[str, str]]) -> str:
    algorithm = _one_of(draw, "UNDEFINED", "MERGE", "TEMPTABLE")
    source, column = draw(st.sampled_from(sources))
    alias, text, name = _named(draw, number), _one_of(draw, *TEXTS), quoted(f"view {_named(draw, number)}")
    return (
        f"CREATE ALGORITHM = {algorithm} SQL SECURITY {_one_of(draw, 'DEFINER', 'INVOKER')} VIEW {name} AS "
        f"SELECT {quoted(column)} AS {quoted(alias)}, {escaped(text)} AS t FROM {quoted(source)};\n"
    )


def _body(draw: st.DrawFn) -> str:
    said = _one_of(draw, *TEXTS).replace(";;", ";")  # mysqldump cannot carry it in an event: see e2e/test_undumpable
    comment = said.replace("*/", "").replace("/*", "").replace("\0", "")
    return f"BEGIN\n/* {comment} */\nSET @said = {escaped(said)};\n-- {comment}\nSET @other = 1;\nEND"


def _program(draw: st.DrawFn, name: str) -> str:
    head = _one_of(
        draw,
        "PROCEDURE {}(IN `a``;` INT, OUT b TEXT)",
        "FUNCTION {}() RETURNS VARCHAR(9) CHARACTER SET latin1 DETERMINISTIC",
        "EVENT {} ON SCHEDULE EVERY 3 DAY STARTS '2037-01-01 01:02:03' ON COMPLETION PRESERVE DISABLE DO",
    )
    body = _body(draw)
    if head.startswith("FUNCTION"):
        body = body.removesuffix("END") + "RETURN 'x';\nEND"
    return f"CREATE {head.format(quoted(name))}\n{body}\n{END}\n"


def _trigger(draw: st.DrawFn, number: int, table: Table) -> str:
    moment, change = _one_of(draw, "BEFORE", "AFTER"), _one_of(draw, "INSERT", "UPDATE", "DELETE")
    name = quoted(_named(draw, number))
    return f"CREATE TRIGGER {name} {moment} {change} ON {quoted(table.name)} FOR EACH ROW\n{_body(draw)}\n{END}\n"


MODES = ("", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES", "PIPES_AS_CONCAT,NO_ZERO_DATE")


@st.composite
def schemas(draw: st.DrawFn, *, family: str, engines: Sequence[str] = ("InnoDB",), grown: bool = False) -> Schema:
    """One database, made by `script` with the client of that family. `grown`: its first table is large."""
    name = f"{_one_of(draw, *NAMES)}{draw(st.integers(1000, 9999))}"
    if family == "mariadb":
        name = name.replace("'", "").replace('"', "").replace("\\", "")  # of an event: see e2e/test_undumpable
    charset = _one_of(draw, *CHARSETS)
    tables = [_table(draw, n, family, engines) for n in range(1, draw(st.integers(2, 4)))]
    if grown:
        tables[0] = replace(tables[0], engine="InnoDB")
    made = f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {_one_of(draw, *CHARSETS[charset])};\n"
    parts = [f"SET NAMES utf8mb4;\nSET sql_mode = '';\n{made}USE {quoted(name)};\n"]
    parts += [_create(draw, table) for table in tables]
    parts += [_key(draw, n, table, family) for table in tables for n in range(draw(st.integers(0, 3)))]
    parts += [_rows(draw, table) for table in tables]
    parts += [_grown(tables[0])] if grown else []
    linked = [table for table in tables if table.engine == "InnoDB"]
    parts += [_foreign_key(draw, n, table, linked) for n, table in enumerate(linked) if _chance(draw, 2)]
    sources = [(table.name, column.name) for table in tables for column in table.columns]
    parts += [_view(draw, number, sources) for number in range(draw(st.integers(0, 2)))]
    parts.append(f"DELIMITER {END}\n")
    for number in range(draw(st.integers(0, 3))):
        parts.append(f"SET sql_mode = '{_one_of(draw, *MODES[:1], *MODES[3:])}'{END}\n")
        parts.append(_program(draw, _named(draw, number)))
        parts.append(_trigger(draw, number, draw(st.sampled_from(tables))))
    parts.append("DELIMITER ;\n")
    return Schema(name=name, script="".join(parts))
