"""A process in a container, played by the other end of a socket pair: what must never end well does not."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard import process
from dbguard.command import Command
from dbguard.errors import EngineUnavailable, ExecFailed
from dbguard.frames import Frames
from dbguard.model import Login
from dbguard.process import ExecState, Process
from tests.unit.dump_texts import chunk_sizes, chunked

MIB = 1 << 20
STDOUT, STDERR = 1, 2
ENDED_WELL = ExecState(running=False, exit_code=0)
RUNNING = ExecState(running=True, exit_code=None)


def frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(payload)) + payload


# --- frames ---

frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300)), max_size=8)


@given(frames, chunk_sizes)
def test_frames_come_apart_however_they_arrive(sent: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in sent)
    parser = Frames()
    got = [piece for chunk in chunked(stream, sizes) for piece in parser.feed(memoryview(chunk))]
    for kind in (STDOUT, STDERR):
        assert b"".join(p for k, p in got if k == kind) == b"".join(p for k, p in sent if k == kind)
    assert parser.whole


@given(frames.filter(bool), st.data())
def test_frames_are_whole_only_where_one_ends(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    encoded = [frame(kind, payload) for kind, payload in sent]
    ends = {sum(map(len, encoded[:count])) for count in range(len(encoded) + 1)}
    cut = data.draw(st.integers(0, sum(map(len, encoded))), label="cut")
    parser = Frames()
    for _ in parser.feed(memoryview(b"".join(encoded)[:cut])):
        pass
    assert parser.whole == (cut in ends)


# --- a container on the other end of the line ---


class Peer:
    """The far end: what the engine and the script in the container would do."""

    def __init__(self, line: socket.socket, command: Command) -> None:
        self.line = line
        self.login = b""
        while (byte := line.recv(1)) not in {b"\n", b""}:
            self.login += byte
        self._tag = command.tag

    def send(self, data: bytes) -> None:
        self.line.sendall(data)

    def out(self, data: bytes) -> None:
        self.send(frame(STDOUT, data))

    def err(self, data: bytes) -> None:
        self.send(frame(STDERR, data))

    def report(self, *words: str) -> None:
        self.err(b"".join(self.status(line) for line in words))

    def status(self, line: str) -> bytes:
        return f"dbguard:{self._tag}:{line}\n".encode()

    def read_all(self) -> int:
        size = 0
        while data := self.line.recv(MIB):
            size += len(data)
        return size


class Engine:
    """Says how the exec is doing. A running one ends when it is signalled."""

    def __init__(self, *states: ExecState) -> None:
        self.states = list(states)
        self.signals: list[tuple[int, str]] = []

    def inspect(self) -> ExecState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def signal_group(self, pid: int, name: str) -> None:
        self.signals.append((pid, name))
        self.states = [ExecState(running=False, exit_code=143)]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting costs nothing here: its clock runs as fast as it is asked to sleep."""
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))


@contextlib.contextmanager
def started(
    play: Callable[[Peer], object],
    *,
    command: Command | None = None,
    engine: Engine | None = None,
    stall: float = 10.0,
) -> Iterator[Process]:
    """A process whose far end does what `play` says, and then hangs up."""
    command = command or Command(argv=("mysqldump",), login=Login(user="root"))
    engine = engine or Engine(ENDED_WELL)
    ours, theirs = socket.socketpair()
    failed: list[BaseException] = []

    def run() -> None:
        with theirs, contextlib.suppress(ConnectionError):  # we may hang up first
            try:
                play(Peer(theirs, command))
            except AssertionError as error:
                failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with Process(ours, command, inspect=engine.inspect, signal_group=engine.signal_group, stall=stall) as running:
            yield running
    finally:
        ours.close()
        thread.join(20)
    assert not thread.is_alive(), "deadlock"
    assert not failed


def good(peer: Peer) -> None:
    peer.report("pid 7")
    peer.out(b"first ")
    peer.err(b"a warning\n")
    peer.out(b"second")
    peer.report("exit program 0")


