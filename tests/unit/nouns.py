"""Containers and archives for tests, in few words; and archives as odd as they can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from dbguard.archive import (
    FORMAT,
    Archive,
    Blob,
    Database,
    Marker,
    Marks,
    Owner,
    Software,
    Source,
    Stored,
    Table,
    new_archive_id,
)
from dbguard.model import Container, TargetName

START = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)
TARGET = TargetName(project="shop", service="db")
OWNER = Owner(engine_id="ENGINE", project="shop", service="db")


def archive(number: int = 0, *, identity: str = "uuid", **changes: Any) -> Archive:
    """The one made `number` hours after START, of the server with this identity."""
    at = START + timedelta(hours=number)
    given: dict[str, Any] = {
        "format": FORMAT,
        "id": f"{at:%Y%m%dT%H%M%SZ}-{number:06x}",
        "target": str(TARGET),
        "owner": OWNER,
        "tool": "dbguard 0.1.0",
        "software": Software(
            engine="mysql", server_version="9.7.0", client_version="9.7.0", image="mysql:9.7", image_id="sha256:0"
        ),
        "source": Source(
            container_id="c0ffee", container_name="shop-db-1", volumes=("shop_data",), identity=identity,
            started=START, settings={"sql_mode": ""},
        ),
        "snapshot": at,
        "started": at,
        "finished": at + timedelta(minutes=1),
        "databases": (Database(name="shop", create="CREATE DATABASE `shop`"),),
        "complete": True,
        "partial_reasons": (),
        "options": ("--opt",),
        "blobs": {},
        "largest_statement": 0,
    }  # fmt: skip
    return Archive(**{**given, **changes})


def listed(made: Archive, **marks: Any) -> Stored:
    """As a listing shows it."""
    return Stored(summary=made.summary, marks=Marks(**marks))


def container(**changes: Any) -> Container:
    """A running one that is no database."""
    given: dict[str, Any] = {
        "id": "c0ffee" * 10 + "0123",
        "name": "shop-db-1",
        "image": "busybox",
        "image_id": "sha256:0",
        "running": True,
        "paused": False,
        "started": "2026-11-23T00:00:00Z",
        "labels": {},
        "variables": frozenset(),
        "command": (),
        "mounts": (),
    }
    return Container(**{**given, **changes})


any_name = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
moments = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001
kinds = st.sampled_from(["view", "sequence", "procedure", "function", "package", "package body", "trigger", "event"])
few_names = st.lists(any_name, max_size=3).map(tuple)
databases = st.builds(
    Database,
    tables=st.lists(st.builds(Table, name=any_name), max_size=3).map(tuple),
    objects=st.dictionaries(kinds, few_names, max_size=3),
)


@st.composite
def any_archives(draw: st.DrawFn) -> Archive:
    """Of TARGET; its names may be anything that is text."""
    return draw(
        st.builds(
            Archive,
            format=st.just(FORMAT),
            id=moments.map(new_archive_id),
            target=st.just(str(TARGET)),
            owner=st.just(OWNER),
            source=st.builds(
                Source, started=st.none() | moments, volumes=few_names, settings=st.dictionaries(any_name, any_name)
            ),
            snapshot=moments,
            started=moments,
            finished=moments,
            databases=st.lists(databases, max_size=3).map(tuple),
            partial_reasons=few_names,
            options=few_names,
            blobs=st.dictionaries(any_name, st.builds(Blob, recipients=few_names), max_size=2),
            marker=st.none() | st.builds(Marker),
            warnings=few_names,
        )
    )
