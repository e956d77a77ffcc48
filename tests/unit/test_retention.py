"""The laws of retention, for any archives and any policy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbguard.archive import Archive
from dbguard.retention import Plan, Policy, plan
from tests.unit.nouns import archive


@st.composite
def several(draw: st.DrawFn) -> list[Archive]:
    numbers = draw(st.lists(st.integers(0, 999), max_size=12, unique=True))
    servers = st.sampled_from(["this server", "the one before", "an empty one"])
    return [archive(number, complete=draw(st.booleans()), identity=draw(servers)) for number in numbers]


policies = st.builds(Policy, keep_last=st.none() | st.integers(1, 15))


def kept(answer: Plan) -> list[Archive]:
    return [one.archive for one in answer.keep]


def newest_first(archives: list[Archive]) -> list[Archive]:
    return sorted(archives, key=lambda one: one.snapshot, reverse=True)


@given(several(), policies)
def test_every_archive_is_kept_or_removed_and_none_twice(archives: list[Archive], policy: Policy) -> None:
    answer = plan(archives, policy)
    assert sorted(one.id for one in [*kept(answer), *answer.remove]) == sorted(one.id for one in archives)


@given(several(), policies)
def test_what_is_kept_is_kept_for_a_reason(archives: list[Archive], policy: Policy) -> None:
    assert all(one.reasons for one in plan(archives, policy).keep)


def newest_complete(archives: list[Archive]) -> list[Archive]:
    """Of every server that had this name, newest first."""
    complete = [one for one in newest_first(archives) if one.complete]
    servers = [one.source.identity for one in complete]
    return [one for at, one in enumerate(complete) if one.source.identity not in servers[:at]]


@given(several(), policies)
def test_the_newest_is_always_kept_and_so_are_the_newest_complete_ones(archives: list[Archive], policy: Policy) -> None:
    """An empty server that came up after a disaster must not push out what there was before."""
    keep = kept(plan(archives, policy))
    assert keep[:1] == newest_first(archives)[:1]
    assert all(one in keep for one in newest_complete(archives))


@given(several())
def test_a_policy_with_nothing_set_removes_nothing(archives: list[Archive]) -> None:
    assert plan(archives, Policy()).remove == ()


@given(several(), st.integers(1, 15))
def test_the_last_ones_are_kept_and_no_others(archives: list[Archive], count: int) -> None:
    keep = {one.id for one in kept(plan(archives, Policy(keep_last=count)))}
    expected = {one.id for one in newest_complete(archives)}
    for complete in (True, False):
        expected |= {one.id for one in [one for one in newest_first(archives) if one.complete is complete][:count]}
    assert keep == expected


@given(several(), several(), policies)
def test_partial_ones_push_no_complete_one_out(some: list[Archive], more: list[Archive], policy: Policy) -> None:
    known = {one.id for one in some}
    partial = [archive(2000 + n, complete=False) for n, one in enumerate(more) if one.id not in known]
    without = {one.id for one in kept(plan(some, policy)) if one.complete}
    assert without == {one.id for one in kept(plan([*some, *partial], policy)) if one.complete}


@given(several(), policies, st.randoms(use_true_random=False))
def test_the_order_of_the_question_does_not_matter(archives: list[Archive], policy: Policy, dice: object) -> None:
    shuffled = [*archives]
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(shuffled, policy) == plan(archives, policy)


@given(several(), policies)
def test_asked_again_about_what_it_kept_it_removes_nothing(archives: list[Archive], policy: Policy) -> None:
    assert plan(kept(plan(archives, policy)), policy).remove == ()


@given(several(), st.integers(1, 14))
def test_who_keeps_more_loses_nothing(archives: list[Archive], count: int) -> None:
    fewer = {one.id for one in kept(plan(archives, Policy(keep_last=count)))}
    assert fewer <= {one.id for one in kept(plan(archives, Policy(keep_last=count + 1)))}


@given(several(), policies)
def test_it_answers_newest_first(archives: list[Archive], policy: Policy) -> None:
    answer = plan(archives, policy)
    assert kept(answer) == newest_first(kept(answer))
    assert list(answer.remove) == newest_first(list(answer.remove))


def test_reasons_can_be_read() -> None:
    archives = [archive(0, identity="older"), archive(1), archive(2, complete=False), archive(3)]
    assert [one.reasons for one in plan(archives, Policy(keep_last=2)).keep] == [
        ("newest", "newest complete", "last 1"),
        ("last partial 1",),
        ("last 2",),
        ("newest complete of another server",),
    ]
