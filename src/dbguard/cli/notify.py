"""`dbguard notify`."""

from __future__ import annotations

import click

from dbguard.cli import output
from dbguard.cli.sidecar import answered_by_sidecar
from dbguard.cli.world import World
from dbguard.errors import ConfigError, DbguardError
from dbguard.news import Message
from dbguard.notify import Channels

_MESSAGE = Message(kind="test", title="dbguard: test", body="This is a test. Whoever reads it will hear of failures.")


@click.group("notify")
def notify_command() -> None:
    """Messages about what fails."""


@notify_command.command("test")
@click.option("--project", help="The compose project; by default that of the working directory.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON on stdout.")
@click.pass_context
@answered_by_sidecar
def test(ctx: click.Context, project: str | None, as_json: bool) -> None:
    """Send a test message to every channel of the setting `notify`.

    Exits with 1 when one of them did not take it.

    \b
    dbguard notify test
    """
    urls = World(ctx, project).settings.notify_urls
    if not urls:
        raise ConfigError(
            "nobody is told of anything: no channel is configured",
            hint="set `notify` (DBGUARD_NOTIFY) or `notify_file`; docs/notifications.md shows how",
        )
    channels = Channels(urls)
    failed = channels.tell(_MESSAGE)
    for name in channels.names:
        output.say(output.printable(f"FAIL  {name}: {failed[name]}" if name in failed else f"ok    {name}"))
    if as_json:
        output.emit({"channels": [{"channel": name, "failed": failed.get(name)} for name in channels.names]})
    if failed:
        raise DbguardError(f"not told through {', '.join(failed)}")
