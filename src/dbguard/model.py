"""The nouns of the engine's world: targets, containers, servers, verdicts. Frozen, typed, without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self

from dbguard.errors import UsageError

_NAME_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TargetName:
    """`project/service`; outside Compose the project is `_` and the service the container's name."""

    project: str
    service: str

    def __post_init__(self) -> None:
        for part in (self.project, self.service):
            if not _NAME_PART.fullmatch(part):
                raise UsageError(
                    f"{part!r} cannot be part of a target's name",
                    hint="names are letters, digits, '_', '.', '-'; label the container dbguard.name=PROJECT/SERVICE",
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        project, _, service = text.rpartition("/")
        return cls(project=project or "_", service=service)

    def __str__(self) -> str:
        return f"{self.project}/{self.service}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Something mounted into a container."""

    kind: str  # "volume", "bind", "tmpfs", …
    name: str | None  # of a volume
    source: str
    destination: str
    anonymous: bool = False

    def __str__(self) -> str:
        shown = "anonymous volume" if self.anonymous else self.name if self.kind == "volume" else self.source
        return f"{shown}:{self.destination}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the engine describes it. Of the environment only the names: values can be secrets."""

    id: str
    name: str
    image: str
    image_id: str
    running: bool
    paused: bool
    started: str  # the engine's own text, compared but never computed with
    labels: Mapping[str, str]
    variables: frozenset[str]
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    networks: tuple[str, ...] = ()
    auto_remove: bool = False  # the engine deletes it when it ends
    serves_all: bool = False  # a sidecar for every project of the engine: its environment says DBGUARD_SCOPE=all

    @property
    def project(self) -> str | None:
        return self.labels.get("com.docker.compose.project")

    @property
    def one_off(self) -> bool:
        """Made by `docker compose run`: it has its service's labels, and is not the service."""
        return self.labels.get("com.docker.compose.oneoff") == "True"

    @property
    def service(self) -> str | None:
        return self.labels.get("com.docker.compose.service")

    @property
    def locks(self) -> str | None:
        """The volume that it is the anchor of; None for any other container."""
        return self.labels.get("dbguard.lock") if self.labels.get("dbguard.role") == "anchor" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What the database's container brings along."""

    dump: str
    dump_version: str
    client: str
    zstd: bool
    stdbuf: bool = False
    nice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to log in, without the secret itself unless the user gave it to us.

    With `variable`, the password stays in the container: the wrapper reads it there from that variable, or
    from the file that `<variable>_FILE` names. `user_variable` does the same for the user.
    """

    user: str | None = None
    user_variable: str | None = None
    variable: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        who = self.user or f"${self.user_variable}"
        if self.variable:
            return f"{who} with ${self.variable} of the container"
        return f"{who} with the configured password" if self.password else f"{who} without a password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A database server that answered."""

    engine: str  # key of ENGINES
    version: str
    identity: str  # tells this data directory from any other, see `sql.identity`
    started: datetime | None
    socket: str
    datadir: str
    settings: Mapping[str, str]
    account: str
    blind_spots: tuple[str, ...]  # why the account cannot be proven to see everything
    privileges: frozenset[str] = frozenset()  # of the account, on *.*
    unfinished: tuple[str, ...] = ()  # journals of restores that were cut short, see swap


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One database server in one running container, ready to be asked."""

    name: TargetName
    container: Container
    programs: Programs
    login: Login
    server: Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What `discover` saw in one container: a target, or the reason why not."""

    container: Container
    name: TargetName | None
    database: bool  # it is, or looks like, a database server
    enabled: bool = True  # false when its label says so
    starting: bool = False  # a database server that will answer soon
    target: Target | None
    why_not: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of the engine."""

    name: str
    plain: bool  # of the local driver, without options: what a prune takes
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeVerdict:
    """May this one volume be deleted?"""

    volume: str
    what: str  # "mysql shop/db", "files", …
    allowed: bool
    reason: str
    archive: str = ""  # the id of the one that allows it
    target: str = ""  # whose database is on it
    mendable: bool = False  # a backup now could allow it


OnDelete = Literal["refuse", "ask", "backup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The guard's answer for a whole command: one refusal refuses all."""

    volumes: tuple[VolumeVerdict, ...]
    on_delete: OnDelete = "refuse"  # what is configured for a refusal that a backup would mend

    @property
    def allowed(self) -> bool:
        return all(volume.allowed for volume in self.volumes)

    @property
    def refused(self) -> tuple[VolumeVerdict, ...]:
        return tuple(volume for volume in self.volumes if not volume.allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a long job is. Sizes in bytes."""

    target: str
    phase: str  # "dumping", "checking", "loading"
    done: int  # plain SQL so far
    total: int | None  # plain SQL expected, when known
    stored: int = 0
    current: str = ""  # the object now being dumped or loaded
