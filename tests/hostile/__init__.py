"""A schema made of all that dumps have ever got wrong, for each family of servers.

`types.sql`, `tables.sql`, `names.sql` and `programs.sql` load everywhere; `mysql.sql` and `mariadb.sql` hold all that
differs. What cannot be dumped by anybody is not here but in e2e/test_undumpable.py. Nor is what the format of a dump
loses and nobody can tell from the dump: the type of a scalar inside JSON (a DECIMAL 1.10 comes back as a DOUBLE 1.1),
and backslashes in the COMMENT of a routine or event that was made under NO_BACKSLASH_ESCAPES (they are doubled).
FLOAT, whose digits it loses too, is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.servers import Server

HERE = Path(__file__).parent


def script(family: str) -> bytes:
    """All but the big row, as SQL for the client of that family (`mysql` or `mariadb`)."""
    names = ("types", "tables", "names", "programs", family)
    parts = [(HERE / f"{name}.sql").read_bytes() for name in names]
    return b"\n".join([parts[0], "\n".join(_patterns()).encode(), *parts[1:]])


def _patterns() -> Iterator[str]:
    """Every width of BIT and every value of a byte."""
    yield f"CREATE TABLE bits (id INT PRIMARY KEY, {', '.join(f'b{n} BIT({n})' for n in range(1, 65))});"
    for key, bits in enumerate(("0" * 64, "1" * 64, "10" * 32, "01" * 32, "00000000010111000010011100001010" * 2)):
        values = (f"b'{bits[-n:]}'" for n in range(1, 65))
        yield f"INSERT INTO bits VALUES ({key}, {', '.join(values)});"
    yield "INSERT INTO bits (id) VALUES (99);"
    yield (
        "CREATE TABLE bytes (id INT PRIMARY KEY, vb VARBINARY(999), bi BINARY(3), tb TINYBLOB, b BLOB, mb MEDIUMBLOB,"
        " lb LONGBLOB, latin1 VARCHAR(999) CHARACTER SET latin1 COLLATE latin1_bin);"
    )
    x = bytes(range(256)).hex()
    yield f"INSERT INTO bytes VALUES (-1, x'{x}', x'0000', x'00', x'{x}', x'{x * 300}', x'{x * 9}', x'{x}');"
    yield "INSERT INTO bytes VALUES (-2, '', '', '', '', '', '', ''), (-3, NULL, NULL, NULL, NULL, NULL, NULL, NULL);"
    hexes = [f"{n:02x}" for n in range(256)]
    rows = (f"(0x{h}, x'{h}', x'{h}', x'{h}', x'{h}{h}', x'00{h}', x'5c{h}', x'{h}27')" for h in hexes)
    yield f"INSERT INTO bytes VALUES {', '.join(rows)};"


def load(server: Server) -> None:
    """Everything, and a row of 40 MiB: its INSERT in a dump is longer than any server accepts by default."""
    server.client(script(server.family))
    server.sql("SET GLOBAL max_allowed_packet = 1073741824")
    server.sql(
        "CREATE TABLE hostile.big (id INT PRIMARY KEY, b LONGBLOB);"
        "INSERT INTO hostile.big VALUES (1, REPEAT(x'00FF275C0A', 8 * 1024 * 1024)), (2, NULL), (3, '')"
    )
    server.sql("SET GLOBAL max_allowed_packet = DEFAULT")