def test_a_good_run() -> None:
    with started(good) as running:
        assert b"".join(running.output()) == b"first second"
    assert running.pid == 7
    assert list(running.messages) == ["a warning"]


def test_the_login_is_the_first_line() -> None:
    seen = []

    def play(peer: Peer) -> None:
        seen.append(peer.login)
        peer.report("exit program 0")

    with started(play) as running:
        assert [*running.output()] == []
    assert seen == [b"inside root -"]


def test_a_good_run_with_a_pipe() -> None:
    command = Command(argv=("mysqldump",), pipe=("zstd",), login=Login(user="root"))
    with started(lambda peer: peer.report("pid 7", "exit program 0", "exit pipe 0"), command=command) as running:
        assert [*running.output()] == []


@pytest.mark.parametrize("size", [0, 1, 256 << 10, 5 * MIB + 1])
def test_every_byte_arrives_in_pieces_of_some_size(size: int) -> None:
    def play(peer: Peer) -> None:
        for at in range(0, size, 30_000):
            peer.out(bytes(min(30_000, size - at)))
        peer.report("exit program 0")

    with started(play) as running:
        pieces = [len(piece) for piece in running.output()]
    assert sum(pieces) == size
    assert all(256 << 10 <= piece <= 2 * MIB for piece in pieces[:-1])


# --- bad ends ---


def stream_of(command: Command) -> bytes:
    """All that the far end of a good run sends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"login\n")
        peer = Peer(theirs, command)
        peer.report("pid 7")
        for number in range(5):
            peer.out(bytes([number]) * 40)
        peer.report("exit program 0", "exit pipe 0")
        theirs.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: ours.recv(MIB), b""))


PIPED = Command(argv=("mysqldump",), pipe=("zstd",), login=Login(user="root"), tag="0123456789abcdef")
GOOD_STREAM = stream_of(PIPED)


def ends_well(stream: bytes, engine: Engine | None = None) -> bool:
    try:
        with started(lambda peer: peer.send(stream), command=PIPED, engine=engine) as running:
            for _ in running.output():
                pass
    except ExecFailed:
        return False
    return True


def test_the_stream_of_a_good_run_ends_well() -> None:
    assert ends_well(GOOD_STREAM)


def test_a_stream_cut_anywhere_never_ends_well() -> None:
    """In a header, in a payload or at the border between two frames; even if the exec ended with 0."""
    assert [cut for cut in range(len(GOOD_STREAM)) if ends_well(GOOD_STREAM[:cut])] == []


@pytest.mark.parametrize(
    "states",
    [
        (ExecState(running=False, exit_code=None),),
        (ExecState(running=False, exit_code=1),),
        (ExecState(running=False, exit_code=137),),
        (RUNNING,),
        (*[RUNNING] * 20, ExecState(running=False, exit_code=1)),
    ],
)
def test_what_the_engine_says_about_the_exec_counts(states: tuple[ExecState, ...]) -> None:
    assert not ends_well(GOOD_STREAM, Engine(*states))


def test_the_engine_may_take_a_moment_to_see_the_end() -> None:
    assert ends_well(GOOD_STREAM, Engine(*[RUNNING] * 100, ENDED_WELL))


def test_an_exec_that_runs_on_after_its_stream_is_stopped() -> None:
    engine = Engine(RUNNING)
    with (
        pytest.raises(ExecFailed, match="still running"),
        started(lambda peer: peer.report("pid 7", "exit program 0"), engine=engine) as running,
    ):
        [*running.output()]
    assert engine.signals == [(7, "TERM")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "mysqldump never ended"),
        (["exit program 0"], "mysqldump ended with exit code 0"),
        (["exit pipe 0"], "mysqldump never ended"),
        (["exit program 2", "exit pipe 0"], "mysqldump ended with exit code 2"),
        (["exit program 0", "exit pipe 1"], "zstd with 1"),
        (["exit program 137", "exit pipe 0"], "exit code 137"),
        (["exit program 0", "exit pipe 0", "exit other 0"], "ended"),
    ],
)
def test_every_program_must_report_a_good_end(lines: list[str], message: str) -> None:
    with pytest.raises(ExecFailed, match=message), started(lambda peer: peer.report(*lines), command=PIPED) as running:
        [*running.output()]


@pytest.mark.parametrize(
    "line",
    [
        "dbguard:ffffffffffffffff:exit program 0",
        "dbguard::exit program 0",
        "exit program 0",
        "x dbguard:{tag}:exit program 0",
        " dbguard:{tag}:exit program 0",
        "dbguard:{tag}:exit program",
        "dbguard:{tag}:exited program 0",
    ],
)
def test_a_forged_status_counts_as_none(line: str) -> None:
    """Such as from the message of a server that quotes an object's name."""

    def play(peer: Peer) -> None:
        peer.report("exit pipe 0")
        peer.err(line.format(tag=PIPED.tag).encode() + b"\n")

    with pytest.raises(ExecFailed, match="never ended"), started(play, command=PIPED) as running:
        [*running.output()]


