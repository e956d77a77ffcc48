"""The Docker Engine in our words: which containers there are, what runs in them, which volumes they hold.

The only package that imports docker.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import docker

from dbguard.command import Command
from dbguard.containers.answers import own_socket, translated
from dbguard.containers.files import only_folder, unpacked
from dbguard.containers.holding import hold
from dbguard.containers.isolated import Isolated, isolated
from dbguard.containers.onlooker import onlooker
from dbguard.errors import CallRefused, DbguardError, EngineUnavailable, NotFound
from dbguard.model import Container, Mount, Volume
from dbguard.process import ExecState, Process

_STALL = 30 * 60.0
"""Seconds without a byte before a stream counts as dead: a dump may be silent while it waits for locks."""
_QUICK = 60.0
_FILE_LIMIT = 1 << 20
_CHANGES = ("start", "die", "destroy", "rename", "pause", "unpause")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a short program said; it ended with 0, or ExecFailed was raised."""

    stdout: bytes
    messages: tuple[str, ...]


class Containers:
    """One engine. Everything is addressed by container id, never by name, so that nothing is mixed up."""

    def __init__(self, client: docker.APIClient, engine_id: str, engine_version: str, processors: int) -> None:
        self._client = client
        self.engine_id = engine_id
        self.engine_version = engine_version
        self.processors = processors
        self.by_socket = str(client.base_url).startswith("http+docker://")
        self.address = "its socket on this host" if self.by_socket else str(client.base_url)

    @classmethod
    def connect(cls) -> Self:
        """The engine that DOCKER_HOST or the current context names. Raises EngineUnavailable."""
        with translated("the Docker Engine"):
            client = docker.from_env(timeout=60).api
            info = client.info()
            return cls(client, str(info["ID"]), str(info["ServerVersion"]), int(info["NCPU"]))

    def volumes(self, *, unheld: bool = False) -> list[Volume]:
        """All of the engine; with `unheld` those that no container holds, stopped ones included."""
        with translated("the list of volumes"):
            found = self._client.volumes(filters={"dangling": True} if unheld else None)["Volumes"] or []
        return [
            Volume(name=one["Name"], plain=one["Driver"] == "local" and not one["Options"], labels=one["Labels"] or {})
            for one in found
        ]

    def list(self, *, stopped: bool = False, volume: str | None = None, label: str | None = None) -> list[Container]:
        filters = {key: value for key, value in {"volume": volume, "label": label}.items() if value}
        with translated("the list of containers"):
            ids = [item["Id"] for item in self._client.containers(all=stopped, filters=filters)]
        return [*self.inspect_all(ids)]

    def changes(self, label: str | None = None) -> Iterator[str]:
        """What happens to containers from now on, one word each, for as long as the engine lives. Raises
        EngineUnavailable at its end: whoever watches has missed something and must look again."""
        filters: dict[str, Any] = {"type": "container", "event": [*_CHANGES]} | ({"label": label} if label else {})
        with translated("the engine's events"):
            for event in self._client.events(decode=True, filters=filters):
                yield str(event.get("Action"))
        raise EngineUnavailable("the engine's events have ended")

    def inspect(self, container: str) -> Container:
        """By id or name. Raises NotFound."""
        with translated(f"container {container}"):
            return _container(self._client.inspect_container(container))

    def inspect_all(self, containers: Iterable[str]) -> Sequence[Container]:
        """Those of them that are there: some may have gone away since somebody named them."""
        found = []
        for container in containers:
            with contextlib.suppress(NotFound):
                found.append(self.inspect(container))
        return found

    def start(
        self, container: str, command: Command, *, stall: float = _STALL, env: dict[str, str] | None = None
    ) -> Process:
        """Starts a program in a container, stdout and stderr apart, never with a TTY. Enter it to begin."""
        with translated(f"container {container}"):
            exec_id = self._client.exec_create(
                container, command.exec_argv, stdin=True, stdout=True, stderr=True, tty=False, environment=env
            )["Id"]
            stream = self._client.exec_start(exec_id, socket=True)
        return Process(
            own_socket(stream),
            command,
            inspect=lambda: self._exec_state(exec_id),
            signal_group=lambda pid, name: self._signal_group(container, pid, name),
            stall=stall,
        )

    def run(self, container: str, command: Command, *, stdin: bytes = b"", timeout: float = _QUICK) -> Completed:
        """Runs a short program to its end. Raises ExecFailed."""
        with self.start(container, command, stall=timeout) as process:
            chunks = [stdin[at : at + 65536] for at in range(0, len(stdin), 65536)]
            stdout = b"".join(process.output(chunks))
            return Completed(stdout=stdout, messages=tuple(process.messages))

    def read_file(self, container: str, path: str) -> bytes | None:
        """A small file out of a running or stopped container; None when there is no such file."""
        try:
            with translated(f"{path} in container {container}"):
                stream, status = self._client.get_archive(container, path)
                if status["size"] > _FILE_LIMIT:
                    return None
                data = b"".join(stream)
        except NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isfile() else None
            return file.read() if file is not None else None

    def file(self, container: str, path: str) -> Iterator[bytes] | None:
        """A file of any size, in pieces; None when there is no such file. Raises EngineUnavailable when it is cut."""
        try:
            with translated(f"{path} in container {container}"):
                stream, _ = self._client.get_archive(container, path)
        except NotFound:
            return None
        return unpacked(stream, f"{path} in container {container}")

    def exists(self, container: str, path: str) -> bool:
        """Whether there is such a file or folder in a running or stopped container."""
        client: Any = self._client  # docker-py asks for no file without fetching it
        url = client._url("/containers/{0}/archive", container)
        try:
            with translated(f"{path} in container {container}"):
                client._raise_for_status(client.head(url, params={"path": path}, timeout=_QUICK))
        except NotFound:
            return False
        return True

    def is_empty(self, container: str, path: str) -> bool | None:
        """Whether a folder holds nothing but, perhaps, lost+found; None when it cannot be told."""
        try:
            with translated(f"{path} in container {container}"):
                stream, _ = self._client.get_archive(container, path)
                return only_folder(stream, path)
        except (NotFound, CallRefused):
            return None

    def stop(self, container: str) -> None:
        """As `docker stop` does: its own signal, its own patience."""
        with translated(f"container {container}"):
            self._client.stop(container, timeout=None)

    def go_on(self, container: str) -> None:
        """Starts a container that was stopped."""
        with translated(f"container {container}"):
            self._client.start(container)

    def remove(self, container: str) -> None:
        """With its anonymous volumes, also when it runs. It may be gone already."""
        with contextlib.suppress(NotFound), translated(f"container {container}"):
            self._client.remove_container(container, v=True, force=True)

    def isolated(
        self, image: str, argv: Sequence[str], *, folder: str, memory: int, labels: Mapping[str, str]
    ) -> AbstractContextManager[Isolated]:
        """See isolated.isolated."""
        return isolated(self._client, image, argv, folder=folder, memory=memory, labels=labels)

    @contextlib.contextmanager
    def looking_into(self, volume: str, *, target: str | None = None, writable: bool = False) -> Iterator[Container]:
        """A container, never started, whose one mount is this volume, so that `read_file` can look into it whether or
        not any other container mounts it. It is removed at the end. `target` says for whose copy, where that takes
        long. Raises NotFound when there is no such volume."""
        labels = {"dbguard.target": target} if target is not None else {}
        with onlooker(self._client, volume, writable=writable, labels=labels) as container:
            yield self.inspect(container)

    def hold(self, volume: str, image: str, *, name: str, labels: Mapping[str, str]) -> str:
        """See holding.hold."""
        return hold(self._client, image, volume, name=name, labels=labels)

    def volume_labels(self, name: str) -> dict[str, str] | None:
        """None when there is no such volume."""
        try:
            with translated(f"volume {name}"):
                return self._client.inspect_volume(name).get("Labels") or {}
        except NotFound:
            return None

    def volume_folder(self, name: str) -> str | None:
        """Where the engine keeps it on its host. None when there is no such volume."""
        try:
            with translated(f"volume {name}"):
                return str(self._client.inspect_volume(name)["Mountpoint"])
        except NotFound:
            return None

    def volume_origin(self, name: str) -> str:
        """What a volume only refers to: `addr=nas /export`, a folder of the host; empty when the data is its own."""
        with contextlib.suppress(NotFound), translated(f"volume {name}"):
            found = self._client.inspect_volume(name)
            options = found.get("Options") or {}
            if found["Driver"] == "local" and options.get("device") and options.get("type") != "tmpfs":
                return " ".join(filter(None, [options.get("o") if options.get("type") else "", options["device"]]))
        return ""

    def _exec_state(self, exec_id: str) -> ExecState:
        try:
            with translated("the exec's state"):
                state = self._client.exec_inspect(exec_id)
        except NotFound:
            return ExecState(running=False, exit_code=None)  # the container is gone, and the exec with it
        return ExecState(running=bool(state["Running"]), exit_code=state["ExitCode"])

    def _signal_group(self, container: str, pid: int, name: str) -> None:
        with contextlib.suppress(DbguardError, docker.errors.DockerException):
            kill = ["sh", "-c", f"kill -s {name} -- -{pid}"]  # sh's own: slim images have no kill program
            exec_id = self._client.exec_create(container, kill)["Id"]
            self._client.exec_start(exec_id)


