"""Which command lines of `docker compose` delete volumes. The e2e tests ask real Compose the same."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.argv import RECREATING, Invocation, Unparsable, parse, standalone

DELETING = """
down -v
down --volumes
down --volume
down -v=true
down -v=1
down -v=T
down --volumes=1
down --volumes=TRUE
down -vt0
down -vt 0
down -vt=0
down -t0 -v
down -t 0 -v
down -vv
down web -v
down -v -- web
down -v -- --volumes=false
down --volumes=false -v
down -v -test.x
down -vtest.x
down -v -
down --timeout -v -v
down --rmi all -v --remove-orphans
down -v --help=false
down -v --dry-run=false
-v down -v
-p shop down -v
-pshop down -v
-p=shop down -v
--project-name shop -f a.yaml -f b.yaml down -v
-vfa.yaml down -v
--profile=* --all-resources --compatibility down -v
--profile --dry-run down -v
--dry-run down -v --dry-run=false
--dry-run --dry-run=f down -v
--help down -v --help=false
-h=false down -v
-- x down -v
-- --dry-run down -v
--ansi -d x --dry-run down -v
--ansi never --progress quiet --parallel 2 --verbose down -v
rm -v
rm -fsv
rm --volumes -f web
rm -a -v
rm -v -test.x
up -y
up --yes -d
up --y
up -dy
up -y web --scale db=3
create -y
create --yes web
create --y
"""

HARMLESS = """
ps
up -d
up -V
up -y=false
up --yes --yes=0
up -t y
create
down
down web
down -v=false
down -v --volumes=false
down -v --volume=F
down -v=true -v=0
down -tv
down -t -v
down --timeout --volumes
down --rmi -v
down -- -v
down -- --volumes
down -t0 -- -v
down -v --dry-run
down --dry-run=1 -v
--dry-run down -v
--dry-run=false --dry-run down -v
-- x down -v --dry-run
down -v --help
down -vh
-h down -v
--help down -v
-vf a.yaml down -v
-v
- down -v
x down -v
--dry-run -- -f down -v
--file down -v
-p down -v
rm -f
rm -v=0
rm -- -v
run -v a:/b db
run --rm db down -v
exec db down -v
logs down -v
alpha viz -v
version -v
kill -s v
volumes -v
config --volumes
"""

REJECTED = """
down -v=yes
down -v --volumes=
down -v --volumes=TRue
down -v --volumes=2
down -v -t
down -v --rmi
down -v ---
down -v --=x
down -v --remove-orphans=maybe
--version=x down -v
-vp down -v
-f -p down -v
"""

UNKNOWN = """
down --vol
down --v
down -V -v
down -v -x
down -v --wait
down -v=
down --volumes --purge=3
--context x down -v
--new down -v
--new x down -v
-n down -v
--parallel -1 down -v
rm --volume
up -y --new
up --yep
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("line", lines(DELETING))
def test_deletes(line: str) -> None:
    invocation = parse(shlex.split(line))
    assert isinstance(invocation, Invocation)
    assert invocation.deletes


@pytest.mark.parametrize("line", lines(HARMLESS))
def test_deletes_nothing(line: str) -> None:
    """Or it asks first: `up` does, when the definition of a volume has changed."""
    understood = parse(shlex.split(line))
    if isinstance(understood, Invocation):
        assert not understood.deletes or (understood.asks and understood.subcommand in RECREATING)
    else:
        assert not understood.may_delete


@pytest.mark.parametrize("line", lines(REJECTED))
def test_every_compose_rejects_it_so_it_may_say_so_itself(line: str) -> None:
    understood = parse(shlex.split(line))
    assert not understood.deletes if isinstance(understood, Invocation) else not understood.may_delete


@pytest.mark.parametrize("line", lines(UNKNOWN))
def test_an_unknown_flag_beside_one_that_could_delete_is_not_passed_on(line: str) -> None:
    understood = parse(shlex.split(line))
    assert isinstance(understood, Unparsable)
    assert understood.may_delete


@pytest.mark.parametrize("line", ["down --new", "down -x", "rm --quiet", "up --new -d", "--new ps", "--new x ps -v"])
def test_an_unknown_flag_that_can_delete_nothing_is_for_compose_to_judge(line: str) -> None:
    test_deletes_nothing(line)


@pytest.mark.parametrize("line", ["up --new -d", "-f a.yaml up web --new", "run --new x db", "scale --new web=2"])
def test_with_an_unknown_flag_the_question_of_up_is_about_the_whole_project(line: str) -> None:
    invocation = parse(shlex.split(line))
    assert isinstance(invocation, Invocation)
    assert invocation.asks
    assert invocation.services == ()
    assert "--profile=*" in invocation.project