def test_a_status_with_another_tag_is_what_the_program_said() -> None:
    def play(peer: Peer) -> None:
        peer.err(b"dbguard:ffffffffffffffff:exit program 1\n")
        peer.report("exit program 0")

    with started(play) as running:
        assert [*running.output()] == []
    assert list(running.messages) == ["dbguard:ffffffffffffffff:exit program 1"]


def test_a_status_in_the_output_counts_as_none() -> None:
    with (
        pytest.raises(ExecFailed, match="never ended"),
        started(lambda peer: peer.out(peer.status("exit program 0"))) as running,
    ):
        [*running.output()]


def test_the_failure_says_what_the_program_said() -> None:
    def play(peer: Peer) -> None:
        peer.err(b"mysqldump: Error 2013: Lost connection\n")
        peer.report("exit program 3")

    with pytest.raises(ExecFailed, match=r"exit code 3.*Lost connection"), started(play) as running:
        [*running.output()]


def test_lines_on_stderr_may_arrive_in_pieces() -> None:
    def play(peer: Peer) -> None:
        said = b"one\r\ntwo\n" + peer.status("exit program 0") + b"last without an end"
        for at in range(len(said)):
            peer.err(said[at : at + 1])

    with started(play) as running:
        assert [*running.output()] == []
    assert list(running.messages) == ["one", "two", "last without an end"]


# --- silence, haste and floods ---


def test_silence_is_not_waited_for_for_ever() -> None:
    engine = Engine(RUNNING)

    def play(peer: Peer) -> None:
        peer.report("pid 7")
        peer.read_all()

    with pytest.raises(ExecFailed, match="stalled"), started(play, engine=engine, stall=0.1) as running:
        [*running.output()]
    assert engine.signals == [(7, "TERM")]


FEEDING = Command(argv=("mysql",), feed=True, login=Login(user="root"))


def test_one_that_does_not_read_what_it_is_fed_stalls() -> None:
    hung_up = threading.Event()

    def play(peer: Peer) -> None:
        hung_up.wait(10)

    with pytest.raises(ExecFailed, match="stalled"), started(play, command=FEEDING, stall=0.1) as running:
        watched(running.output(bytes(MIB) for _ in range(50)), hung_up)


def watched(output: Iterator[bytes], ended: threading.Event) -> None:
    try:
        assert [*output] == []
    finally:
        ended.set()


def test_it_is_fed_every_byte_and_told_the_end() -> None:
    got = []

    def play(peer: Peer) -> None:
        got.append(peer.read_all())
        peer.report("exit program 0")

    with started(play, command=FEEDING) as running:
        assert [*running.output([b"", b"x" * 10, b"", b"y" * (5 * MIB)])] == []
    assert got == [10 + 5 * MIB]


def test_it_may_talk_before_it_listens() -> None:
    """50 MiB each way: whoever waits for the other to finish first waits for ever."""

    def play(peer: Peer) -> None:
        for _ in range(50):
            peer.out(bytes(MIB))
        assert peer.read_all() == 50 * MIB
        peer.report("exit program 0")

    with started(play, command=FEEDING) as running:
        assert sum(map(len, running.output(bytes(MIB) for _ in range(50)))) == 50 * MIB


