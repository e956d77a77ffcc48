"""Which container is taken for a database, what it is called, and with which account it is tried first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from dbguard.command import Command
from dbguard.config import Settings
from dbguard.containers import Completed, Containers
from dbguard.discover import discover, fits, logins, looks_like_database, meant, name_of, one
from dbguard.errors import NotFound, QueryFailed, UsageError
from dbguard.model import Container, Login, Mount, Programs, Server, Sighting, Target
from dbguard.scope import Scope
from tests.unit.nouns import container

# --- what looks like a database ---

DATABASES = [
    "mysql", "mysql:8", "mysql:8.4.2-oraclelinux9", "docker.io/library/mysql:9.7", "mysql@sha256:0123", "MySQL:8",
    "mysql/mysql-server:8.0", "container-registry.oracle.com/mysql/mysql-server:8", "percona:8",
    "percona/percona-server:8", "mariadb", "mariadb:11.8", "localhost:5000/mariadb:lts",
    "bitnami/mariadb:11", "bitnami/mysql:8.4",
    "lscr.io/linuxserver/mariadb:latest", "ghcr.io/me/my-mysql:1", "registry/team_mariadb_custom:2", "cimg/mysql:8.0",
]  # fmt: skip
OTHERS = [
    "nginx", "wordpress:6-php8.3", "phpmyadmin:5", "phpmyadmin/phpmyadmin", "prom/mysqld-exporter", "adminer",
    "postgres:17", "mysqltuner", "proxysql/proxysql",
    "nextcloud:30", "sha256:0123456789abcdef", "notmysql", "mariadbx:1",
]  # fmt: skip


@pytest.mark.parametrize("image", DATABASES)
def test_images_of_databases(image: str) -> None:
    assert looks_like_database(container(image=image))


@pytest.mark.parametrize("image", OTHERS)
def test_images_of_others(image: str) -> None:
    assert not looks_like_database(container(image=image))


@pytest.mark.parametrize("folder", ["/var/lib/mysql", "/bitnami/mysql/data", "/bitnami/mariadb", "/config/databases"])
def test_a_data_directory_gives_a_database_away(folder: str) -> None:
    mount = Mount(kind="volume", name="data", source="/x", destination=folder)
    assert looks_like_database(container(image="own-build:1", mounts=(mount,)))


@pytest.mark.parametrize("name", ["MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD_FILE", "MYSQL_ALLOW_EMPTY_PASSWORD"])
def test_variables_give_a_database_away(name: str) -> None:
    assert looks_like_database(container(image="own-build:1", variables=frozenset({"PATH", name})))


@pytest.mark.parametrize("name", ["WORDPRESS_DB_HOST", "PMA_HOST", "MYSQL_HOST", "DATABASE_URL", "X_MYSQL_USER"])
def test_variables_of_applications_do_not(name: str) -> None:
    assert not looks_like_database(container(image="own-build:1", variables=frozenset({name})))


# --- names ---

COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (COMPOSE, "shop/db"),
        ({}, "_/shop-db-1"),
        ({**COMPOSE, "dbguard.name": "live/main"}, "live/main"),
        ({"dbguard.name": "main"}, "_/main"),
        ({**COMPOSE, "dbguard.name": ""}, "shop/db"),
        ({"com.docker.compose.project": "shop"}, "_/shop-db-1"),
    ],
)
def test_a_target_is_named_by_label_or_compose_or_container(labels: dict[str, str], expected: str) -> None:
    assert str(name_of(container(labels=labels))) == expected


@pytest.mark.parametrize("label", ["../etc", "a/b/c", "a b", "-rf", "/"])
def test_a_label_cannot_lead_elsewhere(label: str) -> None:
    with pytest.raises(UsageError):
        name_of(container(labels={"dbguard.name": label}))


@pytest.mark.parametrize("wanted", ["shop/db", "db", "shop-db-1", "c0ffee" * 10 + "0123", "c0ffeec0ffee"])
def test_a_container_fits_its_names(wanted: str) -> None:
    assert fits(container(labels=COMPOSE), wanted)


@pytest.mark.parametrize("wanted", ["", "shop", "shop/", "/db", "b", "other/db", "c0ffee", "shop-db", "SHOP/DB"])
def test_a_container_does_not_fit_other_names(wanted: str) -> None:
    assert not fits(container(labels=COMPOSE), wanted)


def test_a_container_with_an_impossible_label_fits_by_its_own_name() -> None:
    odd = container(labels={"dbguard.name": "../x"})
    assert fits(odd, "shop-db-1")
    assert not fits(odd, "../x")


# --- logins ---

ROOT = Login(user="root")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ((), [ROOT]),
        (("MYSQL_ROOT_PASSWORD",), [Login(user="root", variable="MYSQL_ROOT_PASSWORD"), ROOT]),
        (("MARIADB_ROOT_PASSWORD_FILE",), [Login(user="root", variable="MARIADB_ROOT_PASSWORD"), ROOT]),
        (("MYSQL_USER", "MYSQL_PASSWORD"), [ROOT, Login(user_variable="MYSQL_USER", variable="MYSQL_PASSWORD")]),
        (
            ("MYSQL_ROOT_PASSWORD", "MARIADB_ROOT_PASSWORD", "MARIADB_USER"),
            [
                Login(user="root", variable="MARIADB_ROOT_PASSWORD"),
                Login(user="root", variable="MYSQL_ROOT_PASSWORD"),
                ROOT,
                Login(user_variable="MARIADB_USER", variable="MARIADB_PASSWORD"),
            ],
        ),
    ],
)
def test_the_strongest_account_is_tried_first(variables: tuple[str, ...], expected: list[Login]) -> None:
    assert logins(container(variables=frozenset(variables))) == expected


# --- why not ---


class Asked:
    """An engine whose containers answer the first look with these lines."""

    def __init__(self, *lines: str) -> None:
        self._said = "".join(f"{line}\n" for line in lines).encode()

    def run(self, container: str, command: Command, **how: object) -> Completed:
        del container, command, how
        return Completed(stdout=self._said, messages=())


PROGRAMS = ("dump mysqldump", "version mysqldump 9.7", "client mysql")
DATABASE = container(image="mysql:9.7")


def seen(of: Container, *lines: str) -> Sighting:
    [sighting] = discover(cast(Containers, Asked(*lines)), Settings(), [of])
    return sighting


@pytest.mark.parametrize(
    ("of", "lines", "why_not"),
    [
        (container(), (), "not a database"),
        (replace(DATABASE, paused=True), (), "paused"),
        (DATABASE, (), "no mysqldump or mariadb-dump"),
        (DATABASE, ("dump mysqldump", "version x"), "no mysqldump or mariadb-dump"),
        (DATABASE, (*PROGRAMS, "initialising yes"), "being set up"),
        (DATABASE, PROGRAMS, "no server socket"),
        (replace(DATABASE, labels={"dbguard.name": "../x"}), (), "cannot be part of a target's name"),
        (replace(DATABASE, labels={"dbguard.role": "sidecar"}), (), "dbguard itself"),
        (replace(DATABASE, labels={"com.docker.compose.oneoff": "True"}), (), "one-off"),
    ],
)
def test_a_container_that_cannot_be_backed_up_says_why(of: Container, lines: tuple[str, ...], why_not: str) -> None:
    sighting = seen(of, *lines)
    assert sighting.target is None
    assert why_not in (sighting.why_not or "")


def connecting(monkeypatch: pytest.MonkeyPatch, accepted: Login | None) -> list[Login]:
    """A server that lets only this login in; the logins that were tried."""
    tried: list[Login] = []

    def connect(containers: object, of: Container, programs: object, socket: str, login: Login) -> Server:
        del containers, programs, socket
        tried.append(login)
        if login != accepted:
            raise QueryFailed("Access denied (1045)")
        return target(of).server

    monkeypatch.setattr("dbguard.sql.connect", connect)
    return tried


def test_accounts_are_tried_until_one_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = connecting(monkeypatch, ROOT)
    sighting = seen(replace(DATABASE, variables=frozenset({"MYSQL_ROOT_PASSWORD"})), *PROGRAMS, "socket /s")
    assert sighting.target is not None
    assert sighting.target.login == ROOT
    assert tried == [Login(user="root", variable="MYSQL_ROOT_PASSWORD"), ROOT]


def test_every_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting(monkeypatch, None)
    sighting = seen(replace(DATABASE, variables=frozenset({"MYSQL_ROOT_PASSWORD"})), *PROGRAMS, "socket /s")
    assert str(sighting.why_not).count("Access denied") == 2


@pytest.mark.parametrize(("label", "enabled"), [("false", False), ("No", False), ("0", False), ("true", True)])
def test_a_label_takes_a_database_out(monkeypatch: pytest.MonkeyPatch, label: str, enabled: bool) -> None:
    connecting(monkeypatch, ROOT)
    sighting = seen(replace(DATABASE, labels={"dbguard.enable": label}), *PROGRAMS, "socket /s")
    assert sighting.enabled is enabled
    assert (sighting.why_not is None) is enabled


def test_two_containers_of_one_name_are_both_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting(monkeypatch, ROOT)
    twins = [replace(DATABASE, id=char * 64, name=f"twin-{char}", labels=COMPOSE) for char in "ab"]
    found = discover(cast(Containers, Asked(*PROGRAMS, "socket /s")), Settings(), twins)
    assert [one.target for one in found] == [None, None]
    assert "twin-b" in str(found[0].why_not)
    assert "twin-a" in str(found[1].why_not)


@pytest.mark.parametrize("variables", [("MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD"), ("MYSQL_ROOT_PASSWORD",)])
@pytest.mark.parametrize("lines", [(), ("client mysql",), PROGRAMS])
def test_an_application_that_knows_a_database_is_none(variables: tuple[str, ...], lines: tuple[str, ...]) -> None:
    """Nextcloud, Zabbix, phpMyAdmin: they carry the database's variables, and no server runs in them."""
    assert not seen(container(image="nextcloud:30", variables=frozenset(variables)), *lines).database


