"""What was written to a server since an archive's snapshot, told by two of its write positions. Pure.

Positions that differ may mean nothing (the server noted something about itself); equal ones never do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbguard.archive import Marker

_ROUNDED = timedelta(seconds=2)
"""How far two statements of one server's start may lie apart: both count back from now in whole seconds."""
_INTERVAL = re.compile(r"(\d+)(?:-(\d+))?")
MOST_EVENTS = 1000
"""More are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """The answer, and the words for it that follow an archive's name."""

    unchanged: bool
    words: str
    mendable: bool = True  # after another backup there may be another answer

    @classmethod
    def unknown(cls, why: str, *, mendable: bool = True) -> Since:
        words = f"nobody can say what was written since: {why}"
        return cls(unchanged=False, words=words, mendable=mendable)

    @classmethod
    def written(cls, transactions: int | None, *, more: bool = False) -> Since:
        """`more` when they were not counted to the end."""
        if not transactions:
            return cls(unchanged=False, words="something was written since")
        plural = "s" if transactions > 1 or more else ""
        return cls(unchanged=False, words=f"{'more than ' if more else ''}{transactions:,} transaction{plural} since")


UNCHANGED = Since(unchanged=True, words="nothing was written since")

IDLE = frozenset({"Stop", "Rotate", "Format_desc", "Previous_gtids", "Gtid_list", "Binlog_checkpoint"})
"""Events that a server writes into its binary log without anybody having written: starting, stopping, changing files.
The names of SHOW BINLOG EVENTS in MySQL (sql/log_event.cc, get_type_str) and MariaDB."""
_BEGINS = frozenset({"Gtid", "Anonymous_Gtid", "Gtid_tagged"})


def same_start(then: datetime | None, now: datetime | None) -> bool:
    """Whether the server has run all the time in between: only then its LSN says something."""
    return then is not None and now is not None and abs(then - now) <= _ROUNDED


def by_gtid(then: Marker, now: Marker) -> Since | None:
    """For MySQL's sets of transactions, which outlive restarts; None where there are none to compare."""
    if not (then.gtid and now.gtid and ":" in then.gtid and ":" in now.gtid):
        return None
    if (before := _members(then.gtid)) == (after := _members(now.gtid)):
        return UNCHANGED
    count = sum(_size(after[source]) - _size(before.get(source, {})) for source in after)
    return Since.written(max(count, 0))


def by_events(names: Iterable[str]) -> Since:
    """For the events between two places of a binary log; asked for at most MOST_EVENTS of each file."""
    events = [name for name in names if name not in IDLE]
    if not events:
        return UNCHANGED
    return Since.written(sum(name in _BEGINS for name in events), more=len(events) >= MOST_EVENTS)


def _members(gtid: str) -> dict[str, Mapping[int, int]]:
    """`uuid:1-3:5,uuid:tag:7` as first and last of each interval, by source and tag (MySQL manual, "GTID Sets")."""
    found: dict[str, dict[int, int]] = {}
    for source, first, last in _intervals(gtid):
        found.setdefault(source, {})[first] = last
    return {source: dict(sorted(intervals.items())) for source, intervals in found.items()}


def _intervals(gtid: str) -> Iterator[tuple[str, int, int]]:
    for part in re.sub(r"\s", "", gtid).lower().split(","):
        uuid, *rest = part.split(":")
        tag = ""
        for word in rest:
            if match := _INTERVAL.fullmatch(word):
                yield f"{uuid}:{tag}", int(match[1]), int(match[2] or match[1])
            else:
                tag = word


def _size(intervals: Mapping[int, int]) -> int:
    return sum(last - first + 1 for first, last in intervals.items())
