"""Lets a running sidecar answer a command that was given on the host."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from dbguard import sidecar
from dbguard.cli import output
from dbguard.command import SECRET_FILE
from dbguard.config import load
from dbguard.containers import Containers
from dbguard.errors import ConfigError
from dbguard.model import Container, TargetName
from dbguard.scope import Scope, own_container, project_here


def answered_by_sidecar(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command: run it in the sidecar of its project when there is one, else here."""

    @functools.wraps(command)
    def wrapper(ctx: click.Context, **parameters: Any) -> None:  # noqa: ANN401 — a command's own parameters
        if _answers_itself(ctx) or parameters.get("from_file") is not None:  # a file of this host
            command(ctx, **parameters)
            return
        containers = Containers.connect()
        project = _project(containers, parameters)
        brain = find_brain(ctx, containers, project)
        if brain is None:
            command(ctx, **parameters)
            return
        arguments, secret = _with_identity(sys.argv[1:], parameters.get("identity"))
        answer = partial(sidecar.answer, containers, brain, message=output.say, secret=secret, project=project)
        if parameters.get("yes") is False and not parameters.get("dry_run"):
            confirmed = _prune_confirmed if ctx.info_name == "prune" else _restore_confirmed
            arguments = confirmed(answer, arguments)
        ctx.exit(answer(arguments, out=_out))

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
    try:
        settings = load()
    except ConfigError:  # a file of the sidecar's, perhaps; who answers here meets it again
        return parameters.get("project") or project_here(containers)
    return Scope.of(containers, settings, parameters.get("project")).project


def _prune_confirmed(answer: Callable[..., int], arguments: list[str]) -> list[str]:
    """As for a restore: what would go is shown, and asked about, here."""
    if not sys.stdin.isatty():
        return arguments
    if code := answer([*arguments, "--dry-run"], out=_out):
        sys.exit(code)
    output.confirm_removal()
    return [*arguments, "--yes"]


def _restore_confirmed(answer: Callable[..., int], arguments: list[str]) -> list[str]:
    """The sidecar has no terminal: it prints the plan, the question is asked here, and what it showed is done."""
    if not sys.stdin.isatty():
        return arguments
    said: list[bytes] = []
    if code := answer([*arguments, "--dry-run", "--json"], out=said.append):
        sys.exit(code)
    output.confirm(replace=bool({"--replace", "--in-place"} & set(arguments)))
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


def _out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
