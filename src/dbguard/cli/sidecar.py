"""Lets a running sidecar answer a command that was given on the host."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from dbguard import sidecar
from dbguard.cli import output
from dbguard.config import load
from dbguard.containers import Containers
from dbguard.discover import Scope, own_container
from dbguard.model import Container, TargetName


def answered_by_sidecar(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command: run it in the sidecar of its project when there is one, else here."""

    @functools.wraps(command)
    def wrapper(ctx: click.Context, **parameters: Any) -> None:  # noqa: ANN401 — a command's own parameters
        if _answers_itself(ctx):
            command(ctx, **parameters)
            return
        containers = Containers.connect()
        brain = find_brain(ctx, containers, _project(containers, parameters))
        if brain is None:
            command(ctx, **parameters)
            return
        arguments = sys.argv[1:]
        if parameters.get("yes") is False and not parameters.get("dry_run"):
            arguments = _confirmed(containers, brain, arguments)
        ctx.exit(_answer(containers, brain, arguments))

    return wrapper


def find_brain(ctx: click.Context, containers: Containers, project: str | None) -> Container | None:
    """The sidecar to ask for this project; None when this process is to answer itself."""
    if _answers_itself(ctx) or own_container(containers) is not None:
        return None
    return sidecar.find(containers, project)


def _answers_itself(ctx: click.Context) -> bool:
    """The sidecar does, and so does a command whose storage or configuration the user has named."""
    options = ctx.find_root().obj
    return bool(os.environ.get(sidecar.ANSWERING) or options["storage"] or options["config_file"])


def _project(containers: Containers, parameters: dict[str, Any]) -> str | None:
    """The project the command is about: named, or part of the target, or that of the working directory."""
    named = [parameters.get("target"), *parameters.get("targets", ())]  # the archives' project, not that of --into
    for target in named:
        if target and "/" in target:
            return TargetName.parse(target).project
    return Scope.of(containers, load(), parameters.get("project")).project


def _confirmed(containers: Containers, brain: Container, arguments: list[str]) -> list[str]:
    """The sidecar has no terminal: it prints the plan, the question is asked here, and what it showed is done."""
    if not sys.stdin.isatty():
        return arguments
    said: list[bytes] = []
    plan = [*arguments, "--dry-run", "--json"]
    if code := sidecar.answer(containers, brain, plan, out=said.append, message=output.say):
        sys.exit(code)
    output.confirm(replace="--replace" in arguments)
    rest = [word for word in arguments if word != "--latest"]
    shown = ["--id", json.loads(b"".join(said))["archive"]] if "--latest" in arguments else []
    return [*rest, *shown, "--yes"]


def _answer(containers: Containers, brain: Container, arguments: list[str]) -> int:
    def out(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    return sidecar.answer(containers, brain, arguments, out=out, message=output.say)
