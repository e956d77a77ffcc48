"""What a manifest says about a finished dump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dbguard import __version__
from dbguard.archive import (
    ASKED_FOR,
    FORMAT,
    TRANSACTIONAL,
    WITHOUT_DATA,
    Archive,
    Blob,
    Database,
    Owner,
    Software,
    Source,
)
from dbguard.dumping import Dumped
from dbguard.habits import settings_among
from dbguard.model import Target
from dbguard.obstacles import Obstacle


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    started: datetime
    snapshot: datetime
    finished: datetime


def describe(
    target: Target,
    *,
    archive_id: str,
    owner: Owner,
    times: Times,
    dumped: Dumped,
    left_out: Sequence[Obstacle],
    only: Sequence[str],
    no_accounts: Sequence[str],
    blobs: Sequence[Blob],
    largest_statement: int,
) -> Archive:
    reasons = _partial_reasons(target, dumped, left_out, only)
    return Archive(
        format=FORMAT,
        id=archive_id,
        target=str(target.name),
        owner=owner,
        tool=f"dbguard {__version__}",
        software=_software(target),
        source=_source(target),
        snapshot=times.snapshot,
        started=times.started,
        finished=times.finished,
        databases=dumped.databases,
        complete=not reasons,
        partial_reasons=reasons,
        options=dumped.options,
        blobs={blob.key.partition(".")[0]: blob for blob in blobs},
        largest_statement=largest_statement,
        marker=dumped.marker,
        warnings=(
            *_warnings(dumped.databases, left_out),
            *dumped.remarks,
            *(f"accounts left out: {why}" for why in no_accounts),
        ),
    )


def _partial_reasons(
    target: Target, dumped: Dumped, left_out: Sequence[Obstacle], only: Sequence[str]
) -> tuple[str, ...]:
    return (
        *target.server.blind_spots,
        *dumped.doubts,
        *((f"only {', '.join(only)}{ASKED_FOR}",) if only else ()),
        *(("invalid views were left out",) if left_out else ()),
    )


def _warnings(databases: Sequence[Database], left_out: Sequence[Obstacle]) -> tuple[str, ...]:
    tables = [
        (f"{database.name}.{table.name}", (table.engine or "innodb").lower())
        for database in databases
        for table in database.tables
    ]
    loose = [name for name, engine in tables if engine not in TRANSACTIONAL]
    empty = [name for name, engine in tables if engine in WITHOUT_DATA]
    return (
        *(f"left out: the view {view}" for view in left_out),
        *((f"not transactional, so not part of the snapshot: {', '.join(loose)}",) if loose else ()),
        *((f"dumped without data, as their engine keeps none here: {', '.join(empty)}",) if empty else ()),
    )


def _software(target: Target) -> Software:
    return Software(
        engine=target.server.engine,
        server_version=target.server.version,
        client_version=target.programs.dump_version,
        image=target.container.image,
        image_id=target.container.image_id,
    )


def _source(target: Target) -> Source:
    return Source(
        container_id=target.container.id,
        container_name=target.container.name,
        volumes=tuple(mount.name for mount in target.container.mounts if mount.name),
        identity=target.server.identity,
        started=target.server.started,
        settings=target.server.settings,
        labels=settings_among(target.container.labels),
    )
