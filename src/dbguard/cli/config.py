"""`dbguard config`."""

from __future__ import annotations

import click

from dbguard.cli import output
from dbguard.cli.world import World
from dbguard.schedule import Schedule
from dbguard.storages import open_storage


@click.group("config")
def config_command() -> None:
    """Check and show the configuration."""


@config_command.command("check")
@click.pass_context
def check(ctx: click.Context) -> None:
    """Read every source of settings; say what is wrong with them, or that nothing is.

    \b
    dbguard config check
    dbguard --config /etc/dbguard/dbguard.toml config check
    """
    settings = World(ctx).settings
    Schedule(settings.schedule)
    open_storage(settings.storage_url)
    output.say(f"the configuration is valid; archives go to {settings.storage_url}")


@config_command.command("show")
@click.pass_context
def show(ctx: click.Context) -> None:
    """Print the settings in force, secrets masked.

    \b
    dbguard config show
    """
    output.emit({"settings": World(ctx).settings.model_dump(mode="json")})


@config_command.command("schema")
def schema() -> None:
    """Print the JSON Schema of dbguard.toml.

    \b
    dbguard config schema
    """
    from dbguard.config import Settings

    output.emit({"schema": Settings.model_json_schema()})