# --- which are meant ---


def target(of: Container) -> Target:
    server = Server(
        engine="mysql", version="9.7.0", identity="uuid", started=None, socket="", datadir="/var/lib/mysql",
        settings={}, account="root@localhost", blind_spots=(),
    )  # fmt: skip
    programs = Programs(dump="mysqldump", dump_version="", client="mysql", zstd=True)
    return Target(name=name_of(of), container=of, programs=programs, login=ROOT, server=server)


def sighting(service: str, *, project: str = "shop", why_not: str | None = None, database: bool = True) -> Sighting:
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    seen = container(id=f"{project}-{service}".ljust(64, "0"), name=f"{project}-{service}-1", labels=labels)
    return Sighting(
        container=seen, name=name_of(seen), database=database, target=None if why_not else target(seen), why_not=why_not
    )


def test_one_target_is_found_by_name() -> None:
    seen = [sighting("db"), sighting("db2"), sighting("db", project="blog")]
    assert one(seen, "shop/db").name == seen[0].name
    assert one(seen, "db2").name == seen[1].name
    assert one(seen, "blog-db-1").name == seen[2].name


def test_a_name_that_fits_several_is_refused_and_names_them() -> None:
    with pytest.raises(UsageError, match=r"shop/db .*blog/db "):
        one([sighting("db"), sighting("db", project="blog")], "db")


