"""One session of a load: the database's own client, in a thread of its own."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from dbguard.command import Command
from dbguard.connections import YEAR
from dbguard.containers import Containers
from dbguard.engines import ENGINES
from dbguard.errors import DbguardError, ExecFailed
from dbguard.feed import Abandoned, Feed
from dbguard.loading.places import Places
from dbguard.model import Target
from dbguard.process import Process

_LONGEST_FENCE = 64


@dataclass(frozen=True, slots=True)
class Fence:
    """A question whose answer proves that all before it has been done: an input that was cut looks to the client like
    the end of its script."""

    session: LoadSession
    number: int

    @property
    def passed(self) -> bool:
        return self.session.answered >= self.number


class LoadSession:
    """Runs what is put into it, statement by statement, and stops at the first that fails."""

    def __init__(self, target: Target, containers: Containers, *, stall: float, changed: threading.Condition) -> None:
        """`changed` is told when a fence was passed, and at the end."""
        self.over = self.whole = False
        self.error: DbguardError | None = None
        self.answered = 0  # fences
        self._fences = 0
        self._tag = secrets.token_hex(8).encode()
        self._changed = changed
        self._feed = Feed(owing=lambda: self._owing)
        self._places = Places()
        argv = (*ENGINES[target.server.engine].client(target.programs.client, target.server.socket), "--unbuffered")
        command = Command(argv=argv, login=target.login, feed=True)
        self._thread = threading.Thread(
            target=self._run, args=(lambda: containers.start(target.container.id, command, stall=stall),), daemon=True
        )
        self._thread.start()
        self.put(f"SET SESSION autocommit = 1, wait_timeout = {YEAR};\n".encode())

    def put(self, sql: bytes, what: str = "") -> None:
        """`what` is the object that it belongs to. Waits while much is waiting."""
        self._places.note(sql, what)
        self._feed.put(sql)

    def fence(self, delimiter: bytes) -> Fence:
        self._fences += 1
        self.put(b"SELECT 'fence-%s-%d'%s\n" % (self._tag, self._fences, delimiter))
        return Fence(self, self._fences)

    @property
    def backlog(self) -> tuple[bool, int]:
        """The smaller, the sooner it comes to what is put next: whether it owes an answer, and bytes that wait."""
        return self._owing, self._feed.size

    @property
    def _owing(self) -> bool:
        return self.answered < self._fences

    def end(self) -> None:
        """There will be no more."""
        self._feed.close()

    def join(self) -> None:
        self._thread.join()

    def stop(self) -> None:
        """At once, with the program in the container."""
        self._feed.abandon()

    @property
    def place(self) -> str:
        """Where it failed: `table shop.orders`; empty where nobody knows."""
        return self._places.of(str(self.error))

    def _run(self, start: Callable[[], Process]) -> None:
        said = b""
        try:
            with start() as process:
                for data in process.answers(self._feed):
                    said = self._hear(said + data)
            self.whole = not self._owing
        except DbguardError as error:
            self.error = error
        except OSError as error:
            self.error = ExecFailed(f"the stream to the container broke: {error}")
        except Abandoned:
            pass
        finally:
            self._feed.deaf()
            with self._changed:
                self.over = True
                self._changed.notify_all()

    def _hear(self, said: bytes) -> bytes:
        """What is left of it."""
        *lines, rest = said.split(b"\n")
        for line in lines:
            if line == b"fence-%s-%d" % (self._tag, self.answered + 1):
                with self._changed:
                    self.answered += 1
                    self._changed.notify_all()
        return rest[:_LONGEST_FENCE]
