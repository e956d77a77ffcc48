"""The shim itself: a few lines of POSIX sh in front of the real Compose. Pure.

Everything that cannot delete becomes the real program at once, in the time it takes to start a shell. The rest becomes
dbguard. Where dbguard cannot run, only what may delete is refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Kind = Literal["plugin", "standalone"]
"""What is behind it: docker's plugin, or `docker-compose`, of version 1 or 2."""

_FIRST = b"#!/bin/sh\n# dbguard shim, format 1\n"

_BOOT = """import os, sys
shim, kind, real, *words = sys.argv[1:]
try:
    import dbguard.cli.shim
except BaseException as error:
    os.environ["DBGUARD_BROKEN"] = f"{type(error).__name__}: {error}"
    os.execv("/bin/sh", ["/bin/sh", shim, *words])
sys.argv[:] = ["dbguard", "shim", kind, real, *words]
dbguard.cli.main()
"""

_REST = r"""
for real in @REALS@; do
  [ -f "$real" ] && [ -x "$real" ] && ! [ "$real" -ef "$0" ] && break
  real=
done
if [ -z "$real" ]; then
  echo "dbguard: there is no Compose behind the shim $0 any more" >&2
  echo "hint: install it, then \`dbguard guard install\`; or \`dbguard guard uninstall\`" >&2
  exit 127
fi

# What dbguard itself calls has been looked at.
if [ -n "${DBGUARD_THROUGH-}" ]; then
  unset DBGUARD_THROUGH
  exec "$real" "$@"
fi
case ${1-} in docker-cli-plugin-* | __complete | __completeNoDesc) exec "$real" "$@" ;; esac
found=
for word do
  case $word in down | rm | up | create | run | scale | watch | kill | wait) found=yes && break ;; esac
done
[ -n "$found" ] || exec "$real" "$@"

if [ -z "${DBGUARD_BROKEN-}" ]; then
  [ -x "$python" ] && exec "$python" @FLAGS@ -c "$boot" "$0" "$kind" "$real" "$@"
  DBGUARD_BROKEN="$python is gone"
fi

# dbguard cannot run: what may delete a volume is refused, the rest goes on.
why=$DBGUARD_BROKEN
unset DBGUARD_BROKEN
command= flag= answers= stream=
for word do
  case $word in
    down | rm) command=yes ;;
    up | create) command=yes answers=yes ;;
    scale | watch) answers=yes ;;
    --verbose | --version) ;;
    -[vVy]* | -[!-]*[vVy]* | --v* | --y* | --ren*) flag=yes ;;
    -) stream=yes ;;
  esac
done
if [ -n "$command" ] && [ -n "$flag" ]; then
  echo "dbguard: refused: dbguard itself cannot run, so nobody can say what this would delete" >&2
  echo "  $why" >&2
  echo "hint: install dbguard again, then \`dbguard guard install\`; the real Compose is $real" >&2
  exit 77
fi
# Compose asks whether to re-create a volume that has changed, and takes what is piped in for the answer.
if [ -n "$answers" ] && [ -z "$stream" ] && ! [ -t 0 ]; then exec </dev/null; fi
exec "$real" "$@"
"""


def text(kind: Kind, reals: Sequence[Path], python: Path, flags: str) -> bytes:
    """The script. The first of `reals` that is there, and not the shim itself, is the real one."""
    lines = [
        f"# Made by `dbguard guard install`, taken away by `dbguard guard uninstall`. In front of {_shown(reals[0])}",
        f"kind={kind}",
        f"python={shlex.quote(str(python))}",
        f"boot={shlex.quote(_BOOT)}",
    ]
    rest = _REST.replace("@REALS@", " ".join(shlex.quote(str(real)) for real in reals)).replace("@FLAGS@", flags)
    return _FIRST + "\n".join(lines).encode("utf-8", "surrogateescape") + rest.encode("utf-8", "surrogateescape")


def is_shim(data: bytes) -> bool:
    """Is the file that begins so one of ours?"""
    return data.startswith(_FIRST)


def python_of(data: bytes) -> Path | None:
    """The interpreter that a shim calls."""
    return next((Path(_value(line)) for line in _lines(data) if line.startswith("python=")), None)


def reals_of(data: bytes) -> list[Path]:
    """What a shim may become, the first choice first."""
    line = next((line for line in _lines(data) if line.startswith("for real in ")), "")
    return [Path(word) for word in shlex.split(line.removeprefix("for real in ").removesuffix("; do"))]


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogateescape").splitlines()


def _value(line: str) -> str:
    return "".join(shlex.split(line.partition("=")[2]))


def _shown(path: Path) -> str:
    """For a comment, which a line break in a name would end."""
    return "".join(char if char.isprintable() else "?" for char in str(path))
