"""What a restore of single tables would do, before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbguard import inventory, sql
from dbguard.archive import Archive
from dbguard.chosen import ChosenTable, chosen
from dbguard.containers import Containers
from dbguard.create_table import Place
from dbguard.errors import RestoreFailed, UsageError
from dbguard.model import Target
from dbguard.restore_plan import check_kind, packet, same


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesPlan:
    """What a restore of single tables would do. `replaced` are tables that are there now."""

    archive: Archive
    target: Target
    tables: tuple[ChosenTable, ...]
    replaced: tuple[Place, ...]  # as the server writes them
    missing: tuple[str, ...]  # databases
    packet: int | None

    def lines(self) -> list[str]:
        """For a person, before the question."""
        archive = self.archive
        return [
            f"archive   {archive.id} of {archive.target}, {archive.software.engine} {archive.software.server_version}",
            *(f"partial   {reason}" for reason in archive.partial_reasons),
            f"into      {self.target.name}, container {self.target.container.name}, {self.target.server.version}",
            *(f"table     {one}{_with(one)}" for one in self.tables),
            *(f"database  {name} is made, for it is not there" for name in self.missing),
            *(f"in use    {'.'.join(table)} is there: --replace exchanges it" for table in self.replaced),
            *((f"setting   max_allowed_packet = {self.packet} while loading",) if self.packet else ()),
        ]

    def facts(self) -> dict[str, object]:
        return {
            "archive": self.archive.id,
            "target": str(self.target.name),
            "tables": [{"from": list(one.saved), "to": list(one.to)} for one in self.tables],
            "replaced": [list(table) for table in self.replaced],
            "max_allowed_packet": self.packet,
        }


def plan_tables(
    archive: Archive, target: Target, wanted: Sequence[str], *, containers: Containers, force_version: bool = False
) -> TablesPlan:
    """Looks at the archive and the server. Raises NotFound, UsageError or RestoreFailed when it cannot work."""
    check_kind(archive, target, force_version=force_version)
    tables = chosen(archive, wanted)
    if wrong := next((one.to[0] for one in tables if not inventory.is_user_database(one.to[0])), None):
        raise UsageError(f"{wrong!r} is a system database")
    replaced, missing = _there(target, tables, containers)
    return TablesPlan(
        archive=archive,
        target=target,
        tables=tables,
        replaced=replaced,
        missing=missing,
        packet=packet(archive, target),
    )


def unchanged(todo: TablesPlan, containers: Containers) -> bool:
    """The plan may have waited for an answer."""
    return _there(todo.target, todo.tables, containers) == (todo.replaced, todo.missing)


def spelled(target: Target, place: Place) -> Place:
    """As the server itself writes it; see restore_plan.same."""
    return same(target, place[0]), same(target, place[1])


def _there(
    target: Target, tables: Sequence[ChosenTable], containers: Containers
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Tables, and databases that are not there."""
    found = {
        same(target, one.name): one for one in inventory.take(sql.session(containers, target), target.server).databases
    }
    replaced: list[Place] = []
    for database, name in (spelled(target, one.to) for one in tables):
        for kind, there in found[database].named() if database in found else ():
            if same(target, there) == name and kind in {"view", "sequence"}:
                raise RestoreFailed(f"{target.name}: there is a {kind} {database}.{name}: a table cannot take its name")
            if same(target, there) == name and kind == "table":
                replaced.append((found[database].name, there))
    missing = {one.to[0] for one in tables if same(target, one.to[0]) not in found}
    return tuple(replaced), tuple(sorted(missing))


def _with(one: ChosenTable) -> str:
    return ": a copy, without triggers and foreign keys" if one.copy else ", with its indexes and triggers"
