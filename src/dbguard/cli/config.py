"""`dbguard config`."""

from __future__ import annotations

import click

from dbguard.cli import output
from dbguard.cli.world import World
from dbguard.encryption import identities, recipients
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
    for url in settings.storage_urls:
        open_storage(url, settings.bucket_options(url))
    recipients(settings.recipients, settings.recipients_file)
    identities(settings.identity_file)
    output.say(f"the configuration is valid; archives go to {' and '.join(settings.storage_urls)}")


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
