"""What cannot be exchanged: tables whose renaming is not all or nothing, and those that a foreign key of another
database would follow."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.archive import Database
from dbguard.engines.mysql import version_number
from dbguard.errors import RestoreFailed
from dbguard.model import Target
from dbguard.sql import Asking

IN_PLACE = "give --in-place to drop what is there and load over it: from then on only the safety backup leads back"
_FOREIGN_KEYS = """
SELECT DISTINCT constraint_schema, table_name, constraint_name, unique_constraint_schema, referenced_table_name
FROM information_schema.referential_constraints
"""


def refuse_ties(asking: Asking, databases: Sequence[str]) -> None:
    """Raises RestoreFailed."""
    for schema, table, key, other, parent in asking.query(_FOREIGN_KEYS, timeout=600)[0]:
        if schema != other and (schema in databases or other in databases):  # `Shop` and `shop` are two, not to SQL
            raise RestoreFailed(
                f"foreign key {key} of {schema}.{table} refers to {other}.{parent}, in another database: a database "
                "cannot be exchanged under it",
                hint=IN_PLACE,
            )


def refuse_steps(asking: Asking, target: Target, saved: Sequence[Database], databases: Sequence[str]) -> None:
    """A crash in the middle must find all or nothing done: so it is in MySQL for InnoDB since 8.0, in MariaDB since
    10.6.1 ("Atomic DDL" in both manuals). Raises RestoreFailed."""
    server, version = target.server, version_number(target.server.version)
    if version < ((10, 6, 1) if server.engine == "mariadb" else (8, 0)):
        raise RestoreFailed(f"{target.name}: this server cannot rename several tables at once", hint=IN_PLACE)
    if server.engine == "mariadb":
        return
    live = asking.query(
        "SELECT table_schema, table_name, engine FROM information_schema.tables WHERE engine <> 'InnoDB'"
    )
    coming = [(one.name, table.name, table.engine) for one in saved for table in one.tables]
    for schema, name, engine in [*(row for row in live[0] if row[0] in databases), *coming]:
        if (engine or "").lower() != "innodb":
            raise RestoreFailed(
                f"{target.name}: table {schema}.{name} is of {engine}, and MySQL renames only tables of InnoDB at once",
                hint=IN_PLACE,
            )
