"""What a command works with, made when it is first needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import click

from dbguard import config
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.discover import Scope, discover, looks_like_database
from dbguard.model import Sighting, TargetName
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

    @cached_property
    def everywhere(self) -> list[Sighting]:
        """For a target that was named: it may be outside the scope."""
        likely = [one for one in self.containers.list() if looks_like_database(one)]
        return discover(self.containers, self.settings, likely)

    def stored_target(self, wanted: str | None) -> list[TargetName]:
        """The targets in storage that fit; all of them when nothing was named."""
        targets = self.catalog.targets()
        if wanted is None:
            return targets
        return [name for name in targets if wanted in {str(name), name.service}]
