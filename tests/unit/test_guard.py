"""The guard: what is on a volume, which archive lets it go, and what happens then. Decisions only; e2e/test_guard.py
meets Compose and servers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydantic
import pytest

from dbguard import guard
from dbguard.archive import Archive, Marks
from dbguard.compose import Deletion, Doomed, Place
from dbguard.compose.program import Program
from dbguard.errors import (
    ArchiveDamaged,
    Busy,
    InternalError,
    NotSetUp,
    NotVerified,
    Refused,
    StorageUnavailable,
    UsageError,
)
from dbguard.freshness import Contents, Rules
from dbguard.guard import judging
from dbguard.lock import target_lock
from dbguard.model import TargetName, Verdict, VolumeVerdict
from dbguard.since import UNCHANGED, Since
from tests.unit.played import FRESH, ME, MINUTE, MYSQL, NOW, V2, Docker, Engine, Shelf, archive, command, container

EXACT = Rules()
AUTO_CNF = f"[auto]\nserver-uuid={ME}\n".encode()


def deletion(*volumes: str, containers: Sequence[str] = ("id-shop-db",), path: str = "") -> Deletion:
    places = (Place(project="shop", service="db", image="", path=path),) if path else ()
    return Deletion(
        engine_id="E", containers=tuple(containers), volumes=tuple(Doomed(name=v, places=places) for v in volumes)
    )


@dataclass
class Witness:
    """See judging.Witness."""

    said: Since = UNCHANGED
    why_not: str | Exception = ""
    verified: list[str] = field(default_factory=list)

    def since(self, contents: Contents, archive: Archive) -> Since:
        assert contents.container
        assert contents.folder
        return self.said

    def verify(self, archive: Archive, catalog: object) -> str:
        self.verified.append(archive.id)
        if isinstance(self.why_not, Exception):
            raise self.why_not
        return self.why_not


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> Path:
    State.folder = tmp_path / "state"
    return State.folder


class State:
    folder: Path


def judged(
    engine: Engine,
    asked: Deletion,
    *shelves: Shelf,
    rules: Rules = EXACT,
    witness: Witness | None = None,
    whole: str = "",
) -> Verdict:
    catalogs: Any = shelves or (Shelf(FRESH),)
    containers: Any = engine
    return judging.judge(
        containers,
        catalogs,
        asked,
        rules=rules,
        witness=witness or Witness(),
        state=State.folder,
        now=NOW,
        whole=frozenset([whole]),
    )


def test_mysql_is_known_by_its_files_and_allowed_by_a_fresh_backup() -> None:
    verdict = judged(Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF}), deletion("shop_data"))
    assert verdict.volumes == (
        VolumeVerdict(
            volume="shop_data",
            what="mysql shop/db",
            allowed=True,
            reason=f"backup {FRESH.id}, 3 min old, verified, nothing was written since",
            archive=FRESH.id,
            target="shop/db",
        ),
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


def test_without_any_container_one_is_made_to_look() -> None:
    engine = Engine(files={"/volume/auto.cnf": AUTO_CNF})
    engine.volumes = {"shop_data"}
    assert judged(engine, deletion("shop_data", path="/var/lib/mysql")).allowed
    assert judged(engine, deletion("shop_data")).allowed  # of no file: the archives know their volume
    engine.files = {}
    assert judged(engine, deletion("shop_data")).volumes[0].what == "files"
    assert not judged(engine, deletion("shop_data", path="/var/lib/mysql")).allowed


def test_where_none_can_be_made_nobody_can_look() -> None:
    engine = Engine()
    engine.volumes, engine.refuses = {"shop_data"}, True
    verdict = judged(engine, deletion("shop_data"))
    assert not verdict.allowed
    assert verdict.volumes[0].what == "unknown"


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
        judged(engine, deletion("shop_data"), Shelf(FRESH), down, witness=Witness(said=Since.written(1)))
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


# --- what nobody but the witness knows ---

DATABASE = Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})


def test_what_was_written_since_is_said() -> None:
    verdict = judged(DATABASE, deletion("shop_data"), witness=Witness(said=Since.written(1482)))
    assert verdict.volumes[0].reason == f"its newest backup {FRESH.id} is 3 min old, 1,482 transactions since"
    assert verdict.volumes[0].mendable


def unverified(*archives: Archive, **more: Any) -> Shelf:
    shelf = Shelf(*archives or (FRESH,), **more)
    shelf.marks = Marks()
    return shelf


def test_what_nobody_has_verified_is_verified_by_the_guard() -> None:
    witness = Witness()
    assert (
        "verified, nothing" in judged(DATABASE, deletion("shop_data"), unverified(), witness=witness).volumes[0].reason
    )
    assert witness.verified == [FRESH.id]


@pytest.mark.parametrize("why_not", ["one row is missing", NotVerified("no memory for a server")])
def test_what_cannot_be_verified_allows_nothing_unless_complete_is_enough(why_not: str | Exception) -> None:
    witness = Witness(why_not=why_not)
    verdict = judged(DATABASE, deletion("shop_data"), unverified(), witness=witness)
    assert not verdict.allowed
    assert str(why_not) in verdict.volumes[0].reason
    assert judged(
        DATABASE, deletion("shop_data"), unverified(), rules=Rules(require="complete"), witness=witness
    ).allowed


def test_an_archive_that_is_not_asked_about_is_not_verified() -> None:
    witness = Witness(said=Since.written(1))
    judged(DATABASE, deletion("shop_data"), unverified(), witness=witness)
    assert witness.verified == []


def test_a_copy_that_is_damaged_spoils_no_good_one() -> None:
    failed = Shelf(FRESH)
    failed.marks = Marks(verified=False)
    assert not judged(DATABASE, deletion("shop_data"), failed).allowed
    assert judged(DATABASE, deletion("shop_data"), failed, Shelf(FRESH)).allowed


def test_what_was_read_a_moment_ago_is_not_read_again() -> None:
    harmed = Shelf(FRESH, harm=ArchiveDamaged("not what was stored"))
    assert judged(DATABASE, deletion("shop_data"), harmed, whole=FRESH.id).allowed
    assert not judged(DATABASE, deletion("shop_data"), harmed).allowed


def test_while_a_backup_runs_nobody_decides() -> None:
    with target_lock(State.folder, TargetName(project="shop", service="db")), pytest.raises(Busy):
        judged(DATABASE, deletion("shop_data"))


def test_the_archive_relied_on_stays_for_a_while() -> None:
    shelves: Any = Shelf(FRESH), Shelf(failure=StorageUnavailable("down")), Shelf(archive(age=MINUTE))
    verdict = judged(DATABASE, deletion("shop_data"), shelves[0])
    judging.rely_on(shelves, verdict, NOW + timedelta(days=7))
    assert [shelf.marked for shelf in shelves] == [[(FRESH.id, "relied", NOW + timedelta(days=7))], [], []]


# --- volumes that hold something else, or nothing ---


def test_databases_of_other_kinds_are_known_by_their_files() -> None:
    database = container("shop-pg", ("shop_pg", "/var/lib/postgresql/data"), image="postgres:17")
    engine = Engine(database, files={"/var/lib/postgresql/data/PG_VERSION": b"17"})
    verdict = judged(engine, deletion("shop_pg", containers=["id-shop-pg"]))
    assert not verdict.allowed
    assert verdict.volumes[0].what == "postgresql"


def test_an_empty_volume_may_go_even_where_a_database_would_be() -> None:
    engine = Engine(container("shop-db", ("shop_data", "/var/lib/mysql"), image="own/image"))
    engine.empty = {"/var/lib/mysql"}
    assert judged(engine, deletion("shop_data")).volumes[0].what == "empty"


def test_what_only_refers_to_data_elsewhere() -> None:
    engine = Engine(MYSQL, files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    engine.origins = {"shop_data": "addr=nas :/export"}
    assert "stays in addr=nas :/export" in judged(engine, deletion("shop_data"), Shelf()).volumes[0].reason


@pytest.mark.parametrize("label", ["dbguard.ephemeral", "dbguard.ignore"])
def test_a_test_stack_passes_and_is_printed(label: str) -> None:
    labels = {**MYSQL.labels, label: "true"}
    engine = Engine(replace(MYSQL, labels=labels), files={"/var/lib/mysql/auto.cnf": AUTO_CNF})
    verdict = judged(engine, deletion("shop_data"), Shelf())
    assert verdict.allowed
    assert label in verdict.volumes[0].reason
    engine.containers = [replace(MYSQL, labels={**labels, label: "no"})]
    assert not judged(engine, deletion("shop_data"), Shelf()).allowed


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker.on_path(tmp_path, monkeypatch)


# --- run: one refusal refuses all ---


class Executed(Exception):
    pass


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(self: Program) -> None:
        raise Executed(*self.words)

    monkeypatch.setattr(Program, "become", execute)
    monkeypatch.delenv("DBGUARD_ALLOW", raising=False)


@dataclass
class Play:
    """A command, the verdicts that are given one after the other, and what is done between them."""

    verdicts: Sequence[Verdict]
    consents: bool = False
    engine: Engine = field(default_factory=lambda: Engine(MYSQL))
    before: Callable[[], object] = lambda: None
    said: list[str] = field(default_factory=list)

    def run(self, line: str) -> None:
        containers: Any = self.engine
        guard.run(
            command(line),
            containers=containers,
            judge=self.judge,
            consent=self,
            state=State.folder,
            say=self.said.append,
        )

    def judge(self, deletion: Deletion, *, before: Verdict | None = None, last: bool = False) -> Verdict:
        assert deletion.volumes
        assert last == (before is not None)
        self.before()
        self.engine.done.append("judge")
        verdict, *rest = self.verdicts
        self.verdicts = rest or [verdict]
        return verdict

    def to_back_up(self, verdict: Verdict) -> bool:
        assert not verdict.allowed
        return self.consents

    def back_up(self, target: str) -> None:
        self.engine.done.append(f"back up {target}")

    @property
    def audited(self) -> list[str]:
        file = State.folder / "guard.jsonl"
        return [json.loads(line)["outcome"] for line in file.read_text().splitlines()] if file.exists() else []


FILES = VolumeVerdict(volume="shop_web", what="files", allowed=True, reason="not a MySQL or MariaDB database")
GOOD = VolumeVerdict(
    volume="shop_data", what="mysql shop/db", allowed=True, reason="backup 1", archive="1", target="shop/db"
)
BAD = VolumeVerdict(
    volume="shop_data",
    what="mysql shop/db",
    allowed=False,
    reason="never backed up",
    target="shop/db",
    mendable=True,
)
LOST = VolumeVerdict(volume="ab" * 32, what="unknown", allowed=False, reason="no container is left")


def verdict(*volumes: VolumeVerdict) -> Verdict:
    return Verdict(volumes=volumes)


def executes(play: Play, line: str) -> list[str]:
    with pytest.raises(Executed) as raised:
        play.run(line)
    assert raised.value.args == ("docker", "compose", *shlex.split(line))
    return play.said


@pytest.mark.usefixtures("executed", "docker")
def test_an_allowed_command_runs_as_it_was_typed() -> None:
    play = Play([verdict(FILES)])
    assert executes(play, "-p shop down --volume -- web") == [
        "dbguard: docker compose -p shop down --volume -- web may delete\n"
        "  shop_web  files  ok  not a MySQL or MariaDB database"
    ]
    assert play.engine.done == ["judge"]
    assert play.audited == ["allowed"]


@pytest.mark.usefixtures("executed", "docker")
def test_a_refusal_is_a_page_for_a_tired_person() -> None:
    play = Play([verdict(FILES, BAD, LOST)])
    with pytest.raises(Refused) as raised:
        play.run("-f a.yaml down -v -t0")
    assert raised.value.exit_code == 77
    assert str(raised.value) == (
        "refused: docker compose -f a.yaml down -v -t0 would delete what no fresh backup holds\n"
        "  shop_web                   files          ok       not a MySQL or MariaDB database\n"
        "  shop_data                  mysql shop/db  REFUSED  never backed up\n"
        "  abababababab… (anonymous)  unknown        REFUSED  no container is left\n"
        "nothing was stopped or deleted"
    )
    assert raised.value.hint == (
        "back up first:      dbguard backup now shop/db\n"
        "      keep the data:      docker compose --file=a.yaml down\n"
        f"      delete anyway:      DBGUARD_ALLOW=shop_data,{'ab' * 32} dbguard compose -f a.yaml down -v -t0"
    )
    assert play.audited == ["refused"]
    with pytest.raises(Refused) as raised:
        Play([verdict(BAD)]).run("down -v")
    assert "back up and go on:  dbguard compose --backup-first down -v\n" in str(raised.value.hint)


WEB = container("shop-web", image="nginx")
BOTH = V2 + " DRY-RUN MODE -  Container shop-web  Removed\n"


@pytest.fixture
def two(docker: Docker) -> Engine:
    docker.answers({"--dry-run": (0, "", BOTH)})
    return Engine(MYSQL, WEB)


@pytest.mark.usefixtures("executed")
def test_who_writes_is_stopped_before_the_last_look(two: Engine) -> None:
    executes(Play([verdict(GOOD)], engine=two), "down -v")
    assert two.done[:3] == ["judge", "stop id-shop-web", "judge"]


@pytest.mark.usefixtures("executed")
def test_what_was_written_meanwhile_is_refused_and_all_runs_again(two: Engine) -> None:
    play = Play([verdict(GOOD), verdict(BAD)], engine=two)
    with pytest.raises(Refused) as raised:
        play.run("down -v")
    assert "nothing was deleted, and what was stopped runs again" in str(raised.value)
    assert two.done == ["judge", "stop id-shop-web", "judge", "start id-shop-web"]


@pytest.mark.usefixtures("executed")
def test_with_consent_the_last_backup_is_taken_when_nobody_writes(two: Engine) -> None:
    play = Play([verdict(BAD), verdict(BAD), verdict(GOOD)], consents=True, engine=two)
    executes(play, "down -v")
    assert two.done[:5] == ["judge", "stop id-shop-web", "judge", "back up shop/db", "judge"]
    assert play.audited == ["allowed"]


@pytest.mark.usefixtures("executed")
def test_where_somebody_writes_all_the_time_nothing_is_deleted(two: Engine) -> None:
    with pytest.raises(Refused):
        Play([verdict(BAD)], consents=True, engine=two).run("down -v")
    assert two.done.count("back up shop/db") == 3
    assert two.done[-1] == "start id-shop-web"


@pytest.mark.usefixtures("executed")
def test_a_backup_mends_nothing_where_another_volume_is_refused_too(two: Engine) -> None:
    with pytest.raises(Refused):
        Play([verdict(BAD, LOST)], consents=True, engine=two).run("down -v")
    assert two.done == ["judge"]


@pytest.mark.usefixtures("executed")
def test_what_changed_while_it_was_judged_is_judged_again(docker: Docker, two: Engine) -> None:
    more = BOTH + " DRY-RUN MODE -  Volume shop_more  Removing\n"
    play = Play([verdict(GOOD)], engine=two, before=lambda: docker.answers({"--dry-run": (0, "", more)}))
    with pytest.raises(Busy) as raised:
        play.run("down -v")
    assert raised.value.exit_code == 75
    assert two.done[-1] == "start id-shop-web"


@pytest.mark.usefixtures("executed")
def test_nothing_to_delete_needs_no_judge(docker: Docker) -> None:
    docker.answers({"--dry-run": (0, "", "Warning: No resource found to remove\n")})
    assert executes(Play([verdict(BAD)]), "down -v") == []


@pytest.mark.usefixtures("executed", "docker")
def test_a_volume_goes_anyway_when_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBGUARD_ALLOW", "other, shop_data")
    said = executes(Play([verdict(BAD)]), "down -v")
    assert "ok  DBGUARD_ALLOW names it (never backed up)" in said[0]
    with pytest.raises(Refused):
        Play([verdict(BAD, LOST)]).run("down -v")
    for pattern in ("*", "shop_*", "shop_dat?"):
        monkeypatch.setenv("DBGUARD_ALLOW", pattern)
        with pytest.raises(UsageError):
            Play([verdict(BAD)]).run("down -v")
