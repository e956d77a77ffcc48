"""A program running in a container: its output, its input, and the proof that it ended well.

An end of stream proves nothing: docker-py, and a proxy in between, end a cut stream like a finished one. So
the end counts only when the last frame is whole, the engine says the exec is no longer running and its exit
code is 0, and the script in the container has reported every program's own status.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dbguard.command import Command
from dbguard.errors import DbguardError, ExecFailed
from dbguard.feed import Feed
from dbguard.frames import STDERR, Frames

_RECEIVE = 1 << 20
_BATCH = 256 << 10
_END = bytearray()
_LINE = 4096
"""Bytes of a line on stderr that are kept: a client may print the statement that failed."""
_SETTLE = 30.0
"""Seconds the engine may take after the end of the stream to say how the exec ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecState:
    running: bool
    exit_code: int | None


class Process:
    """A context manager: leaving it before the program has ended stops the program inside the container. The program
    starts when its output is asked for."""

    def __init__(
        self,
        connection: socket.socket,
        command: Command,
        *,
        inspect: Callable[[], ExecState],
        signal_group: Callable[[int, str], None],
        stall: float,
    ) -> None:
        self.pid: int | None = None
        self.exits: dict[str, int] = {}
        self.messages: deque[str] = deque(maxlen=1000)
        self.on_message: Callable[[str], None] = self.messages.append
        self._connection = connection
        self._command = command
        self._inspect = inspect
        self._signal_group = signal_group
        self._stall = stall
        self._frames = Frames()
        self._buffer = bytearray(_RECEIVE)
        self._stderr = b""
        self._settled = False

    def __enter__(self) -> Self:
        self._connection.settimeout(None)  # docker-py leaves 60 s, which a slow statement outlasts
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if not self._settled:
            with contextlib.suppress(DbguardError):  # an engine that is gone must not hide what went wrong
                self._stop()

    @property
    def ended(self) -> bool:
        """The stream was not cut, and every program said how it ended; that may still be badly."""
        return self._settled and set(self.exits) == self._command.programs

    def output(self, stdin: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The program's stdout in pieces of some 256 KiB, while `stdin` is fed to it.

        Raises ExecFailed when the stream is cut, silent for too long, or any program did not end with 0.
        The iterator's end is the proof that all went well.
        """
        self._begin()
        batch: list[bytes] = []
        size = 0
        for data in self._exchange(iter(stdin)):
            batch.append(data)
            size += len(data)
            if size >= _BATCH:
                yield b"".join(batch)
                batch, size = [], 0
        self._settle()
        if batch:
            yield b"".join(batch)

    def answers(self, feed: Feed) -> Iterator[bytes]:
        """The program's stdout as it comes, while another thread feeds it. Raises ExecFailed like `output`, but silence
        is a fault only while an answer is owing, and Abandoned."""
        self._begin()
        yield from self._exchange(feed)
        self._settle()

    def _begin(self) -> None:
        """The script waits for its first line; the program starts now."""
        with contextlib.suppress(ConnectionError):  # it has ended already: how, the end of the stream tells
            self._connection.sendall(self._command.first_line)

    def _exchange(self, stdin: Iterator[bytes] | Feed) -> Iterator[bytes]:
        """Reads and writes as the other side allows, until it ends the stream."""
        feed = [stdin] if isinstance(stdin, Feed) else []
        sources: list[socket.socket | Feed] = [self._connection, *feed]
        writing, waiting = self._command.feed, False
        rest = memoryview(b"")
        while True:
            idle = waiting and not any(one.owing() for one in feed)
            wanted = [self._connection] if writing and not waiting else []
            readable, writable, _ = select.select(sources, wanted, [], None if idle else self._stall)
            if not readable and not writable:
                raise ExecFailed(f"no byte for {self._stall:.0f} seconds: the stream stalled")
            for one in feed:
                if one in readable:
                    one.woken()
                    waiting = False
            if self._connection in readable:
                count = self._receive()
                if not count:
                    return
                yield from self._stdout(memoryview(self._buffer)[:count])
            if writable:
                if not rest:
                    chunk = next(stdin, _END)
                    waiting = chunk is None
                    writing = chunk is not _END or self._no_more()
                    rest = memoryview(chunk or _END)
                rest = _sent(self._connection, rest) if rest else rest

    def carry(self, local: socket.socket) -> None:
        """Couples the program with a socket until it ends: what is written at that socket's other end is its stdin,
        and its stdout is read there. Needs a command with `feed`; blocks, so it wants a thread of its own.

        Silence is no fault here: a session that only holds its locks says nothing for hours. When the other end is
        closed the program's stdin ends, and `stall` seconds without a byte from then on are too many. However the
        stream ends, `local` ends first. Raises ExecFailed like `output`.
        """
        self._begin()
        waiting = {self._connection: memoryview(b""), local: memoryview(b"")}
        fed = True
        while True:
            wanted = [self._connection] * (not waiting[local]) + [local] * (fed and not waiting[self._connection])
            full = [to for to, rest in waiting.items() if rest]
            readable, writable, _ = select.select(wanted, full, [], None if fed else self._stall)
            if not readable and not writable:
                raise ExecFailed(f"{self._command.argv[0]} did not end with its input")
            for to in writable:
                waiting[to] = _sent(to, waiting[to])
            if local in readable:
                waiting[self._connection] = memoryview(_received(local))
                fed = bool(waiting[self._connection]) or self._no_more()
            if self._connection in readable:
                count = self._receive()
                if not count:
                    break
                waiting[local] = memoryview(b"".join(self._stdout(memoryview(self._buffer)[:count])))
        with contextlib.suppress(OSError):
            local.shutdown(socket.SHUT_WR)
        self._settle()

    def _receive(self) -> int:
        try:
            return self._connection.recv_into(self._buffer)
        except ConnectionError:  # also when the program ended with input unread; an end proves nothing anyway
            return 0

    def _no_more(self) -> bool:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        return False

    def _stdout(self, data: memoryview) -> Iterator[bytes]:
        for kind, payload in self._frames.feed(data):
            if kind == STDERR:
                self._hear(payload)
            else:
                yield payload

    def _hear(self, payload: bytes) -> None:
        *lines, self._stderr = (self._stderr + payload).split(b"\n")
        self._stderr = self._stderr[:_LINE]
        for line in lines:
            self._understand(line[:_LINE].decode("utf-8", "replace").rstrip("\r"))

    def _understand(self, line: str) -> None:
        match line.removeprefix(f"dbguard:{self._command.tag}:").split(" "):
            case _ if not line.startswith(f"dbguard:{self._command.tag}:"):
                self.on_message(line)
            case ["pid", pid] if pid.isdecimal():  # a line can be cut, even in its number
                self.pid = int(pid)
            case ["exit", name, status] if status.isdecimal():
                self.exits[name] = int(status)

    def _settle(self) -> None:
        """The stream has ended: ask the engine and the script how."""
        if self._stderr:
            self._hear(b"\n")
        if not self._frames.whole:
            raise ExecFailed("the stream from the container was cut in the middle")
        state = self._wait(_SETTLE)
        if state.running:
            raise ExecFailed("the stream from the container ended while the program was still running: it was cut")
        self._settled = True
        if state.exit_code != 0 or set(self.exits) != self._command.programs or any(self.exits.values()):
            raise ExecFailed(self._ending(state))

    def _ending(self, state: ExecState) -> str:
        program = self._command.argv[0]
        words = [
            f"{program} ended with exit code {self.exits['program']}"
            if "program" in self.exits
            else f"{program} never ended"
        ]
        if self.exits.get("pipe"):
            words.append(f"{self._command.pipe[0]} with {self.exits['pipe']}")
        if state.exit_code != 0:
            words.append(f"the exec with {state.exit_code}")
        said = "; ".join(message for message in list(self.messages)[-3:] if message.strip())
        return ", ".join(words) + (f": {said}" if said else "")

    def _wait(self, seconds: float) -> ExecState:
        end = time.monotonic() + seconds
        while (state := self._inspect()).running and time.monotonic() < end:
            time.sleep(0.02)
        return state

    def _stop(self) -> None:
        """Closing stdin has told the script already; this makes sure, for no exec may outlive its reader."""
        self._settled = True
        for name, patience in (("TERM", 10.0), ("KILL", 5.0)):
            if not self._wait(1.0 if name == "TERM" else 0.0).running:
                return
            if self.pid is not None:
                self._signal_group(self.pid, name)
            if not self._wait(patience).running:
                return


def _sent(to: socket.socket, data: memoryview) -> memoryview:
    """What is left of it."""
    try:
        return data[to.send(data, socket.MSG_DONTWAIT) :]
    except BlockingIOError:
        return data
    except (BrokenPipeError, ConnectionResetError):
        return memoryview(b"")  # the program has ended early, its exit status and message follow; or nobody listens


def _received(local: socket.socket) -> bytes:
    try:
        return local.recv(_BATCH)
    except ConnectionError:  # closed with something unread
        return b""
