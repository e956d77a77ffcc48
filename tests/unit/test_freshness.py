"""May this volume go? A table of what is known about one, and the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dbguard.archive import Marks, Stored
from dbguard.freshness import Backups, Contents, Rules, decide
from dbguard.model import TargetName, VolumeVerdict
from dbguard.since import UNCHANGED, Since
from tests.unit import played
from tests.unit.played import ME, MINUTE, NOW, OTHER

EXACT, RECENT, COMPLETE = (Rules(require=word) for word in ("exact", "recent", "complete"))
QUARTER = timedelta(minutes=15)
SHOP = TargetName(project="shop", service="db")
DATABASE = Contents(volume="shop_data", engine="mysql", identity=ME, targets=(SHOP,), running=True)
FILES = Contents(volume="shop_data")


def archive(*, verified: bool | None = True, **known: Any) -> Stored:
    return Stored(summary=played.archive(**known).summary, marks=Marks(verified=verified))


FRESH = archive(age=3 * MINUTE)
WRITTEN = Since.written(12)


def decided(
    contents: Contents, archives: Sequence[Stored] = (), *, since: Since | None = UNCHANGED, rules: Rules = EXACT
) -> VolumeVerdict:
    told = {one.id: since for one in archives} if since is not None else {}
    return decide(contents, Backups(archives=archives, since=told), rules=rules, now=NOW)


# --- of a backup since which nothing was written ---

ALLOWED = {
    "backup .* 3 min old, verified, nothing was written since": (DATABASE, [FRESH]),
    "3 days old, verified, nothing": (DATABASE, [archive(age=timedelta(days=3))]),
    " 0 s old": (DATABASE, [archive(age=-MINUTE / 2)]),
    "(?# a newer partial one does not spoil it)3 min old": (DATABASE, [archive(age=MINUTE, complete=False), FRESH]),
    "(?# nor does one of another server)3 min old": (DATABASE, [archive(age=MINUTE, identity=OTHER), FRESH]),
    "(?# stopped, but nothing was written)3 min old": (replace(DATABASE, running=False), [FRESH]),
    "not a MySQL or MariaDB database": (FILES, []),
    "nothing is on it": (replace(FILES, empty=True), []),
    "stays: still used by web": (replace(DATABASE, kept_by=("web",)), []),
    "label dbguard.ephemeral lets it go": (replace(DATABASE, waived="dbguard.ephemeral"), []),
    "its data stays in /srv/data": (replace(DATABASE, elsewhere="/srv/data"), []),
}

REFUSED = {
    "^never backed up$": (DATABASE, []),
    "is partial: only shop was asked for": (DATABASE, [archive(age=MINUTE, complete=False)]),
    "backups of shop/db are of another server": (DATABASE, [archive(age=MINUTE, identity=OTHER)]),
    "backups of shop/db are of its volume old_data": (DATABASE, [archive(age=MINUTE, volumes=("old_data",))]),
    "lies in the future": (DATABASE, [archive(age=-2 * MINUTE)]),
    "never backed up; its server is not running": (replace(DATABASE, running=False), []),
    "do not say which server": (replace(DATABASE, identity=""), [archive(age=MINUTE, identity="")]),
    "more than one database": (replace(FILES, unknown="more than one database lies on it"), [FRESH]),
    "guard.others refuses it": (replace(FILES, other="postgresql"), []),
}


@pytest.mark.parametrize("reason", ALLOWED)
def test_allowed(reason: str) -> None:
    contents, archives = ALLOWED[reason]
    verdict = decided(contents, archives)
    assert verdict.allowed
    assert_matches(reason, verdict.reason)


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    contents, archives = REFUSED[reason]
    verdict = decided(contents, archives)
    assert not verdict.allowed
    assert_matches(reason, verdict.reason)


# --- what is asked for ---

YOUNG, OLD = FRESH, archive(age=QUARTER + MINUTE)
UNKNOWN = Since.unknown("its server does not answer")


@pytest.mark.parametrize("rules", [EXACT, RECENT, COMPLETE], ids=lambda rules: rules.require)
@pytest.mark.parametrize("since", [UNCHANGED, WRITTEN, UNKNOWN, None])
@pytest.mark.parametrize("stored", [YOUNG, OLD], ids=["young", "old"])
def test_exact_asks_what_was_written_and_the_others_the_clock_too(
    rules: Rules, since: Since | None, stored: Stored
) -> None:
    allowed = since is UNCHANGED or (rules is not EXACT and stored is YOUNG)
    verdict = decided(DATABASE, [stored], since=since, rules=rules)
    assert verdict.allowed is allowed
    assert verdict.archive == (stored.id if allowed else "")
    assert (since.words if since is not None else "old") in verdict.reason


def test_age_is_counted_to_the_limit() -> None:
    assert decided(DATABASE, [archive(age=QUARTER)], since=None, rules=RECENT).allowed
    older = decided(DATABASE, [OLD], since=None, rules=RECENT)
    assert older.reason.endswith("is 16 min old, more than 15 min")
    assert "26 h old" in decided(DATABASE, [archive(age=timedelta(hours=26, minutes=59))], since=None).reason


def test_an_older_one_that_is_exact_serves_where_a_newer_one_does_not() -> None:
    newer, older = archive(age=MINUTE), archive(age=2 * MINUTE)
    told = {newer.id: UNKNOWN, older.id: UNCHANGED}
    verdict = decide(DATABASE, Backups(archives=[newer, older], since=told), rules=EXACT, now=NOW)
    assert verdict.archive == older.id


def test_a_failed_check_is_never_enough() -> None:
    assert not decided(DATABASE, [archive(age=MINUTE, verified=False)], rules=COMPLETE).allowed


def test_a_damaged_backup_is_named_but_spoils_no_good_one() -> None:
    damaged = {"20261123T115900Z-000000": "its manifest cannot be read"}
    verdict = decide(DATABASE, Backups(archives=[OLD], damaged=damaged), rules=EXACT, now=NOW)
    assert not verdict.allowed
    assert "20261123T115900Z-000000 cannot be relied on: its manifest cannot be read" in verdict.reason
    backups = Backups(archives=[FRESH], damaged=damaged, since={FRESH.id: UNCHANGED})
    assert decide(DATABASE, backups, rules=EXACT, now=NOW).allowed


# --- what else there is on volumes ---


@pytest.mark.parametrize(
    ("others", "refused"), [("allow", set()), ("databases", {"postgresql"}), ("refuse", {"postgresql", "files"})]
)
def test_what_cannot_be_backed_up_goes_by_configuration(others: Any, refused: set[str]) -> None:
    rules = Rules(others=others)
    found = [replace(FILES, other="postgresql"), FILES, replace(FILES, empty=True)]
    verdicts = [decided(contents, rules=rules) for contents in found]
    assert {verdict.what for verdict in verdicts if not verdict.allowed} == refused


def test_a_volume_that_is_named_in_the_configuration_goes() -> None:
    assert decided(DATABASE, rules=Rules(ignore=frozenset({"shop_data"}))).reason == "guard.ignore names it"
    assert not decided(DATABASE, rules=Rules(ignore=frozenset({"shop"}))).allowed


@pytest.mark.parametrize(
    ("contents", "archives", "mendable"),
    [
        (DATABASE, [], True),
        (DATABASE, [OLD], True),
        (DATABASE, [archive(age=MINUTE, identity=OTHER)], True),
        (replace(DATABASE, running=False), [], False),
        (replace(DATABASE, identity=""), [], False),
        (replace(FILES, unknown="no container is left"), [], False),
        (replace(FILES, other="mongodb"), [], False),
    ],
)
def test_what_a_backup_would_mend(contents: Contents, archives: list[Stored], mendable: bool) -> None:
    assert decided(contents, archives, since=WRITTEN).mendable is mendable


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text
