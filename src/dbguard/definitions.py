"""A fingerprint of everything that is defined in a database: two servers of one version that hold the same say the
same. Rows, statistics and the next AUTO_INCREMENT number are no part of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dbguard.engines.mysql import version_number
from dbguard.model import Server
from dbguard.sql import Asking

_DIGITS = 16
"""Of SHA-256, in hexadecimal: it tells changes, and no attacker."""
_Question = tuple[str, str, str, str, str]
"""Kind, what stands behind FROM, the columns of schema and name, and the columns that define."""
_CHARSETS = ("utf8mb4", "utf8mb3", "utf8", "latin1", "latin2", "ascii", "cp1250", "cp1251", "cp850", "gbk", "koi8r")


def _unspelled(column: str) -> str:
    """MySQL keeps the character set of whoever wrote an expression, as in `_latin1'x'`, and SHOW CREATE TABLE gives it
    that of whoever asks: seen in generated columns of 9.7.4."""
    for name in _CHARSETS:
        column = f"REPLACE({column},'_{name}','')"
    return column


_VIEW = _unspelled("REPLACE(REPLACE(view_definition,'(',''),')','')")
"""A view of several joins has more parentheses after it was loaded: MariaDB 11.8.9 and MySQL 9.7.4."""
# SHOW CREATE TABLE names options of Aria that nobody gave: a restored table has them
_ALL: tuple[_Question, ...] = (
    ("table", "tables", "table_schema", "table_name",
     "table_type, engine, table_collation, IF(engine='Aria','',create_options), table_comment"),
    ("view", "views", "table_schema", "table_name",
     f"{_VIEW}, check_option, is_updatable, definer, security_type"),
    ("table", "columns", "table_schema", "table_name",
     "ordinal_position, column_name, is_nullable, column_type, character_set_name, collation_name, "
     f"column_key, extra, column_comment, {_unspelled('column_default')}, {_unspelled('generation_expression')}"),
    ("table", "key_column_usage", "table_schema", "table_name",
     "constraint_name, column_name, ordinal_position, referenced_table_schema, referenced_table_name, "
     "referenced_column_name"),
    ("table", "referential_constraints", "constraint_schema", "table_name",
     "constraint_name, update_rule, delete_rule, match_option"),
    ("table", "partitions", "table_schema", "table_name",
     "partition_name, subpartition_name, partition_method, "
     f"{_unspelled('partition_expression')}, {_unspelled('partition_description')}"),
    ("trigger", "triggers", "trigger_schema", "trigger_name",
     "event_manipulation, event_object_table, action_timing, action_order, action_statement, sql_mode, definer"),
    ("event", "events", "event_schema", "event_name",
     "event_body, event_definition, event_type, execute_at, interval_value, interval_field, sql_mode, starts, ends, "
     "status, on_completion, event_comment, definer, time_zone"),
    ("routine", "routines", "routine_schema", "routine_name",
     "routine_type, dtd_identifier, routine_definition, is_deterministic, sql_data_access, security_type, sql_mode, "
     "routine_comment, definer"),
    ("routine", "parameters", "specific_schema", "specific_name",
     "routine_type, ordinal_position, parameter_mode, parameter_name, dtd_identifier"),
)  # fmt: skip
_INDEX = "index_name, seq_in_index, non_unique, column_name, sub_part, index_type, collation, index_comment"
_CHECK = _unspelled("check_clause")
_CHECKS = "table_constraints t JOIN information_schema.check_constraints c USING (constraint_schema, constraint_name)"


def definitions(asking: Asking, server: Server, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """By database: `table orders`, `view …`, `trigger …`, `event …`, `routine …`, each with its fingerprint."""
    parts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    questions = [*_ALL, *_own(server)]
    answers = asking.query(*map(_asked, questions), timeout=600.0)
    for (kind, *_), rows in zip(questions, answers, strict=True):
        for schema, name, digest in rows:
            if schema in names:
                parts[schema][f"{kind} {name}"].append(digest)
    return {
        schema: {name: _digest(rows) for name, rows in found.items() if not _is_of_view(name, found)}
        for schema, found in parts.items()
    }


def _is_of_view(name: str, found: Mapping[str, object]) -> bool:
    """What a view says of its columns is not defined by it: after mysqldump's placeholder table, MySQL 9.7.4 tells
    another nullability."""
    kind, _, name = name.partition(" ")
    return kind == "table" and f"view {name}" in found


def _own(server: Server) -> list[_Question]:
    """What each family has in places, or in versions, of its own."""
    version, index, place = version_number(server.version), _INDEX, ("table_schema", "table_name")
    checks: list[_Question] = []
    if server.engine == "mariadb":
        index += ", ignored" if version >= (10, 6) else ""
        checks = [("table", "check_constraints", "constraint_schema", "table_name", f"constraint_name, {_CHECK}")]
    elif version >= (8, 0, 16):
        index += f", is_visible, {_unspelled('expression')}"
        checks = [("table", _CHECKS, *place, f"constraint_name, enforced, {_CHECK}")]
    return [("table", "statistics", *place, index), *checks]


def _asked(question: _Question) -> str:
    """A row of it as one number, so that little has to travel."""
    _, table, schema, name, columns = question
    values = ", ".join(f"IFNULL({column}, '<NULL>')" for column in columns.split(", "))
    return f"SELECT {schema}, {name}, SHA2(CONCAT_WS('|', {values}), 256) FROM information_schema.{table}"


def _digest(rows: Sequence[str]) -> str:
    """Rows come in no order."""
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()[:_DIGITS]
