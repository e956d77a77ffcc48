"""Compose itself: becoming it, and asking it which volumes a command would delete."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbguard import argv, pflag
from dbguard.argv import RECREATING, Invocation, Unparsable, standalone
from dbguard.argv import v1 as argv_v1
from dbguard.compose import orphans, v1, v2
from dbguard.compose.nouns import Deleting as Deleting
from dbguard.compose.nouns import Deletion as Deletion
from dbguard.compose.nouns import Doomed as Doomed
from dbguard.compose.nouns import Place as Place
from dbguard.compose.program import Program, become, call, can_say_yes, refuse_other_engine, refuse_streams
from dbguard.errors import DbguardError, Refused

if TYPE_CHECKING:
    from dbguard.containers import Containers

STANDALONE = ("docker-compose",)
_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins", "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins", "/usr/libexec/docker/cli-plugins",
)  # fmt: skip
"""Where the docker command looks (cli-plugins/manager/manager_unix.go), after the user's own folder."""

Say = Callable[[str], None]


def plugin_or_standalone(args: Sequence[str], say: Say) -> Deleting:
    """`docker compose ARGS…`, or `docker-compose ARGS…` where the plugin is not installed. See unless_harmless."""
    if shutil.which("docker-compose") and not _has_plugin():
        return standalone_unless_harmless(args, say)
    return unless_harmless(argv.parse(args), ("docker", "compose", *args), say)


def standalone_unless_harmless(args: Sequence[str], say: Say) -> Deleting:
    """`docker-compose ARGS…`, which may be Compose 1 or 2: it is asked only when its answer matters."""
    new, old = standalone.parse(args), argv_v1.parse(args)
    either = [one for one in (new, old) if not _is_harmless(one)]
    leaving = [one for one in either if isinstance(one, Invocation) and not (one.deletes or one.forgets)]
    if not either or (leaving == either and not any(orphans.holders(one.engine) for one in leaving)):
        become([*STANDALONE, *args])
    version = call([*STANDALONE, "version", "--short"]).stdout.strip()
    if not version:
        raise Refused("docker-compose does not say its version", hint="does `docker-compose version --short` work?")
    return unless_harmless(old if version.startswith("1.") else new, (*STANDALONE, *args), say)


def unless_harmless(understood: Invocation | Unparsable, words: tuple[str, ...], say: Say) -> Deleting:
    """Becomes Compose at once unless the command could delete volumes; says what it leaves behind.

    Raises Refused for one that could but cannot be understood.
    """
    if isinstance(understood, Unparsable):
        if not understood.may_delete:
            become(words)
        raise Refused(
            f"{shlex.join(words)}: {understood.reason}, so nobody can say what it deletes",
            hint="spell it `docker compose down --volumes`; a newer Compose may need a newer dbguard",
        )
    called = Program(invocation=understood, words=words)
    if not _may_delete(called, say):
        _say_what_is_left(called, say)
        called.become()
    return Deleting(
        words=words,
        sparing=shlex.join(understood.sparing) + (" < /dev/null" if understood.asks else ""),
        resolve=partial(resolve, called),
        execute=called.become,
    )


def resolve(program: Program, containers: Containers) -> Deletion:
    """What the command would delete, as Compose itself says. Changes nothing.

    Raises Refused when Compose cannot say, or when asking would do harm.
    """
    refuse_streams(program.invocation)
    refuse_other_engine(program.invocation.engine, containers)
    if program.invocation.v1:
        return v1.removal(program, containers)
    if program.invocation.subcommand in RECREATING:
        return v2.recreation(program, containers)
    return v2.removal(program, containers)


def _is_harmless(understood: Invocation | Unparsable) -> bool:
    if isinstance(understood, Unparsable):
        return not understood.may_delete
    return not (understood.deletes or understood.abandons or understood.forgets)


def _may_delete(program: Program, say: Say) -> bool:
    """A question that nobody can answer with yes deletes nothing; nor does `up` while every volume is as it was."""
    called = program.invocation
    if not called.deletes or (called.asks and not can_say_yes()):
        return False
    if called.subcommand not in RECREATING or not called.asks:
        return True
    try:
        refuse_streams(called)
        return bool(v2.recreated(program)[0])
    except DbguardError as error:
        if called.subcommand == "run":  # its stdin is the data of what it runs
            say(f"note: nobody can say whether a volume would be deleted and made anew: {error}")
            raise
        say(f"note: {error}; if Compose asks whether to delete and re-create a volume, the answer is no")
        program.become(mute=True)


def _say_what_is_left(program: Program, say: Say) -> None:
    called = program.invocation
    tidy = called.subcommand in RECREATING and os.environ.get("COMPOSE_REMOVE_ORPHANS", "") in pflag.TRUE
    if called.abandons or tidy:
        for orphan in orphans.left_by(program):
            say(str(orphan))
    if called.forgets and (note := orphans.forgotten_by(program)):
        say(note)


def _has_plugin() -> bool:
    own = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        extra = json.loads((own / "config.json").read_text()).get("cliPluginsExtraDirs", [])
    except (OSError, ValueError):
        extra = []
    folders = (*extra, own / "cli-plugins", *_PLUGIN_FOLDERS)
    if any((Path(folder) / "docker-compose").exists() for folder in folders):
        return True
    return call(["docker", "compose", "version"]).returncode == 0
