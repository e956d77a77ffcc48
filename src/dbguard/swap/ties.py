"""Foreign keys that lead out of a database, or into it: they would follow a table that is renamed."""

from __future__ import annotations

from collections.abc import Sequence

from dbguard.errors import RestoreFailed
from dbguard.sql import Asking

IN_PLACE = "give --in-place to drop what is there and load over it: from then on only the safety backup leads back"
_FOREIGN_KEYS = """
SELECT DISTINCT constraint_schema, table_name, constraint_name, unique_constraint_schema, referenced_table_name
FROM information_schema.referential_constraints WHERE constraint_schema <> unique_constraint_schema
"""


def refuse_ties(asking: Asking, databases: Sequence[str]) -> None:
    """Raises RestoreFailed."""
    for schema, table, key, other, parent in asking.query(_FOREIGN_KEYS, timeout=600)[0]:
        if schema in databases or other in databases:
            raise RestoreFailed(
                f"foreign key {key} of {schema}.{table} refers to {other}.{parent}, in another database: a database "
                "cannot be exchanged under it",
                hint=IN_PLACE,
            )
