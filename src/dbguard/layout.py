"""How archives are laid out in a storage: which file means what. Pure.

dbguard.json                          the mark of a storage
<project>/<service>/owner.json        whose archives these are
<project>/<service>/<id>/data.sql.zst[.age]
<project>/<service>/<id>/accounts.sql.zst[.age]
<project>/<service>/<id>/manifest.json
<project>/<service>/<id>/<mark>-<UTC>[-passed|-failed].json
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from dbguard.archive import Marks, is_archive_id

MANIFEST = "manifest.json"
ROOT_MARK = "dbguard.json"
_OWNER = re.compile(r"owner(?:-([0-9]+))?\.json")
_MARK = re.compile(r"(hold|confirm|check|relied)-([0-9]{8}T[0-9]{6}[0-9]{6}Z)(?:-(passed|failed))?\.json")

MarkKind = Literal["hold", "confirm", "relied"]
CheckResult = Literal["passed", "failed"]


def data(*, encrypted: bool) -> str:
    return _sql("data", encrypted=encrypted)


def accounts(*, encrypted: bool) -> str:
    return _sql("accounts", encrypted=encrypted)


def owner(number: int) -> str:
    """The file of the owner with this number: each that adopts the folder adds one."""
    return f"owner-{number}.json" if number else "owner.json"


def owner_number(name: str) -> int | None:
    match = _OWNER.fullmatch(name)
    return int(match[1] or 0) if match else None


def is_ours(name: str) -> bool:
    """Below a project and a service: anything else there was left by others."""
    return is_archive_id(name) or owner_number(name) is not None


def mark(kind: MarkKind, now: datetime) -> str:
    """`relied` bears the time until when."""
    return f"{kind}-{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}.json"


def check(result: CheckResult, now: datetime) -> str:
    return f"check-{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{result}.json"


def is_hold(name: str) -> bool:
    return name.startswith("hold-") and _MARK.fullmatch(name) is not None


def marks(names: Iterable[str]) -> Marks:
    """What the files beside a manifest say; of several checks the newest counts."""
    found = [match.groups() for match in map(_MARK.fullmatch, names) if match]
    checks = sorted((moment, word) for kind, moment, word in found if kind == "check" and word)
    return Marks(
        held=any(kind == "hold" for kind, _, _ in found),
        confirmed=any(kind == "confirm" for kind, _, _ in found),
        verified=checks[-1][1] == "passed" if checks else None,
        relied_on_until=max((_time(moment) for kind, moment, _ in found if kind == "relied"), default=None),
    )


def _time(moment: str) -> datetime:
    return datetime.strptime(moment, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)


def _sql(what: str, *, encrypted: bool) -> str:
    return f"{what}.sql.zst.age" if encrypted else f"{what}.sql.zst"