def test_a_name_that_fits_none_is_not_found() -> None:
    with pytest.raises(NotFound, match="shop/cache"):
        one([sighting("db")], "shop/cache")


def test_a_target_that_cannot_be_used_says_why() -> None:
    with pytest.raises(NotFound, match="cannot log in"):
        one([sighting("db", why_not="cannot log in: access denied")], "shop/db")


def test_unnamed_all_databases_are_meant_also_those_that_fail() -> None:
    seen = [sighting("db"), sighting("down", why_not="cannot log in"), sighting("web", database=False, why_not="no")]
    assert [str(one.name) for one in meant(seen)] == ["shop/db", "shop/down"]


def test_no_database_at_all_is_an_error() -> None:
    with pytest.raises(NotFound, match="no database"):
        meant([sighting("web", database=False, why_not="no")])
    with pytest.raises(NotFound, match="no database"):
        meant([])


# --- scope ---


class NoEngine:
    """Has the project `shop` in one folder, two projects in another, and is not the one this test runs in."""

    def __init__(self, folder: Path) -> None:
        places = {"shop": folder / "shop", "blog": folder / "both", "wiki": folder / "both"}
        self._containers = [
            container(
                labels={"com.docker.compose.project": project, "com.docker.compose.project.working_dir": str(place)}
            )
            for project, place in places.items()
        ]

    def list(self, *, stopped: bool = False) -> list[Container]:
        assert stopped, "a project whose containers are all stopped is one as well"
        return self._containers

    def inspect(self, name: str) -> Container:
        raise NotFound(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where projects lie; the working directory is one below that of `shop`."""
    for name in [name for name in os.environ if name.startswith(("DBGUARD_", "COMPOSE_"))]:
        monkeypatch.delenv(name)
    for place in ("shop/deeper", "shop2", "both"):
        (tmp_path / place).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shop" / "deeper")
    return tmp_path


def scope(folder: Path, settings: Settings | None = None, project: str | None = None) -> str | None:
    return Scope.of(cast(Containers, NoEngine(folder)), settings or Settings(), project).project


def test_the_scope_is_the_project_that_is_named(folder: Path) -> None:
    assert scope(folder, project="other") == "other"
    assert scope(folder, Settings(scope="all"), project="other") == "other"


def test_else_the_project_of_the_working_directory(folder: Path) -> None:
    assert scope(folder) == "shop"
    assert scope(folder, Settings(scope="all")) is None


def test_the_working_directory_may_be_reached_by_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "link").symlink_to(folder / "shop")
    monkeypatch.chdir(folder / "link")
    assert scope(folder) == "shop"


def test_the_variable_of_compose_names_the_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "named")
    assert scope(folder) == "named"


def test_a_folder_of_no_project_means_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "shop2")
    assert scope(folder) is None


def test_a_folder_of_several_projects_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "both")
    with pytest.raises(UsageError, match="blog, wiki"):
        scope(folder)


def test_a_scope_holds_what_is_in_its_project() -> None:
    shop = container(labels=COMPOSE)
    assert Scope("shop").holds(shop)
    assert not Scope("sho").holds(shop)
    assert not Scope("shop").holds(container())
    assert Scope(None).holds(container())
