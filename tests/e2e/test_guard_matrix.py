"""What the guard announces is what dies: a sample of the forms that `make soak` runs, each trap among them."""

from __future__ import annotations

import pytest

from tests import matrix

pytestmark = pytest.mark.docker


def test_the_table_is_large_enough() -> None:
    forms = list(matrix.forms())
    assert len({(form.project, form.line) for form in forms}) > 200
    assert {form.who for form in forms} == set(matrix.WHO)


@pytest.mark.fault(55)
@pytest.mark.parametrize("form", [form for form in matrix.forms() if form.sampled], ids=str)
def test_what_is_announced_dies(form: matrix.Form) -> None:
    outcome = matrix.outcome(form)
    assert not outcome.wrong(), f"{outcome.wrong()}\n{outcome.said}"
