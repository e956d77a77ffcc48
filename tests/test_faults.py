"""Every fault that docs/faults.md names is proven harmless by a test, or says why not yet."""

from __future__ import annotations

import pytest

from tests.faults import table


def test_the_page_is_up_to_date() -> None:
    assert table.PAGE.read_text() == table.page(), "run: python tests/faults/table.py"


def test_rows_are_numbered_in_order() -> None:
    assert [row.number for row in table.rows()] == [*range(1, len(table.rows()) + 1)]


@pytest.mark.parametrize("row", table.rows(), ids=lambda row: str(row.number))
def test_a_row_is_proven_or_left_for_later(row: table.Row) -> None:
    assert table.proofs().get(row.number) or row.later


def test_every_marker_names_a_row() -> None:
    assert set(table.proofs()) <= {row.number for row in table.rows()}


@pytest.mark.parametrize("test", sorted({test for tests in table.named().values() for test in tests}))
def test_a_test_that_is_named_exists(test: str) -> None:
    path = table.TESTS / test.partition("::")[0]
    assert path.is_file()
    assert test in table.functions(path)
