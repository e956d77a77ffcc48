"""A container that can reach nobody, for something that is not trusted and not kept."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import docker

from dbguard.containers.answers import own_socket, translated
from dbguard.errors import ExecFailed, NotFound
from dbguard.frames import Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """A container that can reach nobody, and what it said last."""

    id: str
    said: deque[str]


@contextlib.contextmanager
def isolated(
    client: docker.APIClient,
    image: str,
    argv: Sequence[str],
    *,
    folder: str,
    memory: int,
    labels: Mapping[str, str],
) -> Iterator[Isolated]:
    """A new container without a network whose program is root there with no privilege, may write below `folder` and
    `/tmp` only, and has `memory` bytes; where the host itself runs short it is the first to go. It is removed at the
    end. Should we be killed before, the program sees the end of its stdin; when it then ends, the engine removes the
    container."""
    with translated(f"a container of image {image[:19]}"):
        host = client.create_host_config(
            network_mode="none", read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"],  # noqa: S108
            security_opt=["no-new-privileges"], mem_limit=memory, memswap_limit=memory, auto_remove=True,
            oom_score_adj=1000,
            mounts=[docker.types.Mount(folder, None)],
        )  # fmt: skip
        container: str = client.create_container(
            image, entrypoint=list(argv), command=[], user="0:0", stdin_open=True, labels=dict(labels),
            host_config=host, healthcheck={"test": ["NONE"]},
        )["Id"]  # fmt: skip
    said: deque[str] = deque(maxlen=20)
    try:
        with translated(f"container {container[:12]}"):
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            lifeline = own_socket(client.attach_socket(container, params=streams))
        with lifeline:
            threading.Thread(target=_hear, args=[lifeline, said], daemon=True).start()
            with translated(f"container {container[:12]}"):
                client.start(container)
            yield Isolated(id=container, said=said)
    finally:
        with contextlib.suppress(NotFound, ExecFailed), translated(f"container {container[:12]}"):
            client.remove_container(container, v=True, force=True)  # unless that is going on already


def _hear(stream: socket.socket, said: deque[str]) -> None:
    """What a container writes, line by line, until the stream ends."""
    frames, rest = Frames(), b""
    with contextlib.suppress(OSError):
        stream.settimeout(None)
        while data := stream.recv(65536):
            *lines, rest = (rest + b"".join(bytes(part) for _, part in frames.feed(memoryview(data)))).split(b"\n")
            said.extend(line.decode("utf-8", "replace") for line in lines)
