"""What a command works with, made when it is first needed."""

from __future__ import annotations

import os
import time
from functools import cached_property
from pathlib import Path

import click

from dbguard import config
from dbguard.catalog import Catalog
from dbguard.containers import Containers
from dbguard.copies import Copies
from dbguard.discover import discover, fits, is_called, name_of, one
from dbguard.errors import UsageError
from dbguard.lookout import Lookout
from dbguard.model import Container, Sighting, Target, TargetName
from dbguard.notify import Channels
from dbguard.scope import ASKED_FOR, Scope
from dbguard.storages import open_storage
from dbguard.storages.readonly import ReadOnly
from dbguard.told import Teller

_PATIENCE = 120.0
"""Seconds to wait for a server that is still starting."""


class World:
    """Settings, engine and catalog of this call."""

    def __init__(
        self,
        ctx: click.Context,
        project: str | None = None,
        *,
        read_only: bool = False,
        settings: config.Settings | None = None,
    ) -> None:
        """`settings` where another process has read them already."""
        options = ctx.find_root().obj
        file = Path(options["config_file"]) if options["config_file"] else None
        self.settings = settings or config.load(file, storage=options["storage"])
        self._project = project
        self._read_only = read_only

    @cached_property
    def containers(self) -> Containers:
        return Containers.connect()

    @cached_property
    def copies(self) -> Copies:
        """The catalogs of all storages, nearest first."""
        opened = [open_storage(url, self.settings.bucket_options(url)) for url in self.settings.storage_urls]
        return Copies([Catalog(ReadOnly(one) if self._read_only else one, self.settings.state) for one in opened])

    def teller(self, name: str) -> Teller:
        """Of this process's messages; it says nothing where no channel is configured."""
        urls = self.settings.notify_urls
        return Teller(Channels(urls) if urls else None, self.settings.state, name, self.settings.remind)

    @cached_property
    def scope(self) -> Scope:
        return Scope.of(self.containers, self.settings, self._project)

    @cached_property
    def sightings(self) -> list[Sighting]:
        """Every running container in scope."""
        running = [one for one in self.containers.list() if self.scope.holds(one)]
        return discover(self.containers, self.settings, running)

    @cached_property
    def lookout(self) -> Lookout:
        """For the databases that are to be backed up here."""
        return Lookout(self.containers, self.settings, self.scope)

    def target(self, wanted: str) -> Target:
        """The running target of this name; waits while its server is still starting."""
        end = time.monotonic() + _PATIENCE
        while True:
            sightings = discover(self.containers, self.settings, self._fitting(wanted))
            if not any(seen.starting for seen in sightings) or time.monotonic() > end:
                return one(sightings, wanted)
            time.sleep(1)

    def _fitting(self, wanted: str) -> list[Container]:
        """A short name is meant for the project in scope; into another one it never reaches."""
        found = [container for container in self.containers.list() if fits(container, wanted)]
        near = [container for container in found if self.scope.holds(container)]
        exact = [container for container in found if is_called(container, wanted)]
        if "/" in wanted or near or exact or not found:
            return exact or (found if "/" in wanted else near)
        elsewhere = ", ".join(str(name_of(container)) for container in found)
        raise UsageError(f"there is no {wanted} in project {self.scope.project}", hint=f"elsewhere: {elsewhere}")

    def stored_target(self, wanted: str | None) -> list[TargetName]:
        """The targets in storage that fit; all of them when nothing was named, or all of the project that is meant."""
        asked = os.environ.get(ASKED_FOR)
        targets = [name for name in self.copies.targets() if asked in {None, name.project}]
        if wanted is None:
            return targets
        return [name for name in targets if wanted in {str(name), name.service}]
