"""What a restore would do, before it is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dbguard import inventory, sql
from dbguard.archive import WITHOUT_DATA, Archive, Database
from dbguard.containers import Containers
from dbguard.engines.mysql import version_number
from dbguard.errors import NotFound, RestoreFailed, UsageError
from dbguard.model import Target

_CASE = "lower_case_table_names"
LARGEST_PACKET = 1 << 30
"""Bytes; the most a server takes in one statement (max_allowed_packet)."""


Part = Literal["all", "schema", "accounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """What a restore would do. `replaced` are databases that hold something now and would be dropped."""

    archive: Archive
    target: Target
    databases: tuple[tuple[Database, str], ...]  # as saved, and the name it gets
    emptied: tuple[str, ...]
    replaced: tuple[str, ...]
    packet: int | None  # max_allowed_packet to set while loading, when the server's is too small
    accounts: bool = False  # users, roles and grants too
    part: Part = "all"

    def lines(self) -> list[str]:
        """For a person, before the question."""
        archive = self.archive
        partial = [f"partial   {reason}" for reason in archive.partial_reasons]
        return [
            f"archive   {archive.id} of {archive.target}, {archive.software.engine} {archive.software.server_version}",
            *partial,
            f"into      {self.target.name}, container {self.target.container.name}, {self.target.server.version}",
            *(f"database  {_arrow(saved.name, name)}, objects: {len(saved.named())}" for saved, name in self.databases),
            *(("rows      none: every definition, and empty tables",) if self.part == "schema" else ()),
            *(f"in use    {name} holds data: --replace exchanges it for the archive's" for name in self.replaced),
            *((f"setting   max_allowed_packet = {self.packet} while loading",) if self.packet else ()),
            *(
                ("accounts  those that are not there are made, the others keep their password",)
                if self.accounts
                else ()
            ),
            *(
                (f"events    {self.events}: the event scheduler is ON, those that are enabled will run",)
                if self.events
                else ()
            ),
        ]

    def facts(self) -> dict[str, object]:
        """The same for a program."""
        return {
            "archive": self.archive.id,
            "target": str(self.target.name),
            "databases": [{"from": saved.name, "to": name} for saved, name in self.databases],
            "replaced": list(self.replaced),
            "max_allowed_packet": self.packet,
            "accounts": self.accounts,
            "part": self.part,
        }

    @property
    def events(self) -> int:
        """That this server may run as soon as they are loaded."""
        if self.target.server.settings.get("event_scheduler") != "ON":
            return 0
        return sum(len(saved.objects.get("event", ())) for saved, _ in self.databases)


def plan(
    archive: Archive,
    target: Target,
    *,
    containers: Containers,
    database: str | None = None,
    new_name: str | None = None,
    accounts: bool | None = None,
    force_version: bool = False,
    part: Part = "all",
) -> RestorePlan:
    """Looks at the archive and the server. `accounts` None: they are loaded where no database holds anything yet, and
    all are restored with their rows. Raises NotFound, UsageError or RestoreFailed when it cannot work."""
    check_kind(archive, target, force_version=force_version)
    chosen = tuple(saved for saved in archive.databases if database in {None, saved.name})
    if part == "accounts":
        chosen, accounts = (), True
    elif not chosen:
        raise NotFound(f"{archive.id} holds no database {database}")
    if part == "schema":
        chosen, accounts = tuple(map(_without_rows, chosen)), bool(accounts)
    if new_name is not None and (len(chosen) > 1 or not inventory.is_user_database(new_name)):
        raise UsageError(
            f"{new_name!r} cannot be the new name", hint="give one database, and no system database's name"
        )
    names = [new_name or saved.name for saved in chosen]
    full, empty = present(containers, target)
    if accounts and "accounts" not in archive.blobs:
        raise NotFound(f"{archive.id} holds no accounts")
    return RestorePlan(
        archive=archive,
        target=target,
        databases=tuple(zip(chosen, names, strict=True)),
        emptied=tuple(name for name in names if same(target, name) in empty),
        replaced=tuple(name for name in names if same(target, name) in full),
        packet=packet(archive, target),
        accounts="accounts" in archive.blobs and (database is None and not full if accounts is None else accounts),
        part=part,
    )


def _without_rows(database: Database) -> Database:
    """As it must be after a load of definitions only."""
    tables = tuple(
        table if (table.engine or "").lower() in WITHOUT_DATA else replace(table, rows=0, checksum=None)
        for table in database.tables
    )
    return replace(database, tables=tables)


def check_kind(archive: Archive, target: Target, *, force_version: bool) -> None:
    """The archive must be one that this server can hold."""
    if archive.software.engine != target.server.engine:
        raise RestoreFailed(
            f"{archive.id} is a dump of {archive.software.engine}, {target.name} runs {target.server.engine}",
            hint="restore into the same kind of server with --into",
        )
    was, now = archive.software.server_version, target.server.version
    if version_number(now)[:2] < version_number(was)[:2] and not force_version:
        raise RestoreFailed(
            f"{archive.id} was taken from version {was}, {target.name} is older: {now}",
            hint="what it holds may be unknown there: restore into a newer server, or try it with --force-version",
        )
    theirs, ours = (settings.get(_CASE, "0") for settings in (archive.source.settings, target.server.settings))
    if theirs != ours:
        raise RestoreFailed(
            f"{archive.id} was taken with {_CASE} = {theirs}, {target.name} has {ours}: names would run together",
            hint=f"start a server with --lower-case-table-names={theirs}, it cannot be changed later",
        )
    if archive.largest_statement >= LARGEST_PACKET:
        raise RestoreFailed(f"{archive.id} holds a statement of {archive.largest_statement} bytes: no server takes it")


def packet(archive: Archive, target: Target) -> int | None:
    """The max_allowed_packet that its largest statement needs, where the server's is too small."""
    needed = archive.largest_statement + 4096
    return LARGEST_PACKET if needed > int(target.server.settings.get("max_allowed_packet", 0)) else None


def present(containers: Containers, target: Target) -> tuple[set[str], set[str]]:
    """The databases there now that hold something, and those that hold nothing."""
    found = inventory.take(sql.session(containers, target), target.server).databases
    full = {same(target, one.name) for one in found if one.named()}
    return full, {same(target, one.name) for one in found} - full


def same(target: Target, name: str) -> str:
    """The form in which two names of one database are equal on this server."""
    return name if target.server.settings.get(_CASE, "0") == "0" else name.casefold()


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"
