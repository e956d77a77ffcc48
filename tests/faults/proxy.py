"""A proxy in front of the engine's socket that cuts the streams of programs in containers wherever a test wants."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.forwarder import Forwarder


@dataclass
class Stream:
    """What passed for one program: its start request, and the engine's frames of 8 bytes of header and a payload."""

    request: bytes
    data: bytearray = field(default_factory=bytearray)
    input: bytearray = field(default_factory=bytearray)

    @property
    def frames(self) -> list[tuple[int, int]]:
        """Where each begins, and its payload's length. https://docs.docker.com/reference/api/engine/, "Attach"."""
        found, at = [], 0
        while at + 8 <= len(self.data):
            found.append((at, int.from_bytes(self.data[at + 4 : at + 8], "big")))
            at += 8 + found[-1][1]
        return found


@dataclass(frozen=True)
class Cut:
    """Where to cut one program's stream; exactly one of the three."""

    program: int  # its position among the programs started
    after: int | None = None  # bytes of its output
    last: int | None = None  # so many bytes before the end of its output
    stdin_after: int | None = None  # bytes of its input; the rest is swallowed, the output stays


class Proxy(Forwarder):
    def __init__(self, folder: Path, upstream: str) -> None:
        self.streams: list[Stream] = []
        self.done = False
        self._cut: Cut | None = None
        self._created = b""
        super().__init__(folder, upstream)

    def connection(self, client: socket.socket, engine: socket.socket) -> _Connection:
        return _Connection(self, client, engine)

    def arm(self, cut: Cut | None = None) -> None:
        """Programs are counted from here; `done` says later whether the cut came."""
        self.streams, self._cut, self.done = [], cut, False

    def program(self, word: bytes) -> int:
        """The position of the first program that was started with this word in its request."""
        return next(at for at, stream in enumerate(self.streams) if word in stream.request)

    def _start(self, request: bytes) -> tuple[Stream | None, Cut | None]:
        """Looks at what a client sends; a request that starts a program begins a stream."""
        if b"/start" in request and b"/exec/" in request:
            stream = Stream(self._created)
            self.streams.append(stream)
            mine = self._cut is not None and self._cut.program == len(self.streams) - 1
            return stream, self._cut if mine else None
        self._created = request if b"POST " in request else self._created + request
        return None, None


class _Connection:
    def __init__(self, proxy: Proxy, client: socket.socket, engine: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._engine = engine
        self._stream: Stream | None = None
        self._cut: Cut | None = None
        self._upgraded = False
        self._head = b""
        self._kept = b""

    def requests(self) -> None:
        """Client to engine."""
        for data in _pieces(self._client):
            if self._stream is None:
                self._stream, self._cut = self._proxy._start(data)
            passing = self._input(self._stream, data) if self._stream is not None and self._upgraded else data
            with contextlib.suppress(OSError):
                self._engine.sendall(passing)
        with contextlib.suppress(OSError):
            self._engine.shutdown(socket.SHUT_WR)

    def answers(self) -> None:
        """Engine to client."""
        for data in _pieces(self._engine):
            if self._stream is None:
                self._send(data)
                continue
            if not self._output(self._stream, data if self._upgraded else self._without_header(data)):
                return
        if self._kept:
            self._break()
        else:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)

    def _without_header(self, data: bytes) -> bytes:
        """Passes on the engine's answer up to where the stream begins."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        self._upgraded = True
        self._send(head + end)
        return rest

    def _output(self, stream: Stream, data: bytes) -> bool:
        """Passes on what may pass; False once the stream is cut."""
        before = len(stream.data)
        stream.data += data
        cut = self._cut
        if cut is not None and cut.after is not None and self._upgraded and len(stream.data) > cut.after:
            self._send(data[: cut.after - before])
            self._break()
            return False
        data = self._kept + data
        passing = max(0, len(data) - cut.last) if cut is not None and cut.last is not None else len(data)
        self._send(data[:passing])
        self._kept = data[passing:]
        return True

    def _input(self, stream: Stream, data: bytes) -> bytes:
        """What may pass of it."""
        before = len(stream.input)
        stream.input += data
        limit = self._cut.stdin_after if self._cut is not None else None
        if limit is None or len(stream.input) <= limit:
            return data
        if not self._proxy.done:
            self._proxy.done = True
            with contextlib.suppress(OSError):
                self._engine.sendall(data[: limit - before])
                self._engine.shutdown(socket.SHUT_WR)
        return b""

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # both ends may close whenever they like
            self._client.sendall(data)

    def _break(self) -> None:
        self._proxy.done = True
        for end in (self._client, self._engine):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            yield data
