"""A server of an archive's own image, for one check: it can reach nobody, holds nothing else, and ends with us."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from dbguard import sql
from dbguard.archive import Archive
from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.containers.isolated import Isolated
from dbguard.discover import programs_in
from dbguard.errors import DbguardError, ExecFailed, NotFound, NotVerified, QueryFailed
from dbguard.model import Login, Target
from dbguard.sections import VerifySection

ROLE = ("dbguard.role", "throwaway")
"""The label of these containers; `dbguard.target` says for whose archive."""
_FOLDER = "/dbguard"
_SOCKET = f"{_FOLDER}/server.sock"
WHAT_IT_MAY_TAKE = "verify.memory and verify.time say what such a server may take"
_PATIENCE = 300.0
"""Seconds that an empty server may take to start."""
_LEAST_MEMORY = 384 << 20
"""Bytes that MySQL 9.7 needs with its smallest buffers, measured; MariaDB takes less."""
_OF_A_STATEMENT = 3
"""How often the longest statement is in memory: its client, the packet, the row."""
_RESERVE = 1 << 30
"""Bytes that stay free on the engine's disk, which is likely the live database's too; a twentieth of a small disk."""
_SCRIPT = r"""
exec 4<&0 </dev/null
folder=$1 most=$2 least=$3 room=$4 reserve=$5; shift 5
export MYSQL_HOME=/nonexistent
enough() { [ "$2" -ge "$3" ] || { echo "$1: $(($2 >> 10)) MiB left on this host, $(($3 >> 10)) needed" >&2; false; }; }
disk() { df -Pk "$folder" | { read -r _; read -r _ total _ free _; echo "$free $((total / 20))"; }; }
while read -r name free _; do [ "$name" = MemAvailable: ] && break; done </proc/meminfo
[ "$free" -lt "$most" ] && most=$free
enough memory "$most" "$least" || exit
free=$(disk); [ "${free#* }" -lt "$reserve" ] && reserve=${free#* }
enough disk "${free% *}" "$((room + reserve))" || exit
set -- --innodb-buffer-pool-size="$((most / 4))K" "$@"
run() {
  mkdir "$folder/tmp" || exit
  for install in mariadb-install-db mysql_install_db; do
    command -v "$install" >/dev/null || continue
    "$install" --no-defaults "$@" --auth-root-authentication-method=normal --skip-test-db >/dev/null || exit
    exec "$(command -v mariadbd || command -v mysqld)" --no-defaults "$@" --socket="$folder/server.sock"
  done
  mysqld --no-defaults "$@" --initialize-insecure || exit
  exec mysqld --no-defaults "$@" --socket="$folder/server.sock"
}
run "$@" & server=$!
{ cat <&4 >/dev/null; kill -s KILL "$server"; } &
while sleep 1 && kill -0 "$server" 2>/dev/null; do
  free=$(disk); enough disk "${free% *}" "$reserve" || kill -s KILL "$server"
done &
wait "$server"
"""
"""Ends with the server, with whoever holds our stdin, and before the disk is full. All sizes are in KiB. What memory
the host has left is asked in the container, which sees the engine's host, wherever we are. Options of a server are
options of its installation too."""
_ZONES = """
for program in mariadb-tzinfo-to-sql mysql_tzinfo_to_sql; do
  command -v "$program" >/dev/null && exec "$program" /usr/share/zoneinfo
done
exit 1
"""
_OFFSET = re.compile(r"SYSTEM|[+-]\d\d?:\d\d")


@contextlib.contextmanager
def throwaway(containers: Containers, archive: Archive, settings: VerifySection) -> Iterator[Target]:
    """Raises NotVerified when there is none to be had, when it did not live to the end, and when the time is over."""
    image, over = archive.software.image_id, threading.Event()
    argv = ["sh", "-c", _SCRIPT, "dbguard", _FOLDER, *_limits(archive, settings), *_options(archive, settings)]
    labels = dict([ROLE, ("dbguard.target", archive.target)])
    try:
        with (
            containers.isolated(image, argv, folder=_FOLDER, memory=settings.memory, labels=labels) as isolated,
            _limited(containers, isolated, settings.time.total_seconds(), over),
        ):
            try:
                yield _ready(containers, archive, isolated)
            except DbguardError as error:
                if not over.is_set() and _lives_on(containers, isolated):
                    raise
                raise NotVerified(_ended(archive, isolated, settings, over), hint=WHAT_IT_MAY_TAKE) from error
    except NotFound as error:
        if image[:19] not in str(error):
            raise
        raise NotVerified(
            f"{archive.id} cannot be verified here: its image {archive.software.image} ({image[:19]}) is not there",
            hint="an image of another id may be another server: pull the one that the database ran on",
        ) from error


@contextlib.contextmanager
def _limited(containers: Containers, isolated: Isolated, seconds: float, over: threading.Event) -> Iterator[None]:
    def end() -> None:
        over.set()
        with contextlib.suppress(DbguardError):
            containers.remove(isolated.id)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _limits(archive: Archive, settings: VerifySection) -> list[str]:
    """What the server may take of memory, and what there must be of memory and disk: with its indexes a database takes
    about as much as the SQL that makes it."""
    plain = sum(blob.plain_size for blob in archive.blobs.values())
    least = min(settings.memory, _LEAST_MEMORY + _OF_A_STATEMENT * archive.largest_statement)
    return [str(size >> 10) for size in (settings.memory, least, plain, _RESERVE)]


def _options(archive: Archive, settings: VerifySection) -> list[str]:
    """As the archive's server was where that matters for what is loaded; quick, and safe from nothing."""
    was = archive.source.settings
    same = (
        "lower_case_table_names", "sql_mode", "character_set_server", "collation_server", "innodb_page_size",
        "partial_revokes",
    )  # fmt: skip
    return [
        "--user=root",
        f"--datadir={_FOLDER}/data",
        f"--tmpdir={_FOLDER}/tmp",  # noqa: S108
        f"--pid-file={_FOLDER}/server.pid",
        "--skip-networking",
        "--skip-log-bin",
        "--skip-name-resolve",
        "--loose-mysqlx=OFF",
        "--event-scheduler=OFF",
        "--max-allowed-packet=1G",
        "--innodb-doublewrite=OFF",
        "--performance-schema=OFF",
        "--innodb-flush-log-at-trx-commit=0",
        *(f"--{name.replace('_', '-')}={was[name]}" for name in same if name in was),
        *settings.options,
    ]


def _ready(containers: Containers, archive: Archive, isolated: Isolated) -> Target:
    """With a password that nobody else knows, in place of none."""
    end = time.monotonic() + _PATIENCE
    server = None
    while server is None:
        try:
            container = containers.inspect(isolated.id)
            programs = programs_in(containers, isolated.id)
            server = sql.connect(containers, container, programs, _SOCKET, Login(user="root"))
        except (QueryFailed, ExecFailed, NotFound) as error:
            if not _runs(containers, isolated):
                raise
            if time.monotonic() > end:
                raise NotVerified(f"{archive.id} was not verified: its server does not answer: {error}") from error
            time.sleep(0.1)
    target = Target(name=archive.name, container=container, programs=programs, login=Login(user="root"), server=server)
    password = secrets.token_hex(16)
    sql.session(containers, target).execute(f"ALTER USER root@localhost IDENTIFIED BY '{password}'")
    target = replace(target, login=Login(user="root", password=password))
    if _needs_zones(archive):
        _load_zones(containers, target)
    return target


def _needs_zones(archive: Archive) -> bool:
    """An event remembers the time zone of whoever made it, and its server may have a named one."""
    events = any(database.objects.get("event") for database in archive.databases)
    return events or _OFFSET.fullmatch(archive.source.settings.get("time_zone", "SYSTEM")) is None


def _load_zones(containers: Containers, target: Target) -> None:
    made = containers.run(target.container.id, Command(argv=("sh", "-c", _ZONES), login=Login()), timeout=300).stdout
    sql.session(containers, target).execute("USE mysql", made.decode())


def _lives_on(containers: Containers, isolated: Isolated) -> bool:
    """Whoever was connected hears of the end a moment before the engine does."""
    for _ in range(5):
        if not _runs(containers, isolated):
            return False
        time.sleep(0.2)
    return True


def _runs(containers: Containers, isolated: Isolated) -> bool:
    try:
        return containers.inspect(isolated.id).running
    except NotFound:
        return False


def _ended(archive: Archive, isolated: Isolated, settings: VerifySection, over: threading.Event) -> str:
    if over.is_set():
        return f"{archive.id} was not verified: it took longer than {settings.time}"
    said = "; ".join(list(isolated.said)[-3:])
    return f"{archive.id} was not verified: its server ended: {said or 'without a word'}"