def _container(info: dict[str, Any]) -> Container:
    config = info["Config"]
    host = info["HostConfig"]
    named = {bind.split(":")[0] for bind in host.get("Binds") or ()}
    named |= {mount.get("Source") for mount in host.get("Mounts") or ()}
    return Container(
        id=info["Id"],
        name=info["Name"].lstrip("/"),
        image=config["Image"],
        image_id=info["Image"],
        running=bool(info["State"]["Running"]),
        paused=bool(info["State"]["Paused"]),
        started=info["State"]["StartedAt"],
        labels=config.get("Labels") or {},
        variables=frozenset(entry.split("=")[0] for entry in config.get("Env") or ()),
        command=(*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())),
        mounts=tuple(sorted((_mount(one, named) for one in info.get("Mounts") or ()), key=str)),  # it has no order
        networks=tuple(info["NetworkSettings"].get("Networks") or ()),
        auto_remove=bool(host.get("AutoRemove")),
        serves_all="DBGUARD_SCOPE=all" in (config.get("Env") or ()),
    )


def _mount(mount: dict[str, Any], named: set[str | None]) -> Mount:
    name = mount.get("Name")
    return Mount(
        kind=mount["Type"],
        name=name,
        source=mount.get("Source", ""),
        destination=mount["Destination"],
        anonymous=mount["Type"] == "volume" and name not in named,
    )