@pytest.mark.parametrize("how", [socket.socket.close, lambda line: line.shutdown(socket.SHUT_RD)])
def test_one_that_ends_before_it_has_read_all_says_why(how: Callable[[socket.socket], None]) -> None:
    """A client stops at the first error in 50 MiB of statements; closed with input unread, a socket is reset."""

    def play(peer: Peer) -> None:
        peer.line.recv(MIB)
        peer.err(b"ERROR 1064 (42000) at line 7: syntax\n")
        peer.report("exit program 1")
        how(peer.line)

    with pytest.raises(ExecFailed, match="at line 7"), started(play, command=FEEDING) as running:
        [*running.output(bytes(MIB) for _ in range(50))]


def test_what_fails_while_it_is_fed_is_raised_and_the_program_stopped() -> None:
    engine = Engine(RUNNING)
    reported = threading.Event()

    def statements() -> Iterator[bytes]:
        yield b"INSERT"
        reported.wait(10)
        yield b"INTO"
        raise ValueError("the archive is damaged")

    def play(peer: Peer) -> None:
        peer.report("pid 7")
        reported.set()
        peer.read_all()
        peer.report("exit program 0")

    with pytest.raises(ValueError, match="damaged"), started(play, command=FEEDING, engine=engine) as running:
        [*running.output(statements())]
    assert engine.signals == [(7, "TERM")]


def test_a_flood_of_messages_takes_no_memory() -> None:
    def play(peer: Peer) -> None:
        for _ in range(200):
            peer.err(b"x" * 200_000)
        for _ in range(20):
            peer.err(b"y\n" * 10_000)
        peer.report("exit program 0")

    tracemalloc.start()
    with started(play) as running:
        assert [*running.output()] == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(running.messages) == ["y"] * 1000
    assert peak < 8 * MIB


def test_a_line_without_end_before_the_status_is_no_good_end() -> None:
    def play(peer: Peer) -> None:
        peer.err(b"half a line")
        peer.report("exit program 0")

    with pytest.raises(ExecFailed), started(play) as running:
        [*running.output()]


# --- leaving early ---


def test_leaving_early_stops_the_program() -> None:
    engine = Engine(RUNNING)

    with started(busy, engine=engine) as running:
        assert next(running.output())
    assert engine.signals == [(7, "TERM")]


def busy(peer: Peer) -> None:
    peer.report("pid 7")
    peer.out(bytes(MIB))
    peer.read_all()


def test_one_that_does_not_heed_term_is_killed() -> None:
    engine = Engine(RUNNING)
    engine.signal_group = lambda pid, name: engine.signals.append((pid, name))  # type: ignore[method-assign]
    with started(busy, engine=engine) as running:
        assert next(running.output())
    assert engine.signals == [(7, "TERM"), (7, "KILL")]


def test_one_that_ends_by_itself_is_left_alone() -> None:
    engine = Engine(RUNNING, RUNNING, ENDED_WELL)
    with started(busy, engine=engine) as running:
        assert next(running.output())
    assert engine.signals == []


def test_an_engine_that_is_gone_does_not_hide_what_went_wrong() -> None:
    def unavailable() -> ExecState:
        raise EngineUnavailable("the Docker Engine does not answer")

    engine = Engine(RUNNING)
    engine.inspect = unavailable  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), started(good, engine=engine):
        raise KeyboardInterrupt


def test_a_line_that_is_dead_from_the_start() -> None:
    """The shell could not be started: the engine hangs up before it has read the login."""
    ours, theirs = socket.socketpair()
    theirs.close()
    engine = Engine(ExecState(running=False, exit_code=126))
    command = Command(argv=("mysqldump",), login=Login(user="root"))
    with (
        pytest.raises(ExecFailed, match="the exec with 126"),
        Process(ours, command, inspect=engine.inspect, signal_group=engine.signal_group, stall=1) as running,
    ):
        [*running.output()]
