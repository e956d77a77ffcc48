"""`dbguard completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    source <(dbguard completion bash)
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 — the choice above holds only shells that click knows
    click.echo(kind(ctx.find_root().command, {}, "dbguard", "_DBGUARD_COMPLETE").source())
