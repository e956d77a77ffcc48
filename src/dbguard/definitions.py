"""A fingerprint of everything that is defined in a database: two servers of one version that hold the same say the
same. Rows, statistics and the next AUTO_INCREMENT number are no part of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dbguard.sql import Asking

_DIGITS = 16
"""Of SHA-256, in hexadecimal: it tells changes, and no attacker."""
_QUESTIONS = (
    ("table", "tables", "table", "table_type, engine, row_format, table_collation, create_options, table_comment"),
    (
        "table",
        "columns",
        "table",
        "ordinal_position, column_name, column_default, is_nullable, column_type, character_set_name, collation_name, "
        "column_key, extra, column_comment, generation_expression",
    ),
    ("table", "statistics", "table", "index_name, seq_in_index, non_unique, column_name, sub_part, index_type"),
    (
        "table",
        "key_column_usage",
        "table",
        "constraint_name, column_name, ordinal_position, referenced_table_schema, referenced_table_name, "
        "referenced_column_name",
    ),
    ("table", "partitions", "table", "partition_name, subpartition_name, partition_method, partition_expression, "
     "partition_description"),
    ("view", "views", "table", "view_definition, check_option, is_updatable, definer, security_type"),
    ("trigger", "triggers", "trigger", "event_manipulation, event_object_table, action_timing, action_order, "
     "action_statement, sql_mode, definer"),
    ("event", "events", "event", "event_body, event_definition, event_type, execute_at, interval_value, "
     "interval_field, sql_mode, starts, ends, status, on_completion, event_comment, definer, time_zone"),
    ("routine", "routines", "routine", "routine_type, dtd_identifier, routine_definition, is_deterministic, "
     "sql_data_access, security_type, sql_mode, routine_comment, definer"),
)  # fmt: skip
"""Kind, table of information_schema, the stem of its columns of schema and name, and the columns that define."""


def definitions(session: Asking, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    """By database: `table orders`, `view …`, `trigger …`, `event …`, `routine …`, each with its fingerprint."""
    parts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    answers = session.query(*(_question(*of) for _, *of in _QUESTIONS), timeout=600.0)
    for (kind, *_), rows in zip(_QUESTIONS, answers, strict=True):
        for schema, name, digest in rows:
            if schema in names:
                parts[schema][f"{kind} {name}"].append(digest)
    return {schema: {name: _digest(rows) for name, rows in found.items()} for schema, found in parts.items()}


def _question(table: str, stem: str, columns: str) -> str:
    """A row of it as one number, so that little has to travel."""
    values = ", ".join(f"IFNULL({column}, '<NULL>')" for column in columns.split(", "))
    return f"SELECT {stem}_schema, {stem}_name, SHA2(CONCAT_WS('|', {values}), 256) FROM information_schema.{table}"


def _digest(rows: Sequence[str]) -> str:
    """Rows come in no order."""
    return hashlib.sha256("".join(sorted(rows)).encode()).hexdigest()[:_DIGITS]
