"""Which volumes a command of `docker` itself deletes: `volume rm`, the prunes, `rm --volumes`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dbguard import argv, compose
from dbguard.argv import Invocation, Unparsable
from dbguard.argv.engine import EngineCommand, parse
from dbguard.compose import Deleting, Deletion, Doomed, orphans
from dbguard.compose.program import become, call, can_say_yes, last_line, refuse_other_engine
from dbguard.errors import EngineUnavailable, Refused
from dbguard.model import Container, Volume

if TYPE_CHECKING:
    from dbguard.containers import Containers

_ANONYMOUS = "com.docker.volume.anonymous"
"""Label of volumes that Engine 23 and later made without being given a name."""


def unless_harmless(args: Sequence[str], say: Callable[[str], None]) -> Deleting:
    """Becomes `docker ARGS…` at once unless it could delete volumes. Raises Refused for what cannot be understood."""
    words = ("docker", *args)
    command = parse(args)
    if isinstance(command, Unparsable) and command.may_delete:
        raise Refused(
            f"{shlex.join(words)}: {command.reason}, so nobody can say what it deletes",
            hint="a newer docker may need a newer dbguard",
        )
    if not isinstance(command, EngineCommand) or (command.asks and not can_say_yes()):
        become(words)
    if command.verb == "compose":
        return _compose(command, args, say)
    if not command.deletes:
        for orphan in orphans.of_containers(_losing(command), command.engine):
            say(str(orphan))
        become(words)
    return Deleting(
        words=words,
        sparing=shlex.join(command.sparing),
        resolve=partial(resolve, command),
        execute=partial(become, words),
    )


def _compose(command: EngineCommand, args: Sequence[str], say: Callable[[str], None]) -> Deleting:
    """`docker FLAGS compose ARGS…` goes through the same gate as `dbguard compose`."""
    understood = argv.parse(command.names)
    if isinstance(understood, Invocation):
        program = ("docker", *command.engine, "compose")
        understood = replace(understood, program=program, engine=command.engine)
    return compose.unless_harmless(understood, ("docker", *args), say)


def resolve(command: EngineCommand, containers: Containers) -> Deletion:
    """What the command would delete. Changes nothing."""
    refuse_other_engine(command.engine, containers)
    going = _going(containers, command)
    return Deletion(
        engine_id=containers.engine_id,
        containers=tuple(sorted(container.id for container in going)),
        volumes=tuple(Doomed(name=name) for name in sorted(_volumes(containers, command, going))),
    )


def _going(containers: Containers, command: EngineCommand) -> Sequence[Container]:
    """The containers that go with it."""
    if command.verb == "rm":
        return containers.inspect_all(command.names)
    if command.verb == "system prune":
        stopped = [container for container in containers.list(stopped=True) if not container.running]
        return [container for container in stopped if _passes(container.labels, command.filters)]
    return []


def _volumes(containers: Containers, command: EngineCommand, going: Sequence[Container]) -> set[str]:
    if command.verb == "volume rm":
        return set(command.names)
    if command.verb == "rm":
        return {mount.name for container in going for mount in container.mounts if mount.anonymous and mount.name}
    everything = command.everything and command.verb == "volume prune"
    return _pruned(containers, command, everything=everything or _all_filter(command.filters), going=going)


def _pruned(
    containers: Containers, command: EngineCommand, *, everything: bool, going: Sequence[Container]
) -> set[str]:
    """moby daemon/volumes_prune.go: local, without options, held by nothing; from API 1.42 on anonymous ones only."""
    everything = everything or _api_version(command.engine) < (1, 42)
    gone = {container.id for container in going}
    released = {
        mount.name
        for container in going
        for mount in container.mounts
        if mount.name and all(user.id in gone for user in containers.list(stopped=True, volume=mount.name))
    }
    unheld = {volume.name for volume in containers.volumes(unheld=True)}
    return {
        volume.name
        for volume in containers.volumes()
        if volume.name in unheld | released and _is_pruned(volume, command.filters, everything=everything)
    }


def _is_pruned(volume: Volume, filters: Sequence[str], *, everything: bool) -> bool:
    return volume.plain and (everything or _ANONYMOUS in volume.labels) and _passes(volume.labels, filters)


def _passes(labels: Mapping[str, str], filters: Sequence[str]) -> bool:
    """All `label=` and not all `label!=` must fit (moby daemon/prune.go, matchLabels); others are taken to fit."""
    wanted = [one.partition("=")[2] for one in filters if _kind(one) == "label"]
    unwanted = [one.partition("=")[2] for one in filters if _kind(one) == "label!"]
    return all(_has(labels, one) for one in wanted) and not (unwanted and all(_has(labels, one) for one in unwanted))


def _kind(one: str) -> str:
    return one.partition("=")[0].strip().lower()


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _all_filter(filters: Sequence[str]) -> bool:
    return any(_kind(one) == "all" for one in filters)


def _api_version(engine: Sequence[str]) -> tuple[int, ...]:
    """The one that client and engine agree on; DOCKER_API_VERSION can make it older than both."""
    answer = call(["docker", *engine, "version", "--format", "{{json .Client.APIVersion}}"])
    if answer.returncode != 0:
        raise EngineUnavailable(f"docker version: {last_line(answer.stderr)}")
    return tuple(int(part) for part in str(json.loads(answer.stdout)).split("."))


def _losing(command: EngineCommand) -> list[str]:
    """Containers whose anonymous volumes would be left behind."""
    if command.verb == "rm":
        return list(command.names)
    filters = [word for one in command.filters for word in ("--filter", one) if not one.startswith("until")]
    stopped = [word for status in ("created", "exited", "dead") for word in ("--filter", f"status={status}")]
    listing = call(["docker", *command.engine, "ps", "--all", "--quiet", "--no-trunc", *stopped, *filters])
    return listing.stdout.split()
