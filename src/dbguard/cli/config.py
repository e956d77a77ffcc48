"""`dbguard config`."""

from __future__ import annotations

import click

from dbguard.cli import output
from dbguard.cli.world import World


@click.group("config")
def config_command() -> None:
    """Check and show the configuration."""


@config_command.command("check")
@click.pass_context
def check(ctx: click.Context) -> None:
    """Read every source of settings; say what is wrong with them, or that nothing is."""
    settings = World(ctx).settings
    output.say(f"the configuration is valid; archives go to {settings.storage_url}")


@config_command.command("show")
@click.pass_context
def show(ctx: click.Context) -> None:
    """Print the settings in force, secrets masked."""
    output.emit({"settings": World(ctx).settings.model_dump(mode="json")})


@config_command.command("schema")
def schema() -> None:
    """Print the JSON Schema of dbguard.toml."""
    from dbguard.config import Settings

    output.emit({"schema": Settings.model_json_schema()})
