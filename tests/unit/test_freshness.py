"""May this volume go? A table of what is known about one, and the answer."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dbguard.archive import Summary
from dbguard.freshness import Backups, Contents, decide
from dbguard.model import TargetName
from tests.unit import played
from tests.unit.played import ME, MINUTE, NOW, OTHER

RECENT = timedelta(minutes=15)
SHOP = TargetName(project="shop", service="db")
DATABASE = Contents(volume="shop_data", engine="mysql", identity=ME, targets=(SHOP,), running=True)


def archive(**known: Any) -> Summary:
    return played.archive(**known).summary


FRESH = played.FRESH.summary

# --- freshness: one volume ---

ALLOWED = {
    "backup .* is 3 min old": (DATABASE, [FRESH]),
    "is 15 min old": (DATABASE, [archive(age=RECENT)]),
    "is 0 s old": (DATABASE, [archive(age=-MINUTE / 2)]),
    "(?# a newer partial one does not spoil it)3 min old": (DATABASE, [archive(age=MINUTE, complete=False), FRESH]),
    "(?# nor does one of another server)3 min old": (DATABASE, [archive(age=MINUTE, identity=OTHER), FRESH]),
    "(?# stopped, but backed up just before)3 min old": (replace(DATABASE, running=False), [FRESH]),
    "not a MySQL or MariaDB database": (Contents(volume="shop_data"), []),
    "stays: still used by web": (replace(DATABASE, kept_by=("web",)), []),
}

REFUSED = {
    "^never backed up$": (DATABASE, []),
    "is 16 min old, more than 15 min": (DATABASE, [archive(age=RECENT + MINUTE)]),
    "is 26 h old, more": (DATABASE, [archive(age=timedelta(hours=26, minutes=59))]),
    "is 3 days old, more": (DATABASE, [archive(age=timedelta(days=3))]),
    "is partial: only shop was asked for": (DATABASE, [archive(age=MINUTE, complete=False)]),
    "backups of shop/db are of another server": (DATABASE, [archive(age=MINUTE, identity=OTHER)]),
    "backups of shop/db are of its volume old_data": (DATABASE, [archive(age=MINUTE, volumes=("old_data",))]),
    "lies in the future": (DATABASE, [archive(age=-2 * MINUTE)]),
    "never backed up; its server is not running": (replace(DATABASE, running=False), []),
    "do not say which server": (replace(DATABASE, identity=""), [archive(age=MINUTE, identity="")]),
    "more than one database": (Contents(volume="shop_data", unknown="more than one database lies on it"), [FRESH]),
}


@pytest.mark.parametrize("reason", ALLOWED)
def test_allowed(reason: str) -> None:
    contents, archives = ALLOWED[reason]
    verdict = decide(contents, Backups(archives=archives, damaged={}), recent=RECENT, now=NOW)
    assert verdict.allowed
    assert_matches(reason, verdict.reason)


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    contents, archives = REFUSED[reason]
    verdict = decide(contents, Backups(archives=archives, damaged={}), recent=RECENT, now=NOW)
    assert not verdict.allowed
    assert_matches(reason, verdict.reason)


def test_a_damaged_backup_is_named_but_spoils_no_good_one() -> None:
    damaged = {"20261123T115900Z-000000": "its manifest cannot be read"}
    old = archive(age=timedelta(hours=5))
    verdict = decide(DATABASE, Backups(archives=[old], damaged=damaged), recent=RECENT, now=NOW)
    assert not verdict.allowed
    assert "20261123T115900Z-000000 is damaged: its manifest cannot be read" in verdict.reason
    assert decide(DATABASE, Backups(archives=[FRESH], damaged=damaged), recent=RECENT, now=NOW).allowed


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text
