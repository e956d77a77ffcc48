"""What cannot be exchanged: tables whose renaming is not all or nothing, and those that a foreign key of another
database would follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from dbguard.archive import Database
from dbguard.create_table import Place
from dbguard.engines.mysql import version_number
from dbguard.errors import QueryFailed, RestoreFailed
from dbguard.model import Target
from dbguard.sql import Asking, Row, quoted

IN_PLACE = "give --in-place to drop what is there and load over it: from then on only the safety backup leads back"
_FOREIGN_KEYS = """
SELECT DISTINCT constraint_schema, table_name, constraint_name, unique_constraint_schema, referenced_table_name
FROM information_schema.referential_constraints
"""
_KEY_COLUMNS = """
SELECT table_schema, table_name, constraint_name, column_name,
    referenced_table_schema, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage WHERE referenced_table_name IS NOT NULL
ORDER BY table_schema, table_name, constraint_name, ordinal_position
"""
_NO_SUCH_TABLE = 1146
_DAY = 86400.0


def refuse_ties(asking: Asking, databases: Sequence[str]) -> None:
    """Raises RestoreFailed."""
    for schema, table, key, other, parent in asking.query(_FOREIGN_KEYS, timeout=600)[0]:
        if schema != other and (schema in databases or other in databases):  # `Shop` and `shop` are two, not to SQL
            raise RestoreFailed(
                f"foreign key {key} of {schema}.{table} refers to {other}.{parent}, in another database: a database "
                "cannot be exchanged under it",
                hint=IN_PLACE,
            )


def refuse_children(asking: Asking, tables: Collection[Place]) -> None:
    """Foreign keys of other tables would follow the old one out of sight. Raises RestoreFailed."""
    for schema, table, key, other, parent in asking.query(_FOREIGN_KEYS, timeout=600)[0]:
        if (other, parent) in tables and (schema, table) not in tables:
            raise RestoreFailed(
                f"foreign key {key} of {schema}.{table} refers to {other}.{parent}: it would follow the old table",
                hint=f"restore {schema}.{table} too, with another --table; or {IN_PLACE}",
            )


def orphans(asking: Asking, tables: Collection[Place]) -> Iterator[str]:
    """Of the foreign keys of these tables and to them: rows that refer to none, one line for each key. A load looks at
    no foreign key, and no server looks later."""
    keys: dict[tuple[str, str, str], list[tuple[str, str, Place]]] = defaultdict(list)
    for schema, table, key, column, other, parent, its in asking.query(_KEY_COLUMNS, timeout=600)[0]:
        if {(schema, table), (other, parent)} & {*tables}:
            keys[schema, table, key].append((column, its, (other, parent)))
    for (schema, table, key), columns in keys.items():
        database, parent = columns[0][2]
        on = " AND ".join(f"c.{quoted(column)} = p.{quoted(its)}" for column, its, _ in columns)
        given = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column, _, _ in columns)
        what = f"foreign key {key} of {schema}.{table}"
        try:
            [[row]] = asking.query(
                f"SELECT COUNT(*) FROM {quoted(schema)}.{quoted(table)} c "
                f"LEFT JOIN {quoted(database)}.{quoted(parent)} p ON {on} "
                f"WHERE {given} AND p.{quoted(columns[0][1])} IS NULL",
                timeout=_DAY,
            )
        except QueryFailed as error:
            if error.number != _NO_SUCH_TABLE:
                raise
            yield f"{what} refers to {database}.{parent}, which is not there"
        else:
            if row[0] != "0":
                yield f"{what}: {row[0]} rows refer to rows of {database}.{parent} that are not there"


def refuse_steps(
    asking: Asking,
    target: Target,
    saved: Sequence[Database],
    databases: Sequence[str],
    only: Collection[Place] | None = None,
) -> None:
    """Of `databases` that are live, or `only` these tables of them. A crash in the middle must find all or nothing
    done: so it is in MySQL for InnoDB since 8.0, in MariaDB since 10.6.1 ("Atomic DDL" in both manuals). Raises
    RestoreFailed."""
    server, version = target.server, version_number(target.server.version)
    if version < ((10, 6, 1) if server.engine == "mariadb" else (8, 0)):
        raise RestoreFailed(f"{target.name}: this server cannot rename several tables at once", hint=IN_PLACE)
    if server.engine == "mariadb":
        return

    def affected(row: Row) -> bool:
        return row[0] in databases and (only is None or (row[0], row[1]) in only)

    live = asking.query(
        "SELECT table_schema, table_name, engine FROM information_schema.tables WHERE engine <> 'InnoDB'"
    )
    coming = [(one.name, table.name, table.engine) for one in saved for table in one.tables]
    for schema, name, engine in [*filter(affected, live[0]), *coming]:
        if (engine or "").lower() != "innodb":
            raise RestoreFailed(
                f"{target.name}: table {schema}.{name} is of {engine}, and MySQL renames only tables of InnoDB at once",
                hint=IN_PLACE,
            )
