"""Two positions of one server, and what was written in between."""

from __future__ import annotations

import itertools
import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import binlog
from dbguard.archive import Marker
from dbguard.since import MOST_EVENTS, UNCHANGED, by_events, by_gtid, same_start

A, B = "150dbefa-e738-11f1-8c2a-0242ac110003", "ffffffff-e738-11f1-8c2a-0242ac110003"


def gtid(then: str, now: str) -> str:
    found = by_gtid(Marker(gtid=then), Marker(gtid=now))
    assert found is not None
    assert found.unchanged == (found.words == UNCHANGED.words)
    return found.words


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        (f"{A}:1-3", f"{A}:1-3", "nothing was written since"),
        (f"{A}:1-3,{B}:1", f"{B}:1,\n{A.upper()}:1-3", "nothing was written since"),
        (f"{A}:1-3", f"{A}:1-4", "1 transaction since"),
        (f"{A}:1-3", f"{A}:1-3,{B}:1-2000", "2,000 transactions since"),
        (f"{A}:1-3", f"{A}:1-3:tag:1-2", "2 transactions since"),
        (f"{A}:1-3:7", f"{A}:1-7", "3 transactions since"),
        (f"{A}:1-9", f"{A}:1-2", "something was written since"),
        (f"{A}:1-3", f"{B}:1-3", "3 transactions since"),
    ],
)
def test_sets_of_transactions(then: str, now: str, words: str) -> None:
    assert gtid(then, now) == words


@given(st.sets(st.integers(1, 60), min_size=1), st.sets(st.integers(1, 60)))
def test_what_is_new_is_counted(then: set[int], new: set[int]) -> None:
    words = gtid(intervals(then), intervals(then | new))
    count = len(new - then)
    assert words == (f"{count} transaction{'s' * (count > 1)} since" if count else UNCHANGED.words)


def intervals(members: set[int]) -> str:
    """Of adjacent ones an interval, as the server writes them."""
    found: list[list[int]] = []
    for one in sorted(members):
        if found and found[-1][1] == one - 1:
            found[-1][1] = one
        else:
            found.append([one, one])
    return ":".join([A, *(f"{first}-{last}" if last > first else str(first) for first, last in found)])


def test_without_sets_there_is_no_answer() -> None:
    assert by_gtid(Marker(file="b.1", offset=4), Marker(gtid=f"{A}:1")) is None
    assert by_gtid(Marker(gtid="0-1-5"), Marker(gtid="0-1-5")) is None  # MariaDB's say where it is, not what it has


def test_events_that_only_a_server_writes() -> None:
    assert by_events(["Stop", "Format_desc", "Previous_gtids", "Gtid_list", "Binlog_checkpoint", "Rotate"]).unchanged
    assert by_events(["Gtid", "Query", "Xid", "Gtid", "Query"]).words == "2 transactions since"
    assert by_events(["Query"]).words == "something was written since"
    assert not by_events(["Start_encryption"]).unchanged
    assert by_events(["Gtid", "Query"] * (MOST_EVENTS // 2)).words == "more than 500 transactions since"


def test_one_start_is_told_in_whole_seconds() -> None:
    then = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert same_start(then, then + timedelta(seconds=1))
    assert not same_start(then, then + timedelta(seconds=3))
    assert not same_start(None, None)


# --- the file ---


def event(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<IBIIIH", 0, kind, 1, 19 + len(body), 0, 0) + body


FILE = binlog.MAGIC + event(15, b"x" * 100) + event(35) + event(34) + event(2, b"INSERT") + event(16) + event(3)
BEHIND_HEADERS = 4 + 119 + 19


@given(st.lists(st.integers(1, len(FILE) - 1)))
def test_a_file_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(FILE)]
    pieces = [FILE[a:b] for a, b in itertools.pairwise(edges)]
    assert list(binlog.events(pieces, BEHIND_HEADERS)) == ["Anonymous_Gtid", "2", "16", "Stop"]
    assert list(binlog.events(pieces, 4)) == ["Format_desc", "Previous_gtids", "Anonymous_Gtid", "2", "16", "Stop"]


def test_the_end_of_the_file_is_a_position_too() -> None:
    assert list(binlog.events([FILE], len(FILE))) == []


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (FILE[:-1], 4),
        (FILE[: 4 + 119 + 5], 4),
        (b"\xfdbin" + FILE[4:], 4),
        (FILE, 5),
        (FILE, len(FILE) + 1),
        (b"", 4),
        (binlog.MAGIC + b"\0" * 19, 4),
    ],
)
def test_what_cannot_be_read_is_never_nothing(data: bytes, start: int) -> None:
    with pytest.raises(binlog.Unreadable):
        list(binlog.events([data], start))
