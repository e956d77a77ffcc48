"""`dbguard guard`."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from dbguard.cli import output
from dbguard.cli.lock import lock_command, unlock_command
from dbguard.errors import DbguardError
from dbguard.shim import files, interpreter, script
from dbguard.shim.look import Found, look
from dbguard.shim.places import NAME, Surroundings
from dbguard.shim.planning import Shim, installed, plan

_ALL = click.option("--all-users", is_flag=True, help="For all users of this machine; it takes root.")
_SHOWN = {"guarded": "guarded", "absent": "-", "open": "not guarded"}


@click.group("guard")
def guard_command() -> None:
    """Guard plain `docker compose` too, and lock volumes so that the engine itself keeps them."""


guard_command.add_command(lock_command)
guard_command.add_command(unlock_command)


@guard_command.command("install")
@_ALL
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def install(*, all_users: bool, dry_run: bool) -> None:
    """Put a shim in front of Compose: plain `docker compose down -v` is guarded from then on.

    The shim of `docker compose` goes where docker looks first for plugins; where there is a `docker-compose`, it gets
    one too, in ~/.local/bin. Whatever deletes nothing goes on to the real Compose at once. What lay in a shim's place
    is kept, and `uninstall` puts it back.

    \b
    dbguard guard install --dry-run
    dbguard guard install
    sudo dbguard guard install --all-users
    """
    around = Surroundings.here()
    python, flags = Path(sys.executable), interpreter.flags()
    for shim in plan(around, all_users=all_users):
        output.say(_plan_of(shim, dry_run=dry_run))
        if not dry_run:
            files.install(shim.place, script.text(shim.kind, shim.reals, python, flags))
    if all_users and not interpreter.is_for_all(python):
        output.say(
            f"warning: other users cannot run {python}: whatever may delete is refused to them\n"
            "hint: install dbguard for all users, as with `sudo pipx install --global`"
        )
    if not dry_run:
        for found in look(around):
            if found.state != "absent":
                _tell(found)


@guard_command.command("uninstall")
@_ALL
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def uninstall(*, all_users: bool, dry_run: bool) -> None:
    """Take the shims away; what lay in their places before is there again.

    \b
    dbguard guard uninstall
    """
    places = installed(Surroundings.here(), all_users=all_users)
    for line in (f"would take away {place}" for place in places) if dry_run else files.uninstall(places):
        output.say(output.printable(line))
    if not places:
        output.say("no shim is installed")


@guard_command.command("status")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
def status(*, as_json: bool) -> None:
    """Say what this user's `docker compose` and `docker-compose` would run.

    Exits with 1 when a shim that was installed is not found any more, because of an update or of PATH.

    \b
    dbguard guard status
    """
    found = look(Surroundings.here())
    if as_json:
        output.emit({"commands": [asdict(one) for one in found]})
    else:
        output.table(
            ("COMMAND", "STATE", "WHY"), [(one.program, _SHOWN.get(one.state, one.state), one.text) for one in found]
        )
        for one in found:
            if one.hint:
                output.say(f"hint: {one.program}: {one.hint}")
    if wrong := [one.program for one in found if one.wrong]:
        raise DbguardError(f"not guarded as it should be: {', '.join(wrong)}")


def _plan_of(shim: Shim, *, dry_run: bool) -> str:
    done = "would put a shim" if dry_run else "put a shim"
    kept = ", which is kept beside it" if shim.keeps else f" in front of {shim.reals[0]}"
    return output.printable(f"{shim.program}: {done} in {'the place of ' if shim.keeps else ''}{shim.place}{kept}")


def _tell(found: Found) -> None:
    if found.state == "guarded":
        output.say(output.printable(f"{found.program} is guarded"))
        return
    output.say(output.printable(f"warning: {found.program}: {found.text}"))
    if found.program == NAME and found.state == "shadowed":
        shell = "~/.zshrc" if shutil.which("zsh") else "~/.profile"
        output.say(f'hint: put this into {shell}: export PATH="$HOME/.local/bin:$PATH"')
    elif found.hint:
        output.say(f"hint: {found.hint}")
