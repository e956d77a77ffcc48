"""`dbguard health`. Runs once a minute in each sidecar, so it imports next to nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dbguard import pulse
from dbguard.cli import output
from dbguard.state import default_state


@click.command("health")
def health_command() -> None:
    """Exit with 0 when the sidecar works and every newest good backup is as young as it should be, else with 1.

    The container's health check: it reads what `dbguard run` has noted down, and asks nobody. People have
    `dbguard status`.

    \b
    dbguard health
    """
    state = Path(os.environ["DBGUARD_STATE"]) if "DBGUARD_STATE" in os.environ else default_state()
    problems = pulse.read(state)
    for about, problem in problems.items():
        output.say(output.printable(f"{about}: {problem}"))
    if problems:
        sys.exit(1)
    output.say("healthy")
