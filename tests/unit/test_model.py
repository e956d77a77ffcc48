"""The nouns, and what they refuse to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dbguard.archive import Blob, Database, Table, is_archive_id, new_archive_id
from dbguard.errors import DbguardError, NotFound, UsageError
from dbguard.model import Login, Mount, TargetName, Verdict, VolumeVerdict
from dbguard.storages.local import LocalStorage
from tests.unit.nouns import START, archive, container

# --- names of targets ---


@pytest.mark.parametrize(
    ("text", "project", "service"),
    [("shop/db", "shop", "db"), ("db", "_", "db"), ("_/my.db-1", "_", "my.db-1"), ("Shop_1/DB", "Shop_1", "DB")],
)
def test_a_target_is_named_by_project_and_service(text: str, project: str, service: str) -> None:
    name = TargetName.parse(text)
    assert name == TargetName(project=project, service=service)
    assert TargetName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "shop/", "a/b/c", "..", "../db", "shop/..", ".hidden", "-rf", "shop/-rf", "a b", "shop/db\n",
        "x" * 129, "shop/ünï", "shop/\N{ARABIC-INDIC DIGIT THREE}", "a\\b", "a\0b", "shop//db", "$(id)/db",
    ],
)  # fmt: skip
def test_what_could_lead_elsewhere_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        TargetName.parse(text)


@given(st.text(max_size=20))
@example("a.")
@example("a/b.json")
def test_every_name_of_a_target_is_a_safe_key_in_storage(text: str) -> None:
    try:
        name = TargetName.parse(text)
    except UsageError:
        return
    root = Path("/nonexistent")
    with pytest.raises(NotFound, match=f"^/nonexistent/{name}/owner.json: not found$"):
        LocalStorage(root).open(f"{name}/owner.json").__enter__()


def test_a_project_without_a_name_is_written_as_underscore() -> None:
    assert str(TargetName.parse("/db")) == "_/db"


def test_targets_are_sorted_by_project_and_service() -> None:
    names = ["b/a", "a/b", "a/a", "_/z"]
    assert [str(name) for name in sorted(map(TargetName.parse, names))] == ["_/z", "a/a", "a/b", "b/a"]


# --- ids of archives ---


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_an_id_is_its_start_in_utc(moment: datetime) -> None:
    made = new_archive_id(moment)
    assert is_archive_id(made)
    parsed = datetime.strptime(made.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert parsed == moment.astimezone(UTC).replace(microsecond=0)


@given(st.lists(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1)), min_size=2))  # noqa: DTZ001
def test_ids_sort_by_age(moments: list[datetime]) -> None:
    seconds = sorted({moment.replace(microsecond=0, tzinfo=UTC) for moment in moments})
    ids = [new_archive_id(moment) for moment in seconds]
    assert ids == sorted(ids)


def test_ids_of_the_same_second_differ() -> None:
    assert len({new_archive_id(START) for _ in range(100)}) > 95


@pytest.mark.parametrize(
    "text",
    ["", "x", "20261123T013000Z", "20261123T013000Z-7f3a9", "20261123T013000Z-7f3a9cc", "20261123T013000Z-7F3A9C",
     "20261123T013000Z-7f3a9c\n", " 20261123T013000Z-7f3a9c", "../1123T013000Z-7f3a9c",
     "2026112\N{ARABIC-INDIC DIGIT THREE}T013000Z-7f3a9c"],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not is_archive_id(text)


# --- archives ---


def test_an_archive_is_as_old_as_its_snapshot() -> None:
    made = archive(snapshot=START, started=START - timedelta(hours=5), finished=START + timedelta(hours=5)).summary
    elsewhere = timezone(timedelta(hours=-7))
    later = START + timedelta(minutes=2)
    assert made.age(later) == made.age(later.astimezone(elsewhere)) == timedelta(minutes=2)


def test_an_archive_is_as_large_as_its_blobs() -> None:
    def blob(size: int) -> Blob:
        return Blob(key="x", size=size, sha256="", plain_size=0, plain_sha256="")

    assert archive(blobs={"data": blob(5), "accounts": blob(7)}).size == 12


def test_all_objects_of_a_database_have_a_kind_and_a_name() -> None:
    database = Database(
        name="shop",
        create="",
        tables=(Table(name="same", kind="BASE TABLE", engine=None),),
        objects={"view": ("v",), "trigger": ("same",), "event": ()},
    )
    assert database.named() == {("table", "same"), ("view", "v"), ("trigger", "same")}


# --- the rest ---


def test_a_login_does_not_show_its_password() -> None:
    login = Login(user="root", password="hunter2")
    assert "hunter2" not in f"{login!r} {login}"


@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (Login(user="root"), "root without a password"),
        (Login(user="root", variable="MYSQL_ROOT_PASSWORD"), "root with $MYSQL_ROOT_PASSWORD of the container"),
        (Login(user_variable="MYSQL_USER", variable="P"), "$MYSQL_USER with $P of the container"),
        (Login(user="root", password="x"), "root with the configured password"),
        (Login(user="root", password=""), "root without a password"),
    ],
)
def test_a_login_says_where_it_is_from(login: Login, shown: str) -> None:
    assert str(login) == shown


def test_a_container_belongs_to_a_compose_project_by_its_labels() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    assert (container(labels=labels).project, container(labels=labels).service) == ("shop", "db")
    assert (container().project, container().service) == (None, None)


@pytest.mark.parametrize(
    ("mount", "shown"),
    [
        (Mount(kind="volume", name="shop_data", source="/x", destination="/d"), "shop_data:/d"),
        (Mount(kind="volume", name="0" * 64, source="/x", destination="/d", anonymous=True), "anonymous volume:/d"),
        (Mount(kind="bind", name=None, source="/srv/data", destination="/d"), "/srv/data:/d"),
    ],
)
def test_mounts_are_shown_by_what_people_call_them(mount: Mount, shown: str) -> None:
    assert str(mount) == shown


@given(st.lists(st.booleans()))
def test_one_refusal_refuses_all(allowed: list[bool]) -> None:
    verdict = Verdict(volumes=tuple(VolumeVerdict(volume="v", what="", allowed=each, reason="") for each in allowed))
    assert verdict.allowed == (False not in allowed)


def test_an_error_may_carry_a_hint() -> None:
    assert DbguardError("it broke").hint is None
    assert DbguardError("it broke", hint="mend it").hint == "mend it"
