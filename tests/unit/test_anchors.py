"""Which volumes get an anchor, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dbguard import anchors
from dbguard.discover import is_candidate, sighting
from dbguard.model import Container, Mount, Sighting, TargetName

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def container(name: str = "db", *mounts: Mount, running: bool = True, **labels: str) -> Container:
    return Container(
        id=f"id-{name}",
        name=name,
        image="mariadb:11.8",
        image_id="sha256:1",
        running=running,
        paused=False,
        started="",
        labels={f"dbguard.{key}": value for key, value in labels.items()},
        variables=frozenset(),
        command=(),
        mounts=mounts,
    )


def anchor(volume: str, *, running: bool = True) -> Container:
    mounts = (mount(volume, "/locked"), Mount(kind="tmpfs", name=None, source="", destination="/var/lib/mysql"))
    return container(f"dbguard-lock-{volume}", *mounts, running=running, role="anchor", lock=volume)


def mount(volume: str, place: str, *, anonymous: bool = False) -> Mount:
    return Mount(kind="volume", name=volume, source="", destination=place, anonymous=anonymous)


def test_an_anchor_is_neither_a_database_nor_a_user_of_its_volume() -> None:
    assert anchors.is_anchor(anchor("data"))
    assert not is_candidate(anchor("data"))
    seen = sighting(None, None, anchor("data"))  # type: ignore[arg-type]
    assert (seen.database, seen.name, seen.why_not) == (
        False,
        None,
        "an anchor: it keeps volume data from being deleted",
    )


@pytest.mark.parametrize("labels", [{}, {"lock": "data"}, {"role": "sidecar", "lock": "data"}, {"role": "anchor"}])
def test_what_is_no_anchor(labels: dict[str, str]) -> None:
    assert not anchors.is_anchor(container("db", running=True, **labels))


def test_the_volumes_of_a_target() -> None:
    data, conf = mount("data", "/var/lib/mysql"), mount("conf", "/etc/mysql")
    bind = Mount(kind="bind", name=None, source="/srv", destination="/var/lib/mysql")
    nameless = mount("0" * 64, "/var/lib/mysql", anonymous=True)
    assert anchors.data_volumes(container("db", data, conf, bind)) == ["data"]
    assert anchors.data_volumes(container("db", mount("odd", "/srv/db"), conf), "/srv/db/mysql") == ["odd"]
    assert anchors.data_volumes(container("db", nameless)) == ["0" * 64]
    assert anchors.data_volumes(replace(container("db", nameless), auto_remove=True)) == []
    assert anchors.data_volumes(replace(container("db", data), auto_remove=True)) == ["data"]


def test_only_what_is_to_be_backed_up_is_wanted() -> None:
    def seen(volume: str, **how: bool) -> Sighting:
        name = TargetName(project="shop", service=volume)
        here = container(volume, mount(volume, "/var/lib/mysql"))
        one = Sighting(container=here, name=name, database=True, target=None, why_not="its server is starting")
        return replace(one, **how)  # type: ignore[arg-type]

    sightings = [seen("db"), seen("off", enabled=False), seen("web", database=False)]
    assert list(anchors.wanted(sightings)) == ["db"]


@pytest.mark.parametrize(
    ("there", "held", "made"),
    [
        ([], {}, True),
        ([anchor("data")], {}, False),
        ([anchor("data", running=False)], {}, True),
        ([anchor("data", running=False)], {"data": NOW}, True),
        ([anchor("other")], {}, True),
        ([], {"data": NOW - 10 * SECOND}, False),
        ([], {"data": NOW}, False),
        ([], {"data": NOW - anchors.PATIENCE}, True),
        ([], {"data": NOW + SECOND}, True),
        ([], {"other": NOW}, True),
    ],
)
def test_when_an_anchor_is_made(there: list[Container], held: dict[str, datetime], made: bool) -> None:
    """At once; but one that somebody has just taken away may be gone because its volume is being deleted."""
    assert anchors.due(["data"], there, held, NOW) == (["data"] if made else [])
