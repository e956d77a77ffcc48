"""The guard's verdict over a whole command, and what people read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydantic
import pytest

from dbguard import compose, guard
from dbguard.compose import Deletion, Doomed, Place
from dbguard.errors import ArchiveDamaged, Busy, InternalError, NotSetUp, Refused, StorageUnavailable
from dbguard.model import Verdict, VolumeVerdict
from tests.unit.played import FRESH, ME, MINUTE, MYSQL, NOW, V2, Docker, Engine, Shelf, archive, container, understood

RECENT = timedelta(minutes=15)
AUTO_CNF = f"[auto]\nserver-uuid={ME}\n".encode()


def deletion(*volumes: str, containers: Sequence[str] = ("id-shop-db",), path: str = "") -> Deletion:
    places = (Place(project="shop", service="db", image="", path=path),) if path else ()
    return Deletion(
        engine_id="E", containers=tuple(containers), volumes=tuple(Doomed(name=v, places=places) for v in volumes)
    )


def judged(engine: Engine, asked: Deletion, *shelves: Shelf) -> Verdict:
    catalogs: Any = shelves or (Shelf(FRESH),)
    containers: Any = engine
    return guard.judge(containers, catalogs, asked, recent=RECENT, now=NOW)


def test_mysql_is_known_by_its_files_and_allowed_by_a_fresh_backup() -> None:
    verdict = judged(Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF}), deletion("shop_data"))
    assert verdict.volumes == (
        VolumeVerdict(volume="shop_data", what="mysql shop/db", allowed=True, reason=f"backup {FRESH.id} is 3 min old"),
    )


def test_mariadb_too_even_where_files_of_mysql_were_left() -> None:
    control = b"\xfe\xfe\x0c\x01" + bytes(range(16)) + bytes(32)
    files = {"/var/lib/mysql/auto.cnf": AUTO_CNF, "/var/lib/mysql/aria_log_control": control}
    own = archive(age=MINUTE, identity=bytes(range(16)).hex())
    assert judged(Engine(MYSQL, files=files), deletion("shop_data"), Shelf(own)).allowed
    assert not judged(Engine(MYSQL, files=files), deletion("shop_data"), Shelf(FRESH)).allowed


@pytest.mark.parametrize(
    ("mounted", "file"),
    [
        ("/bitnami/mysql", "/bitnami/mysql/data/auto.cnf"),
        ("/config", "/config/databases/auto.cnf"),
        ("/var/lib", "/var/lib/mysql/auto.cnf"),
        ("/srv/x", "/srv/x/elsewhere/auto.cnf"),
        ("/var/lib/mysql/shop", "/var/lib/mysql/auto.cnf"),
    ],
)
def test_data_directories_in_odd_places(mounted: str, file: str) -> None:
    db = container("shop-db", ("shop_data", mounted), command=("mysqld", "--datadir=/srv/x/elsewhere"))
    verdict = judged(Engine(db, files={file: AUTO_CNF}), deletion("shop_data"), Shelf())
    assert verdict.volumes[0].what == "mysql shop/db"
    assert not verdict.allowed


def test_a_database_in_another_volume_below_is_not_this_ones() -> None:
    db = container("shop-db", ("shop_data", "/var/lib"), ("deeper", "/var/lib/mysql"))
    verdict = judged(Engine(db, files={"/var/lib/mysql/auto.cnf": AUTO_CNF}), deletion("shop_data"))
    assert verdict.volumes[0].what == "unknown"


def test_files_that_are_no_database_may_go_and_are_listed() -> None:
    web = container("shop-web", ("shop_web", "/usr/share/nginx"), image="nginx")
    verdict = judged(Engine(web), deletion("shop_web", containers=["id-shop-web"]))
    assert verdict.allowed
    assert verdict.volumes[0].what == "files"


def test_a_data_folder_without_readable_files_is_a_database_of_nobody_knows_whom() -> None:
    verdict = judged(Engine(MYSQL), deletion("shop_data"))
    assert not verdict.allowed
    assert verdict.volumes[0].what == "database shop/db"


def test_a_database_whose_name_is_lost_is_still_one() -> None:
    db = container("shop-db", ("shop_data", "/srv"), image="own/image")
    verdict = judged(Engine(db, files={"/srv/mysql/general_log.CSM": b""}), deletion("shop_data"))
    assert not verdict.allowed
    assert verdict.volumes[0].reason == "its files do not say which server they belong to"


def test_two_databases_on_one_volume() -> None:
    files = {"/var/lib/mysql/auto.cnf": AUTO_CNF, "/var/lib/mysql/data/aria_log_control": bytes(52)}
    assert "more than one" in judged(Engine(MYSQL, files=files), deletion("shop_data")).volumes[0].reason


def test_without_any_container_nobody_can_look() -> None:
    engine = Engine()
    engine.volumes = {"shop_data", "shop_web"}
    database, other = (
        judged(engine, deletion(name, path=path)).volumes[0]
        for name, path in {"shop_data": "/var/lib/mysql", "shop_web": "/srv"}.items()
    )
    assert not database.allowed
    assert database.what == "database shop/db"
    assert not other.allowed
    assert other.what == "unknown"


def test_what_does_not_exist_is_left_out() -> None:
    assert judged(Engine(), deletion("gone")) == Verdict(volumes=())


def test_what_another_container_holds_is_kept_by_the_engine() -> None:
    keeper = container("shop-tool", ("shop_data", "/look"), image="busybox")
    verdict = judged(Engine(MYSQL, keeper, files={"/var/lib/mysql/auto.cnf": AUTO_CNF}), deletion("shop_data"), Shelf())
    assert verdict.allowed
    assert "shop-tool" in verdict.volumes[0].reason


@pytest.mark.parametrize("passing", [{"auto_remove": True}, {"running": False}])
def test_what_holds_it_only_for_now_is_no_keeper(passing: dict[str, bool]) -> None:
    helper = container("shop-tool", ("shop_data", "/look"), image="busybox", **passing)
    engine = Engine(MYSQL, helper, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    assert not judged(engine, deletion("shop_data"), Shelf()).allowed


def test_a_backup_whose_bytes_are_damaged_allows_nothing() -> None:
    engine = Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    verdict = judged(engine, deletion("shop_data"), Shelf(FRESH, harm=ArchiveDamaged("not what was stored")))
    assert not verdict.allowed
    assert "not what was stored" in verdict.volumes[0].reason
    assert judged(engine, deletion("shop_data"), Shelf(FRESH, harm=ArchiveDamaged("x")), Shelf(FRESH)).allowed


def test_a_volume_that_holds_the_backups_stays() -> None:
    shelf = Shelf(FRESH)
    shelf.url = "file:///var/lib/docker/volumes/shop_backups/_data/dbguard"
    web = container("shop-web", ("shop_backups", "/b"), image="nginx")
    verdict = judged(Engine(web), deletion("shop_backups", containers=["id-shop-web"]), shelf)
    assert not verdict.allowed
    assert "backups themselves" in verdict.volumes[0].reason


def test_a_database_server_with_its_data_in_an_unknown_place() -> None:
    hidden = container("shop-db", ("shop_stuff", "/data"), image="mariadb:11.8")
    assert not judged(Engine(hidden), deletion("shop_stuff", containers=["id-shop-db"])).allowed
    settings = container("shop-db", ("shop_conf", "/etc/mysql/conf.d"), image="mariadb:11.8")
    assert judged(Engine(settings), deletion("shop_conf", containers=["id-shop-db"])).allowed
    application = container("shop-app", ("shop_html", "/var/www/html"), image="wordpress")
    assert judged(Engine(application), deletion("shop_html", containers=["id-shop-app"])).allowed


def test_a_storage_that_cannot_be_read_is_never_no_backup() -> None:
    engine = Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    down = Shelf(failure=StorageUnavailable("not mounted"))
    with pytest.raises(StorageUnavailable):
        judged(engine, deletion("shop_data"), down)
    with pytest.raises(StorageUnavailable):
        judged(engine, deletion("shop_data"), Shelf(archive(age=timedelta(days=9))), down)
    assert judged(engine, deletion("shop_data"), down, Shelf(FRESH)).allowed


def test_a_storage_that_was_never_used_holds_no_backup() -> None:
    engine = Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    verdict = judged(engine, deletion("shop_data"), Shelf(failure=NotSetUp("no archives")))
    assert verdict.volumes[0].reason == "never backed up"
    assert not verdict.allowed


def test_a_question_about_another_engine_is_not_answered() -> None:
    with pytest.raises(InternalError):
        judged(Engine(MYSQL), replace(deletion("shop_data"), engine_id="F"))


def test_the_question_travels_as_json() -> None:
    travel = pydantic.TypeAdapter(Deletion)
    asked = deletion("shop_data", path="/var/lib/mysql")
    assert travel.validate_json(travel.dump_json(asked)) == asked


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker.on_path(tmp_path, monkeypatch)


# --- run: one refusal refuses all ---


class Executed(Exception):
    pass


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(args: Sequence[str]) -> None:
        raise Executed(*args)

    monkeypatch.setattr(compose, "execute", execute)


def run(line: str, verdict: Verdict, before_exec: Callable[[], object] = lambda: None) -> list[str]:
    said: list[str] = []

    def judge(asked: Deletion) -> Verdict:
        assert asked.volumes
        before_exec()
        return verdict

    engine: Any = Engine(MYSQL)
    args = shlex.split(line)
    with pytest.raises(Executed) as raised:
        guard.run(understood(line), args, containers=engine, judge=judge, say=said.append)
    assert list(raised.value.args) == args
    return said


GOOD = VolumeVerdict(volume="shop_web", what="files", allowed=True, reason="not a MySQL or MariaDB database")
BAD = VolumeVerdict(volume="shop_data", what="mysql shop/db", allowed=False, reason="never backed up")
LOST = VolumeVerdict(volume="ab" * 32, what="unknown", allowed=False, reason="no container is left")


@pytest.mark.usefixtures("executed", "docker")
def test_an_allowed_command_runs_as_it_was_typed() -> None:
    said = run("-p shop down --volume -- web", Verdict(volumes=(GOOD,)))
    assert said == [
        "dbguard: docker compose -p shop down --volume -- web may delete\n"
        "  shop_web  files  ok  not a MySQL or MariaDB database"
    ]


@pytest.mark.usefixtures("executed", "docker")
def test_a_refusal_is_a_page_for_a_tired_person() -> None:
    with pytest.raises(Refused) as raised:
        run("-f a.yaml down -v -t0", Verdict(volumes=(GOOD, BAD, LOST)))
    assert raised.value.exit_code == 77
    assert str(raised.value) == (
        "refused: docker compose -f a.yaml down -v -t0 would delete what no fresh backup holds\n"
        "  shop_web                   files          ok       not a MySQL or MariaDB database\n"
        "  shop_data                  mysql shop/db  REFUSED  never backed up\n"
        "  abababababab… (anonymous)  unknown        REFUSED  no container is left\n"
        "nothing was stopped or deleted"
    )
    assert raised.value.hint == (
        "back up first:  dbguard backup now shop/db\n"
        "      then again:     dbguard compose -f a.yaml down -v -t0\n"
        "      keep the data:  docker compose --file=a.yaml down"
    )


@pytest.mark.usefixtures("executed")
def test_what_changed_while_it_was_judged_is_judged_again(docker: Docker) -> None:
    more = V2 + " DRY-RUN MODE -  Volume shop_more  Removing\n"
    with pytest.raises(Busy) as raised:
        run("down -v", Verdict(volumes=(GOOD,)), lambda: docker.answers({"--dry-run": (0, "", more)}))
    assert raised.value.exit_code == 75


@pytest.mark.usefixtures("executed")
def test_nothing_to_delete_needs_no_judge(docker: Docker) -> None:
    docker.answers({"--dry-run": (0, "", "Warning: No resource found to remove\n")})
    assert run("down -v", Verdict(volumes=(BAD,))) == []
