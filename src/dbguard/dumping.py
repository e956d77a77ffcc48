"""The dump of one target: of one instant, watched while it comes, whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dbguard.archive import Database, Marker
from dbguard.checksums import Columns, columns
from dbguard.command import Command
from dbguard.config import Settings
from dbguard.connections import Sessions
from dbguard.containers import Containers
from dbguard.counting import Counts, count
from dbguard.ddl import Held
from dbguard.definitions import definitions
from dbguard.engines import ENGINES
from dbguard.errors import ArchiveDamaged, DumpFailed, IncompleteDump, NotFound
from dbguard.gate import Gate
from dbguard.intake import Intake
from dbguard.inventory import Inventory
from dbguard.model import Target

Listener = Callable[[Intake], None]
_SHOWN = 3
"""Messages of a dump that an error repeats."""
_PULSE = 10.0
"""Seconds between two looks whether the tables are still held."""
_CHATTER = "-- "
"""How every line begins that --verbose adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """What was learnt beside a dump's bytes. `remarks` are what it could not do."""

    databases: tuple[Database, ...]
    snapshot: datetime
    marker: Marker | None
    options: tuple[str, ...]
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]  # why it may not be whole


class Dump:
    """Of what was found on a target, into an intake. Raises DumpFailed, and what the storage raises."""

    def __init__(
        self,
        target: Target,
        containers: Containers,
        sessions: Sessions,
        settings: Settings,
        found: Inventory,
        *,
        counts: bool = True,
    ) -> None:
        self._counts = counts and settings.counts
        self._target = target
        self._sessions = sessions
        self._containers = containers
        self._settings = settings
        self._databases = found.without_invalid_views()
        skip = [(view.database, view.name) for view in found.invalid_views]
        self._argv = ENGINES[target.server.engine].dump(target.programs.dump, target.server, self._databases, skip)
        self._columns: Columns | None = None
        self._remarks: list[str] = []
        self._snapshot = datetime.now(UTC)

    @property
    def packed(self) -> bool:
        """It is compressed inside the container where it can be: the stream out of it is the slowest part."""
        return self._settings.compression != "client" and self._target.programs.zstd

    def take(self, intake: Intake, held: Held, listener: Listener) -> Dumped:
        fingerprints = definitions(held.asking, self._target.server, [database.name for database in self._databases])
        self._columns = columns(held.asking) if self._settings.checksums and self._counts else None
        with ThreadPoolExecutor(1) as pool, self._gate() as gate:
            counts = self._run(intake, held, gate, listener, pool)
            marker = gate.marker
        self._finish(intake)
        self._check_container()
        marker = self._agreed(marker, intake.checker.position)
        if held.why_not:
            self._remarks.append(f"nobody was kept from changing tables (nobody did): {held.why_not}")
        if gate.why_not:
            what = "its write position is not known" if marker is None else "its rows were not counted"
            self._remarks.append(f"{what}: {gate.why_not}")
        found = counts.of(self._databases)
        return Dumped(
            databases=tuple(replace(one, definitions=fingerprints.get(one.name, {})) for one in found),
            snapshot=self._snapshot,
            marker=marker,
            options=self._argv[1:],
            remarks=tuple(self._remarks),
            doubts=held.doubts,
        )

    def _run(self, intake: Intake, held: Held, gate: Gate, listener: Listener, pool: ThreadPoolExecutor) -> Counts:
        """The bytes; and the rows, counted as soon as the snapshot is open."""
        counting: list[Future[Counts]] = []
        unknown: list[str] = []
        known = ENGINES[self._target.server.engine].known_message
        tails = _tails(self._databases)

        def hear(message: str) -> None:
            gate.hear(message)
            if not message.startswith(_CHATTER):
                process.messages.append(message)  # which keeps the last ones only
            if gate.counting is not None and not counting and self._counts:
                limit = self._settings.count_limit.total_seconds()
                about = (self._target.server, self._databases, limit, self._columns)
                counting.append(pool.submit(count, gate.counting, *about))
            if len(unknown) < _SHOWN and not known(message) and message not in tails:
                unknown.append(message)

        stall = self._settings.stall.total_seconds()
        with self._containers.start(self._target.container.id, self._command(), stall=stall) as process:
            process.on_message = hear
            gate.close()  # as late as can be: writers wait from here until the program has begun
            self._snapshot = datetime.now(UTC)
            for chunk in _checked(process.output(), held):
                intake.take(chunk)
                listener(intake)
        if unknown:
            raise DumpFailed(f"{self._target.name}: the dump ended with 0 but said: {'; '.join(unknown)}")
        counts = counting[0].result() if counting else Counts(rows={})
        if counts.why_not:
            self._remarks.append(counts.why_not)
        return counts

    def _gate(self) -> Gate:
        return Gate(self._sessions, self._target, self._databases, self._settings.gate)

    @staticmethod
    def _agreed(marker: Marker | None, own: tuple[str, int] | None) -> Marker | None:
        """A dump that says its position itself knows best: what the gate read may be older, for tables that are not
        dumped can be written behind a closed gate."""
        if own is None or (marker is not None and own == (marker.file, marker.offset)):
            return marker
        return Marker(file=own[0], offset=own[1])

    def _command(self) -> Command:
        return Command(
            argv=self._argv,
            launcher=self._launcher("-o1M"),
            login=self._target.login,
            pipe=("zstd", f"-{self._settings.level}", "--quiet", "--check", "--stdout") if self.packed else (),
            pipe_launcher=self._launcher("-o8M"),
        )

    def _launcher(self, writes: str) -> tuple[str, ...]:
        """The container's CPU is the database's: it comes first. And larger writes, instead of 4 KiB: the pipes and
        the engine's stream behind them cost a fifth less CPU in all (measured on 1 GB)."""
        has = self._target.programs
        nice = ("nice", "-n", str(self._settings.nice)) if has.nice and self._settings.nice else ()
        return (*nice, *(("stdbuf", writes) if has.stdbuf else ()))

    def _finish(self, intake: Intake) -> None:
        try:
            intake.finish(self._databases)
        except (IncompleteDump, ArchiveDamaged) as error:
            raise IncompleteDump(f"{self._target.name}: {error}", hint=error.hint or "nothing was published") from error

    def _check_container(self) -> None:
        """The dump is of one server only if its container ran on unchanged. Its name may have changed."""
        container = self._target.container
        try:
            now = self._containers.inspect(container.id)
        except NotFound as error:
            raise DumpFailed(f"{self._target.name}: the container was removed during the dump") from error
        if not now.running or now.started != container.started:
            raise DumpFailed(f"{self._target.name}: the container was stopped or restarted during the dump")


def _tails(databases: Sequence[Database]) -> frozenset[str]:
    """The lines on which a name goes on that holds a newline: --verbose says names as they are."""
    names = {name for database in databases for name in (database.name, *(name for _, name in database.named()))}
    tails = {line.rstrip("\r") for name in names for line in name.split("\n")[1:]}
    return frozenset({*tails, *(f"{tail}..." for tail in tails)})


def _checked(chunks: Iterator[bytes], held: Held) -> Iterator[bytes]:
    """A dump whose tables are no longer held is not gone on with."""
    due = time.monotonic() + _PULSE
    for chunk in chunks:
        yield chunk
        if time.monotonic() >= due:
            held.check()
            due = time.monotonic() + _PULSE
