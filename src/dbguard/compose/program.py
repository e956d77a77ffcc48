"""Calling `docker` and Compose, and becoming them."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dbguard import behind
from dbguard.argv import Invocation
from dbguard.errors import EngineUnavailable, Refused

if TYPE_CHECKING:
    from dbguard.containers import Containers


def become(words: Sequence[str], stdin: bytes | None = None) -> NoReturn:
    """Becomes this program: same process, terminal, stdin, signals and exit code. `stdin` replaces what was read."""
    if stdin is not None:
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            os.dup2(file.fileno(), 0)
    with _found(words[0]):
        behind.become(words)


def call(words: Sequence[str], stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it to its end; the caller looks at its exit code. Without `stdin` it can read nothing."""
    with _found(words[0]):
        done = subprocess.run(list(words), check=False, input=stdin or b"", capture_output=True)
    return subprocess.CompletedProcess(
        words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


@contextlib.contextmanager
def _found(program: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = f"is the {program} command installed?"
        raise EngineUnavailable(f"{program}: {error.strerror}", hint=hint) from error


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1].strip()


def can_say_yes() -> bool:
    """Could a question that is read from our stdin be answered? Not by /dev/null, nor by the end of a file."""
    try:
        what = os.fstat(0)
    except OSError:
        return False
    if stat.S_ISREG(what.st_mode):
        return os.lseek(0, 0, os.SEEK_CUR) < what.st_size
    return not (stat.S_ISCHR(what.st_mode) and what.st_rdev == Path(os.devnull).stat().st_rdev)


@dataclass(frozen=True, kw_only=True)
class Program:
    """Compose as the user called it: asked with the same flags, and the same file where that comes from stdin."""

    invocation: Invocation
    words: tuple[str, ...]  # as typed, the program first

    @cached_property
    def stdin(self) -> bytes | None:
        """All of our stdin where the Compose file comes from there; it can be read once, and Compose reads it often."""
        if "-" not in _files(self.invocation):
            return None
        with open(0, "rb", closefd=False) as stream:
            return stream.read()

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        called = self.invocation
        return call([*called.program, *called.project, *words], self.stdin)

    def docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        return call(["docker", *self.invocation.engine, *words])

    def become(self, *, mute: bool = False) -> NoReturn:
        """With `mute` it can read nothing, so every question it asks is answered with no."""
        read = self.__dict__.get("stdin")  # what nobody has read yet is left to Compose
        become(self.words, b"" if mute else read)


def refuse_streams(invocation: Invocation) -> None:
    """A pipe with a name is empty when Compose reads it a second time."""
    for file in _files(invocation):
        path = Path(file)
        if file in {"-", os.devnull}:
            continue
        if file.startswith(("/dev/stdin", "/dev/fd/", "/proc/")) or (
            path.exists() and not path.is_file() and not path.is_dir()
        ):
            raise Refused(
                f"the Compose file comes from {file}, which can be read only once",
                hint="write it to a file, and name that with -f; `-f -` reads stdin",
            )


def _files(invocation: Invocation) -> tuple[str, ...]:
    separator = os.environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep)
    return (*invocation.files, *os.environ.get("COMPOSE_FILE", "").split(separator))


def refuse_other_engine(engine: Sequence[str], containers: Containers) -> None:
    """The docker command follows contexts, its library only DOCKER_HOST."""
    theirs = call(["docker", *engine, "info", "--format", "{{.ID}}"])
    if theirs.returncode != 0:
        raise EngineUnavailable(f"docker info: {last_line(theirs.stderr)}")
    if theirs.stdout.strip() != containers.engine_id:
        raise Refused(
            "docker compose works on another engine than dbguard looks at",
            hint="set DOCKER_HOST to the address that `docker context inspect` shows",
        )