def test_what_a_dry_run_is_made_of() -> None:
    line = "--dry-run=false -vpshop --ansi never -f a.yaml --file=b.yaml down -t0 web --dry-run=0 -v --rmi=all -- -x"
    assert parse(shlex.split(line)) == Invocation(
        subcommand="down",
        project=("--project-name=shop", "--file=a.yaml", "--file=b.yaml"),
        options=("--volumes",),
        services=("web", "-x"),
        files=("a.yaml", "b.yaml"),
        deletes="volumes",
    )


def test_the_same_command_without_the_flag_that_deletes() -> None:
    invocation = parse(["-p", "shop", "down", "-v", "--remove-orphans", "web"])
    assert isinstance(invocation, Invocation)
    assert invocation.sparing == ("docker", "compose", "--project-name=shop", "down", "--remove-orphans", "web")


@pytest.mark.parametrize(
    ("line", "by_name"),
    [("-p x down", True), ("-p x -f y down", False), ("down", False), ("--project-name= down", False)],
)
def test_a_project_name_without_a_file_means_labels(line: str, by_name: bool) -> None:
    invocation = parse(shlex.split(line))
    assert isinstance(invocation, Invocation)
    assert invocation.by_name is by_name


# --- properties ---

WORDS = st.sampled_from(
    [
        *("down", "rm", "up", "web", "-", "", "--", "-v", "-vt0", "--volumes", "--volume=false", "-t", "-y", "-h"),
        *("-f", "--file", "-p=x", "--profile", "--dry-run", "--help=0", "-test.v", "-=", "--=", "---", "--new"),
    ]
)


@given(st.lists(WORDS | st.text(max_size=4), max_size=8))
def test_any_command_line_gets_an_answer(args: list[str]) -> None:
    parse(args)


SWITCHES = st.tuples(
    st.sampled_from(["volumes", "remove-orphans"]), st.sampled_from(["1", "t", "TRUE", "true", "0", "F", "False"])
)
VALUES = st.tuples(
    st.sampled_from(["timeout", "rmi"]), st.sampled_from(["0", "-v", "--volumes", "x=y", "", "--", "down"])
)
SHORT = {"volumes": "v", "timeout": "t"}


@st.composite
def spelled(draw: st.DrawFn, assignments: list[tuple[str, str]], services: list[str]) -> list[str]:
    """One of the ways to say this: the assignments in this order, the services anywhere between them."""
    parts = [draw(st.sampled_from(ways(name, value))) for name, value in assignments]
    for service in services:
        parts.insert(draw(st.integers(0, len(parts))), [service])
    return [word for part in parts for word in part]


def ways(name: str, value: str) -> list[list[str]]:
    found = [[f"--{name}={value}"]]
    if name in {"timeout", "rmi"}:
        found.append([f"--{name}", value])
    elif value in {"1", "t", "TRUE", "true"}:
        found += [[f"--{name}"], *([["-v"], ["-vv"], ["--volume"]] if name == "volumes" else [])]
    if name in SHORT and value:
        found.append([f"-{SHORT[name]}={value}"])
    if name == "timeout":
        found += [["-t", value], *([[f"-t{value}"]] if value else [])]
    return found


@given(st.data(), st.lists(SWITCHES | VALUES, max_size=6), st.lists(st.sampled_from(["web", "db", "-"]), max_size=2))
def test_however_it_is_spelled_the_last_word_wins(
    data: st.DataObject, assignments: list[tuple[str, str]], services: list[str]
) -> None:
    args = data.draw(spelled(assignments, services))
    invocation = parse(["down", *args])
    assert isinstance(invocation, Invocation)
    last = dict(assignments).get("volumes", "0")
    assert bool(invocation.deletes) is (last in {"1", "t", "TRUE", "true"})
    assert sorted(invocation.services) == sorted(services)


# --- spelled docker-compose ---


@pytest.mark.parametrize(
    ("line", "deletes"),
    [
        ("down -v", True),
        ("--verbose -H tcp://x --context=c down --volumes", True),
        ("-f compose down -v", True),  # the file is called so
        ("--context compose down -v", True),
        ("--context __complete down -v", True),
        ("__complete down -v", False),
        ("-v down -v", False),  # the version
        ("-h down -v", False),
        ("down", False),
    ],
)
def test_compose_2_by_its_old_name(line: str, deletes: bool) -> None:
    understood = standalone.parse(line.split())
    assert isinstance(understood, Invocation)
    assert bool(understood.deletes) is deletes


def test_the_engine_is_told_apart_from_the_rest() -> None:
    understood = standalone.parse(["--host=tcp://x", "-p", "shop", "down", "-v"])
    assert isinstance(understood, Invocation)
    assert understood.engine == ("--host", "tcp://x")
    assert understood.project == ("--project-name=shop",)
