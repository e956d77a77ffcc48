"""Words in, words out. The only package that imports click; commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from dbguard import __version__, behind
from dbguard.errors import DbguardError, Interrupted

_COMMANDS = {
    "backup": ("backup", "Take a backup now."),
    "cat": ("archives", "Write an archive's SQL to stdout."),
    "completion": ("completion", "Print the shell's completion script."),
    "compose": ("compose", "Run docker compose, and refuse to delete database volumes without a fresh backup."),
    "config": ("config", "Check and show the configuration."),
    "confirm": ("archives", "Say that a suspicious archive is as it should be."),
    "discover": ("discover", "Show which containers are databases, and which are backed up."),
    "docker": ("compose", "Run docker: volume rm, prune and rm -v are refused in the same way."),
    "docker-compose": ("compose", "Run docker-compose, version 1 or 2, in the same way."),
    "doctor": ("doctor", "Look for what could go wrong, before it does."),
    "guard": ("guard", "Guard plain docker compose too, and lock volumes."),
    "health": ("health", "Be the container's health check."),
    "hold": ("archives", "Never prune an archive."),
    "list": ("archives", "List the archives."),
    "notify": ("notify", "Send a test message."),
    "prune": ("prune", "Remove the archives that no rule keeps."),
    "release": ("archives", "Take the hold of an archive back."),
    "restore": ("restore", "Load an archive into a running database."),
    "run": ("run", "Be the sidecar: back up on schedule."),
    "status": ("status", "Say how old the newest backups are, and what is wrong."),
    "verify": ("verify", "Prove archives by loading them into a throw-away server."),
}
"""Name: (module in dbguard.cli, one line for the overview)."""
_DEBUG = "DBGUARD_DEBUG"
_HIDDEN = {"job": "job", "judge": "verdict", "shim": "shim"}


class _Lazy(click.Group):
    """Knows its commands by name and imports only the one that runs, so that help and completion are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        name = _COMMANDS[cmd_name][0] if cmd_name in _COMMANDS else _HIDDEN.get(cmd_name)
        if name is None:
            return None
        module = importlib.import_module(f"dbguard.cli.{name}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dbguard")
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="Read this file, not dbguard.toml.")
@click.option("--storage", help="Where archives are: folders and s3://bucket/prefix, with commas.")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
@click.pass_context
def dbguard(ctx: click.Context, config_file: str | None, storage: str | None, debug: bool) -> None:
    """Backups you can trust for MySQL and MariaDB in Docker Compose, and a guard for their volumes.

    \b
    dbguard discover                      what is there, and will it be backed up?
    dbguard backup now                    back everything up
    dbguard list                          what there is to restore
    dbguard restore shop/db --latest      bring it back
    dbguard verify                        prove that it can be
    dbguard status                        how old the newest backups are
    dbguard doctor                        what could go wrong
    dbguard compose down --volumes        refused unless the backup is fresh

    Exit codes: 0 ok, 1 failed, 2 usage, 3 partly, 4 damaged or failed a check, 69 engine or storage
    unavailable, 70 internal, 75 busy, 77 refused by the guard, 78 configuration, 130/143 stopped by a signal.
    """
    if debug:
        os.environ[_DEBUG] = "1"
    os.environ[behind.THROUGH] = "1"
    asked_by = os.environ.get("DBGUARD_ANSWERING", __version__)
    if asked_by != __version__:
        click.echo(f"note: this sidecar is dbguard {__version__}, the host has {asked_by}", err=True)
    ctx.obj = {"config_file": config_file, "storage": storage}


def main() -> NoReturn:
    """The console script: turns whatever happens into one clear error and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(dbguard.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        _complain(Interrupted(signal.SIGINT), notes=getattr(error, "__notes__", ()))
        sys.exit(128 + signal.SIGINT)
    except OSError as error:  # mostly our own output: a full disk, or a reader like `head` that has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again at the end
        if not isinstance(error, BrokenPipeError):
            _complain(DbguardError(f"{error.filename or 'output'}: {error.strerror}"))
        sys.exit(1)
    except (DbguardError, Interrupted) as error:
        if _DEBUG in os.environ:
            traceback.print_exc()
        _complain(error, notes=getattr(error, "__notes__", ()))
        sys.exit(error.exit_code)


def _complain(error: DbguardError | Interrupted, notes: Sequence[str] = ()) -> None:
    """Names in a message can hold anything; what a terminal would obey is shown, not sent."""
    from dbguard.cli.output import printable, say

    text = f"dbguard: {error}" + (f"\nhint: {error.hint}" if error.hint else "")
    for line in [*text.split("\n"), *notes]:
        say(printable(line))


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_IGN)  # a second signal must not cut the cleaning up short
    raise Interrupted(number)
