"""An archive, and all that its manifest says. Frozen, typed, without I/O."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from dbguard.model import TargetName

FORMAT = 1
"""The archive format this version writes, and the newest it reads."""

ASKED_FOR = " was asked for"
"""How the reason ends why an archive of chosen databases is partial."""
_ARCHIVE_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")  # \d would take the digits of every script

TRANSACTIONAL = {"innodb", "rocksdb", "ndbcluster", "tokudb"}
"""Storage engines whose tables are part of a snapshot."""
WITHOUT_DATA = {"federated", "mrg_myisam", "connect", "oqgraph", "spider", "s3"}
"""Storage engines whose tables keep their rows elsewhere: a dump leaves those out, and nobody here can lock them."""

ObjectKind = Literal[
    "table", "view", "sequence", "procedure", "function", "package", "package body", "trigger", "event"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored blob. Size in bytes, time by the storage's own clock; another `version` means other contents."""

    key: str
    size: int
    modified: datetime
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose archives a folder holds, so that two hosts with a project `shop` never mix."""

    engine_id: str
    project: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    name: str
    kind: str  # "BASE TABLE", "SYSTEM VERSIONED", …: the server's word
    engine: str | None
    rows: int | None = None
    checksum: str | None = None  # over all its rows, see checksums


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database and every object in it."""

    name: str
    create: str  # the server's own SHOW CREATE DATABASE
    tables: tuple[Table, ...] = ()
    objects: Mapping[ObjectKind, tuple[str, ...]] = field(default_factory=dict)  # all but tables
    definitions: Mapping[str, str] = field(default_factory=dict)  # of `table orders`, …: a fingerprint, see definitions

    def named(self) -> frozenset[tuple[ObjectKind, str]]:
        """Every object as (kind, name)."""
        others = {(kind, name) for kind, names in self.objects.items() for name in names}
        return frozenset({("table", table.name) for table in self.tables} | others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One stored file of an archive. Sizes in bytes; `plain…` before compression and encryption."""

    key: str
    size: int
    sha256: str
    plain_size: int
    plain_sha256: str
    compression: str = "zstd"
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    engine: str
    server_version: str
    client_version: str
    image: str
    image_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an archive came from: the container, and the server in it."""

    container_id: str
    container_name: str
    volumes: tuple[str, ...]
    identity: str
    started: datetime | None
    settings: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)  # those of its container that are settings of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The server's write position at the snapshot; what is not known is None."""

    gtid: str | None = None
    file: str | None = None
    offset: int | None = None
    lsn: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What can be said of an archive in few words: as small for a thousand tables as for one. Sizes in bytes."""

    id: str
    target: str
    engine: str
    server_version: str
    identity: str
    volumes: tuple[str, ...]
    snapshot: datetime
    started: datetime
    finished: datetime
    complete: bool
    partial_reasons: tuple[str, ...]
    databases: tuple[str, ...]
    tables: int
    rows: int | None  # None when they were not counted
    stored: Mapping[str, int]  # key and size of each blob
    plain_size: int
    recipients: tuple[str, ...] = ()
    suspicious: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> TargetName:
        return TargetName.parse(self.target)

    @property
    def size(self) -> int:
        """Stored bytes of all blobs."""
        return sum(self.stored.values())

    @property
    def selected(self) -> bool:
        """Somebody asked for some of the databases only: it stands for no backup of the target."""
        return any(reason.endswith(ASKED_FOR) for reason in self.partial_reasons)

    def age(self, now: datetime) -> timedelta:
        """Since the snapshot, the only time an age may count from."""
        return now - self.snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What was said of an archive after it was finished, in files of their own beside its manifest."""

    held: bool = False  # never to be pruned
    confirmed: bool = False  # a person says that it is as it should be
    verified: bool | None = None  # what the newest check said; None when there was none
    relied_on_until: datetime | None = None  # a volume was deleted because of it: not to be pruned before

    @property
    def failed(self) -> bool:
        """It was checked, and is not what it should be."""
        return self.verified is False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A good archive in one storage: its manifest could be read, and its data is there in the right size."""

    summary: Summary
    marks: Marks = Marks()

    @property
    def id(self) -> str:
        return self.summary.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One finished backup of one target: the contents of `manifest.json`."""

    format: int
    id: str
    target: str
    owner: Owner
    tool: str
    software: Software
    source: Source
    snapshot: datetime
    started: datetime
    finished: datetime
    databases: tuple[Database, ...]
    complete: bool
    partial_reasons: tuple[str, ...]
    options: tuple[str, ...]
    blobs: Mapping[str, Blob]
    largest_statement: int
    marker: Marker | None = None
    seal: str | None = None
    suspicious: tuple[str, ...] = ()  # why nobody should rely on it before a person confirms it
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> TargetName:
        return TargetName.parse(self.target)

    @property
    def size(self) -> int:
        """Stored bytes of all blobs."""
        return sum(blob.size for blob in self.blobs.values())

    @property
    def summary(self) -> Summary:
        tables = [table for database in self.databases for table in database.tables]
        counted = [table.rows for table in tables if table.rows is not None]
        return Summary(
            id=self.id,
            target=self.target,
            engine=self.software.engine,
            server_version=self.software.server_version,
            identity=self.source.identity,
            volumes=self.source.volumes,
            snapshot=self.snapshot,
            started=self.started,
            finished=self.finished,
            complete=self.complete,
            partial_reasons=self.partial_reasons,
            databases=tuple(database.name for database in self.databases),
            tables=len(tables),
            rows=sum(counted) if len(counted) == len(tables) else None,
            stored={blob.key: blob.size for blob in self.blobs.values()},
            plain_size=sum(blob.plain_size for blob in self.blobs.values()),
            recipients=tuple(sorted({name for blob in self.blobs.values() for name in blob.recipients})),
            suspicious=self.suspicious,
            labels=self.source.labels,
        )


def new_archive_id(now: datetime) -> str:
    """UTC start and 24 random bits: sorts by age, and two hosts never clash."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_archive_id(text: str) -> bool:
    return _ARCHIVE_ID.fullmatch(text) is not None
