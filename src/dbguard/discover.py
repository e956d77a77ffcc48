"""Which containers are database servers, which of them will be backed up, and why the others will not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dbguard import sql
from dbguard.command import Command
from dbguard.config import Settings
from dbguard.containers import Containers
from dbguard.errors import DbguardError, NotFound, QueryFailed, UsageError
from dbguard.habits import habits
from dbguard.model import Container, Login, Programs, Sighting, Target, TargetName
from dbguard.signs import is_data_folder, is_server_image

_VARIABLE = re.compile(r"(?:MYSQL|MARIADB)_(?:ROOT_PASSWORD|ALLOW_EMPTY|RANDOM_ROOT|DATABASE|USER)")
_SHORT_ID = 12
_NO_DATABASE = "not a database: no sign of MySQL or MariaDB"
_SOCKETS = (
    "/var/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock",  # noqa: S108
    "/opt/bitnami/mysql/tmp/mysql.sock", "/opt/bitnami/mariadb/tmp/mysql.sock",
)  # fmt: skip
_LOOK = r"""
first() { word=$1; shift; for p; do command -v "$p" >/dev/null && { echo "$word $p"; return; }; done; }
dump=$(first dump mariadb-dump mysqldump)
[ -n "$dump" ] && echo "$dump" && echo "version $(${dump#dump } --version)"
first client mariadb mysql
for p in zstd stdbuf nice; do first "$p" "$p"; done
for s; do [ -S "$s" ] && { echo "socket $s"; break; }; done
for d in /proc/[0-9]*; do
  tr '\0' ' ' 2>/dev/null < "$d/cmdline" | grep -E '^[^ ]*(mysqld|mariadbd) .*--skip-networking' >/dev/null &&
    echo "initialising yes"
done
exit 0
"""


def discover(containers: Containers, settings: Settings, among: Iterable[Container]) -> list[Sighting]:
    """What each of these containers is, databases first. Asks each likely server who it is."""
    return settled([sighting(containers, settings, container) for container in among])


def settled(found: Sequence[Sighting]) -> list[Sighting]:
    """Databases first, and none of those that have the same name."""
    doubles = Counter(seen.name for seen in found if seen.target is not None)
    sure = [_refused_double(seen, found) if seen.target and doubles[seen.name] > 1 else seen for seen in found]
    return sorted(sure, key=lambda seen: (not seen.database, str(seen.name or ""), seen.container.name))


class _NoServer(NotFound):
    """A container that has a database's variables and no database: the application beside it."""


class _Starting(NotFound):
    """A server that does not answer yet."""


def meant(sightings: Sequence[Sighting]) -> list[Sighting]:
    """The databases to back up when none is named, those included that cannot be: their failure must be seen.

    None at all is an error.
    """
    found = [seen for seen in sightings if seen.database and seen.enabled]
    if not found:
        raise NotFound("no database to back up was found", hint="`dbguard discover` says what it saw and why not")
    return found


def one(sightings: Sequence[Sighting], wanted: str) -> Target:
    """The one target that the name fits. Raises NotFound, or UsageError when there are several."""
    fitting = [seen for seen in sightings if seen.database and fits(seen.container, wanted)]
    exact = [seen for seen in fitting if str(seen.name) == wanted]
    fitting = exact or fitting
    if not fitting:
        raise NotFound(f"no running container is the target {wanted}", hint="`dbguard discover` lists what is there")
    if len(fitting) > 1:
        names = ", ".join(f"{seen.name} (container {seen.container.name})" for seen in fitting)
        raise UsageError(f"{wanted} fits more than one target: {names}", hint="give the full name")
    return reachable(fitting[0])


def reachable(seen: Sighting) -> Target:
    """The target in it. Raises NotFound with the reason why there is none."""
    if seen.target is None:
        raise NotFound(f"{seen.name or seen.container.name} cannot be used: {seen.why_not}")
    return seen.target


def name_of(container: Container) -> TargetName:
    if label := container.labels.get("dbguard.name"):
        return TargetName.parse(label)
    if container.project and container.service:
        return TargetName(project=container.project, service=container.service)
    return TargetName(project="_", service=container.name)


def called(container: Container) -> TargetName | None:
    """None for one whose name cannot be a target's."""
    try:
        return name_of(container)
    except UsageError:
        return None


def fits(container: Container, wanted: str) -> bool:
    """By `project/service`, by service, or by the container's name or id."""
    if is_called(container, wanted):
        return True
    name = called(container)
    return name is not None and wanted in {str(name), name.service, container.service}


def is_called(container: Container, wanted: str) -> bool:
    """By the container's own name or id: no other container is meant."""
    return wanted in {container.name, container.id} or (len(wanted) >= _SHORT_ID and container.id.startswith(wanted))


