"""Where docker looks for its plugins and the shell for its programs, and what lies there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbguard.shim import script

NAME = "docker-compose"
"""The plugin's file and the standalone program are called the same."""
SYSTEM = tuple(
    Path(f"{folder}/docker/cli-plugins")
    for folder in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
)
"""Where docker looks for plugins of all users, first to last: cli-plugins/manager/manager_unix.go of docker/cli."""
PROGRAMS = Path("/usr/local/bin")
"""Where programs of all users lie that are not of the distribution; PATH has it before /usr/bin."""
_HEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What one user's docker and shell go by."""

    home: Path
    environment: Mapping[str, str]
    system: tuple[Path, ...] = SYSTEM
    programs: Path = PROGRAMS

    @classmethod
    def here(cls) -> Surroundings:
        return cls(home=Path.home(), environment=dict(os.environ))

    @property
    def own_plugins(self) -> Path:
        return Path(self.environment.get("DOCKER_CONFIG") or self.home / ".docker") / "cli-plugins"

    @property
    def extra_plugins(self) -> tuple[Path, ...]:
        """What config.json names. Docker looks there first, whatever its documentation says (manager.go)."""
        try:
            found = json.loads((self.own_plugins.parent / "config.json").read_bytes())
        except (OSError, ValueError):
            return ()
        extra = found.get("cliPluginsExtraDirs") if isinstance(found, dict) else None
        return tuple(Path(folder) for folder in extra if isinstance(folder, str)) if isinstance(extra, list) else ()

    @property
    def plugins(self) -> tuple[Path, ...]:
        """In docker's order; the first file that is there is used, also when it does not work."""
        return (*self.extra_plugins, self.own_plugins, *self.system)

    @property
    def path(self) -> tuple[Path, ...]:
        words = self.environment.get("PATH", os.defpath).split(os.pathsep)
        return tuple(dict.fromkeys(Path(word) for word in words if Path(word).is_absolute()))

    @property
    def own_programs(self) -> Path:
        """`~/.local/bin`, unless PATH has only `~/bin`."""
        usual, old = self.home / ".local/bin", self.home / "bin"
        return old if old in self.path and usual not in self.path else usual


def plugins(folders: Iterable[Path]) -> list[Path]:
    """The files that docker would take for the plugin, the one it takes first."""
    return [folder / NAME for folder in folders if (folder / NAME).exists()]


def programs(folders: Iterable[Path]) -> list[Path]:
    """Those that the shell would run."""
    found = [folder / NAME for folder in folders]
    return [file for file in found if file.is_file() and os.access(file, os.X_OK)]


def head(file: Path) -> bytes:
    """How a file begins; nothing where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError:
        return b""


def is_shim(file: Path) -> bool:
    """Ours, also by way of a link."""
    return script.is_shim(head(file))
