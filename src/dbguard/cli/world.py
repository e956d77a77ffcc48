"""What a command works with, made when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import click

from dbguard import config
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.discover import Scope, discover, fits
from dbguard.model import Container, Sighting, TargetName
from dbguard.storages import open_storage


class World:
    """Settings, engine and catalog of this call."""

    def __init__(self, ctx: click.Context, project: str | None = None) -> None:
        options = ctx.find_root().obj
        file = Path(options["config_file"]) if options["config_file"] else None
        self.settings = config.load(file, storage=options["storage"])
        self._project = project

    @cached_property
    def containers(self) -> Containers:
        return Containers.connect()

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(open_storage(self.settings.storage_url), self.settings.state)

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.containers, self.settings, self._project)

    @cached_property
    def sightings(self) -> list[Sighting]:
        """Every running container in scope."""
        running = [one for one in self.containers.list() if self.scope.holds(one)]
        return discover(self.containers, self.settings, running)

    def named(self, wanted: Sequence[str]) -> list[Sighting]:
        """The containers that these names fit; no other one is asked. A short name is meant for the project in
        scope, if it has such a service."""
        fitting: list[Container] = []
        for name in wanted:
            found = [one for one in self.containers.list() if fits(one, name)]
            near = [one for one in found if self.scope.holds(one)] if "/" not in name else []
            fitting += near or found
        return discover(self.containers, self.settings, fitting)

    def stored_target(self, wanted: str | None) -> list[TargetName]:
        """The targets in storage that fit; all of them when nothing was named."""
        targets = self.catalog.targets()
        if wanted is None:
            return targets
        return [name for name in targets if wanted in {str(name), name.service}]