def looks_like_database(container: Container) -> bool:
    """By image, environment or data directory; only such a container is asked."""
    return is_database_image(container) or any(_VARIABLE.match(variable) for variable in container.variables)


def is_candidate(container: Container) -> bool:
    """A service that may be a database, neither one of ours nor made by `docker compose run`."""
    ours = container.labels.get("dbguard.role") is not None
    return looks_like_database(container) and not container.one_off and not ours


def is_database_image(container: Container) -> bool:
    """More than its environment says so: an application often has the database's variables too."""
    data = any(is_data_folder(mount.destination) for mount in container.mounts)
    return data or is_server_image(container.image)


def logins(container: Container) -> list[Login]:
    """What to try, strongest account first. No value is read here: passwords stay in the container."""
    has = container.variables
    found = [
        Login(user="root", variable=f"{family}_ROOT_PASSWORD")
        for family in ("MARIADB", "MYSQL")
        if {f"{family}_ROOT_PASSWORD", f"{family}_ROOT_PASSWORD_FILE"} & has
    ]
    found.append(Login(user="root"))
    found += [
        Login(user_variable=f"{family}_USER", variable=f"{family}_PASSWORD")
        for family in ("MARIADB", "MYSQL")
        if {f"{family}_USER", f"{family}_USER_FILE"} & has
    ]
    return found


def sighting(containers: Containers, settings: Settings, container: Container) -> Sighting:
    """What one container is, its server asked when it may have one."""
    if container.locks is not None:
        why = f"an anchor: it keeps volume {container.locks} from being deleted"
        return Sighting(container=container, name=None, database=False, target=None, why_not=why)
    if container.one_off or not looks_like_database(container):
        why = "a one-off container of `docker compose run`" if container.one_off else _NO_DATABASE
        return Sighting(container=container, name=None, database=False, target=None, why_not=why)
    seen = Sighting(container=container, name=None, database=True, target=None, why_not=None)
    try:
        name = name_of(container)
        seen = replace(seen, name=name)
        seen = replace(seen, enabled=habits(settings, str(name), container.labels).enabled)
        if container.labels.get("dbguard.role"):
            return replace(seen, database=False, why_not="this is dbguard itself")
        target = _ask(containers, settings, container, name)
    except _NoServer:
        return replace(seen, database=False, name=None, why_not=_NO_DATABASE)
    except _Starting as error:
        return replace(seen, why_not=str(error), starting=True)
    except DbguardError as error:
        return replace(seen, why_not=str(error))
    return replace(
        seen, target=target, why_not=None if seen.enabled else "disabled by label or section: enable = false"
    )


def _ask(containers: Containers, settings: Settings, container: Container, name: TargetName) -> Target:
    if container.paused:
        raise NotFound("the container is paused")
    said = _look(containers, container.id)
    if "socket" not in said and not is_database_image(container):
        raise _NoServer("no server in it")
    programs = _programs(said)
    if "initialising" in said and "--skip-networking" not in container.command:
        raise _Starting("the server is still being set up for the first time")
    if "socket" not in said:
        raise _Starting("no server socket in the container: is the server still starting?")
    own = settings.login(str(name))
    refusals: list[str] = []
    for login in [own] if own else logins(container):
        try:
            server = sql.connect(containers, container, programs, said["socket"], login)
        except QueryFailed as error:
            refusals.append(f"{login}: {error}")
        else:
            return Target(name=name, container=container, programs=programs, login=login, server=server)
    raise NotFound(f"cannot log in: {'; '.join(refusals)}")


def programs_in(containers: Containers, container: str) -> Programs:
    """Raises NotFound when it has none to dump and load with."""
    return _programs(_look(containers, container))


def _look(containers: Containers, container: str) -> dict[str, str]:
    look = Command(argv=("sh", "-c", _LOOK, "look", *_SOCKETS), login=Login())
    lines = containers.run(container, look).stdout.decode("utf-8", "replace").splitlines()
    return {word: rest for word, _, rest in (line.partition(" ") for line in lines)}


def _programs(said: dict[str, str]) -> Programs:
    if "client" not in said or "dump" not in said:
        raise NotFound("no mysqldump or mariadb-dump in the container")
    has = {program: program in said for program in ("zstd", "stdbuf", "nice")}
    return Programs(dump=said["dump"], dump_version=said["version"], client=said["client"], **has)


def _refused_double(seen: Sighting, found: Sequence[Sighting]) -> Sighting:
    others = ", ".join(other.container.name for other in found if other.name == seen.name and other is not seen)
    return replace(seen, target=None, why_not=f"two containers are {seen.name}: this one and {others}")
