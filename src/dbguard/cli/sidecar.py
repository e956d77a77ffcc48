"""Lets a running sidecar answer a command that was given on the host."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dbguard import sidecar
from dbguard.cli import output
from dbguard.command import SECRET_FILE
from dbguard.config import load
from dbguard.containers import Containers
from dbguard.discover import Scope, own_container
from dbguard.errors import ConfigError
from dbguard.model import Container, TargetName


def answered_by_sidecar(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command: run it in the sidecar of its project when there is one, else here."""

    @functools.wraps(command)
    def wrapper(ctx: click.Context, **parameters: Any) -> None:  # noqa: ANN401 — a command's own parameters
        if _answers_itself(ctx):
            command(ctx, **parameters)
            return
        containers = Containers.connect()
        project = _project(containers, parameters)
        brain = find_brain(ctx, containers, project)
        if brain is None:
            command(ctx, **parameters)
            return
        arguments, secret = _with_identity(sys.argv[1:], parameters.get("identity"))
        if brain.serves_all and project and "project" in parameters and parameters["project"] is None:
            arguments = [*arguments, "--project", project]  # the folder that it means is here
        if parameters.get("yes") is False and not parameters.get("dry_run"):
            confirmed = _prune_confirmed if ctx.info_name == "prune" else _restore_confirmed
            arguments = confirmed(containers, brain, arguments, secret)
        ctx.exit(_answer(containers, brain, arguments, secret))

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


def _prune_confirmed(containers: Containers, brain: Container, arguments: list[str], secret: bytes | None) -> list[str]:
    """As for a restore: what would go is shown, and asked about, here."""
    if not sys.stdin.isatty():
        return arguments
    if code := _answer(containers, brain, [*arguments, "--dry-run"], secret):
        sys.exit(code)
    output.confirm_removal()
    return [*arguments, "--yes"]


def _restore_confirmed(
    containers: Containers, brain: Container, arguments: list[str], secret: bytes | None
) -> list[str]:
    """The sidecar has no terminal: it prints the plan, the question is asked here, and what it showed is done."""
    if not sys.stdin.isatty():
        return arguments
    said: list[bytes] = []
    plan = [*arguments, "--dry-run", "--json"]
    if code := sidecar.answer(containers, brain, plan, out=said.append, message=output.say, secret=secret):
        sys.exit(code)
    output.confirm(replace="--replace" in arguments)
    rest = [word for word in arguments if word != "--latest"]
    shown = ["--id", json.loads(b"".join(said))["archive"]] if "--latest" in arguments else []
    return [*rest, *shown, "--yes"]


def _with_identity(arguments: list[str], file: Path | None) -> tuple[list[str], bytes | None]:
    """The private key is a file of this host: the sidecar gets its contents, and never keeps them."""
    if file is None:
        return arguments, None
    try:
        secret = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"identity {file}: {error.strerror}") from error
    at = next(n for n, word in enumerate(arguments) if word == "--identity" or word.startswith("--identity="))
    rest = arguments[at + 1 if "=" in arguments[at] else at + 2 :]
    return [*arguments[:at], f"--identity={SECRET_FILE}", *rest], secret


def _answer(containers: Containers, brain: Container, arguments: list[str], secret: bytes | None) -> int:
    def out(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    return sidecar.answer(containers, brain, arguments, out=out, message=output.say, secret=secret)
