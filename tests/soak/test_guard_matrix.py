"""Every form of the table, and random ones: what the guard announces is what dies."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import matrix

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("form", list(matrix.forms()), ids=str)
def test_what_is_announced_dies(form: matrix.Form) -> None:
    outcome = matrix.outcome(form)
    assert not outcome.wrong(), f"{outcome.wrong()}\n{outcome.said}"


WORDS = st.sampled_from(
    [
        *("-v", "--volumes", "--volume", "-v=true", "--volumes=false", "-vt0", "-t0", "-f", "-s", "-a", "-fsv", "-V"),
        *("--remove-orphans", "--dry-run", "--dry-run=false", "--help=false", "--rmi", "local", "--", "-", "-x"),
        *("web", "db", "anon", "adm", "two", "nobody", "-y", "--yes", "--yes=0", "--no-deps", "--force-recreate"),
    ]
)
GLOBALS = st.sampled_from(
    [
        *("-p {p}", "-p other", "-f compose.yaml", "--profile=*", "--profile tools", "--all-resources", "--dry-run"),
        *("--dry-run=false", "-v", "--ansi never", "--", "--compatibility", "--verbose"),
    ]
)
SUBCOMMANDS = st.sampled_from(["down", "rm", "rm -f", "up --no-start", "create"])
PROJECTS = st.sampled_from([kind for kind in matrix.KINDS if kind != "own"])


@given(
    who=st.sampled_from(["226", "240", "s240", "v1"]),
    project=PROJECTS,
    before=st.lists(GLOBALS, max_size=2),
    subcommand=SUBCOMMANDS,
    after=st.lists(WORDS, max_size=4),
    yes=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_random_command_deletes_more_than_was_announced(
    who: str, project: str, before: list[str], subcommand: str, after: list[str], yes: bool
) -> None:
    line = " ".join([*(["yes |"] if yes else []), *before, subcommand, *map(shlex.quote, after)])
    outcome = matrix.outcome(matrix.Form(who=who, project=project, line=line, sampled=False))
    assert not outcome.wrong(), f"{outcome.form}: {outcome.wrong()}\n{outcome.said}"
