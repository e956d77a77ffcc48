"""Thirty days of two hosts, their storages and all that goes wrong: no good archive is ever lost.

Each seed is one life, of an hour a step. Whatever a host does may fail or be killed at any request to a storage. After
each step somebody with good eyes looks at the files themselves, and judges by the laws what went.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from dbguard import layout
from dbguard.archive import Archive, Blob, Database, Entry, Stored, Table
from dbguard.backup import Outcome
from dbguard.catalog import Catalog
from dbguard.config import Settings
from dbguard.copies import Copies, Round
from dbguard.errors import DbguardError, StorageError, StorageUnavailable
from dbguard.layout import MANIFEST
from dbguard.lock import target_lock
from dbguard.mirror import repair
from dbguard.model import TargetName
from dbguard.prune import ABANDONED, prune, sweep
from dbguard.storages import Reader, Writer
from dbguard.storages.local import LocalStorage
from dbguard.suspicion import losses
from dbguard.upkeep import keep_up
from tests.unit.nouns import OWNER, archive

pytestmark = pytest.mark.soak

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(hours=1)
STEPS = 30 * 24
MEMORY = "/dev/shm"
SEEDS = range(int(os.environ.get("DBGUARD_TEST_LIVES", "12")))
LONGEST = timedelta(hours=12)  # that a backup takes here
TARGETS = (TargetName(project="shop", service="db"), TargetName(project="shop", service="other"))
DATA = layout.data(encrypted=False)
SKEWS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=2), timedelta(days=-2), timedelta(days=-400)]


class Killed(BaseException):
    """This process is no more."""


@dataclass(kw_only=True)
class Fault:
    """At the request with this number, of these."""

    of: Literal["create", "delete", "list", "open", "any"]
    number: int
    how: Literal["fails", "goes down", "dies before", "dies within", "dies after"]


@dataclass
class Disk:
    """A folder, as all hosts see it, with a clock of its own that is right."""

    storage: LocalStorage
    clock: Callable[[], datetime]
    back: datetime = START
    written: dict[str, datetime] = field(default_factory=dict)

    def dated(self, entry: Entry) -> Entry:
        return replace(entry, modified=self.written[entry.key])


@dataclass
class Process:
    dead: bool = False


class Faulty:
    """One process's way to a disk."""

    def __init__(self, disk: Disk, fault: Fault | None, process: Process | None = None) -> None:
        self.url = disk.storage.url
        self._disk = disk
        self._fault = fault
        self._process = process or Process()
        self._lost = False

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[Writer]:
        how = self._before("create")
        try:
            with self._disk.storage.create(key) as out:
                yield out
                self._check()
                if how == "dies within":
                    self._die()
        except Killed:
            if self._process.dead:
                self._leave_behind(key)
            raise
        self._disk.written[key] = self._disk.clock()
        self._after(how)

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator[Reader]:
        self._before("open")
        with self._disk.storage.open(key) as reader:
            yield reader

    def list(self, prefix: str = "") -> Iterator[Entry]:
        how = self._before("list")
        for entry in self._disk.storage.list(prefix):
            yield self._disk.dated(entry)
            self._after(how)

    def folders(self, prefix: str = "") -> Iterator[str]:
        self._before("list")
        return self._disk.storage.folders(prefix)

    def delete(self, key: str) -> None:
        how = self._before("delete")
        self._disk.storage.delete(key)
        self._after(how)

    def free(self) -> None:
        return None

    def leftovers(self) -> Iterator[Entry]:
        self._before("list")
        return map(self._disk.dated, self._disk.storage.leftovers())

    def clear(self, leftover: Entry) -> None:
        how = self._before("delete")
        self._disk.storage.clear(leftover)
        self._after(how)

    def doubts(self) -> Iterator[str]:
        return iter(())

    def _check(self) -> None:
        if self._process.dead:
            raise Killed
        if self._lost or self._disk.clock() < self._disk.back:
            raise StorageUnavailable("down")

    def _before(self, operation: str) -> str:
        """What is still to come of the fault, when this request is the one."""
        self._check()
        fault = self._fault
        if fault is None or fault.of not in {operation, "any"}:
            return ""
        fault.number -= 1
        if fault.number:
            return ""
        if fault.how == "fails":
            raise StorageError("as the test wants it")
        if fault.how == "goes down":
            self._lost = True
            self._check()
        if fault.how == "dies before":
            self._die()
        return fault.how

    def _after(self, how: str) -> None:
        if how.startswith("dies"):
            self._die()

    def _die(self) -> None:
        self._process.dead = True
        raise Killed

    def _leave_behind(self, key: str) -> None:
        """The file that a process was writing when it died."""
        name = f"{key.rpartition('/')[0]}/.tmp-{len(self._disk.written)}"
        path = self._disk.storage.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
        self._disk.written[name] = self._disk.clock()


@dataclass
class Host:
    state: Path
    skew: timedelta = timedelta()


@dataclass
class Running:
    """A backup whose data is stored, and whose manifest is not."""

    made: Archive
    round: Round
    since: datetime
    lock: contextlib.ExitStack


@dataclass(frozen=True)
class Seen:
    """Of one target on one disk."""

    good: dict[str, Stored]
    damaged: frozenset[str]
    unfinished: frozenset[str]


Place = tuple[int, TargetName]


class Life:
    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = START
        self.hosts = [Host(folder / "one"), Host(folder / "other")]
        self.running: list[Running] = []
        self.made: dict[str, Archive] = {}
        self.hurt: set[tuple[int, str]] = set()
        self.tables = dict.fromkeys(TARGETS, 10)
        self.servers = dict.fromkeys(TARGETS, 1)
        self.counts: Counter[str] = Counter()
        self.disks = [
            Disk(LocalStorage(folder / f"disk {number}"), lambda: self.now) for number in range(1 + bool(seed % 4))
        ]
        for name in TARGETS:
            for catalog in self.catalogs(self.hosts[0], None):
                catalog.prepare(replace(OWNER, service=name.service))
        self.eyes = [Catalog(disk.storage, folder / "eyes") for disk in self.disks]
        self.before = self.look()

    def live(self) -> None:
        steps = {
            self.nightly: 12, self.back_up: 4, self.begin_a_backup: 3, self.end_a_backup: 6, self.prune: 12,
            self.sweep: 3, self.repair: 6, self.hold: 2, self.release: 2, self.confirm: 4, self.change: 2,
            self.damage: 1, self.clock_jumps: 2, self.disk_goes: 1,
        }  # fmt: skip
        for _ in range(STEPS):
            (step,) = self.dice.choices([*steps], [*steps.values()])
            self.take(step)
            self.now += STEP
            for one in [one for one in self.running if self.now - one.since > LONGEST]:
                self.take(lambda one=one: self.end(one))  # type: ignore[misc]
        for one in self.running:
            one.lock.close()

    def take(self, step: Callable[[], None]) -> None:
        """One step, and a look at what it did."""
        self.allow()
        step()
        after = self.look()
        for place, now in after.items():
            self.compare(place, self.before[place], now)
        self.before = after

    # --- dice ---

    def host(self) -> Host:
        return self.dice.choice(self.hosts)

    def name(self) -> TargetName:
        return self.dice.choice(TARGETS)

    def fault(self) -> Fault | None:
        if self.dice.random() > 0.6:
            return None
        return Fault(
            of=self.dice.choice(["create", "delete", "list", "open", "any"]),
            number=self.dice.randint(1, 5),
            how=self.dice.choice(["fails", "goes down", "dies before", "dies within", "dies after"]),
        )

    def policy(self) -> dict[str, Any]:
        of = {
            "keep_last": self.dice.randint(1, 12),
            "keep_hourly": self.dice.randint(1, 5),
            "keep_daily": self.dice.randint(1, 7),
            "keep_weekly": self.dice.randint(1, 3),
            "keep_monthly": 1,
            "keep_within": timedelta(days=self.dice.randint(1, 15)),
        }
        return {name: value for name, value in of.items() if self.dice.random() < 0.3}

    # --- what hosts do ---

    def catalogs(self, host: Host, fault: Fault | None) -> list[Catalog]:
        """Of a new process. The fault strikes on one of them; who is killed is killed for all."""
        process = Process()
        struck = self.dice.choice(self.disks)
        return [Catalog(Faulty(disk, fault if disk is struck else None, process), host.state) for disk in self.disks]

    def settings(self, host: Host, **rules: Any) -> Settings:
        return Settings(state=host.state, storage=tuple(disk.storage.url for disk in self.disks), **rules)

    def at(self, host: Host) -> datetime:
        return self.now + host.skew

    def allow(self, target: TargetName | None = None, *, adds: Sequence[str] = (), prunes: bool = False) -> None:
        """What the step that follows may change."""
        self.target, self.adds, self.prunes = target, {*adds}, prunes
        self.released: set[str] = set()
        self.sure, self.clock = False, self.now

    def draft(self, host: Host, name: TargetName) -> tuple[Archive, bytes]:
        """An archive as a backup by this host would make it now."""
        at = self.at(host)
        data = f"-- dump {len(self.made)} of {name}\n".encode()
        digest = hashlib.sha256(data).hexdigest()
        blob = Blob(key=DATA, size=len(data), sha256=digest, plain_size=len(data), plain_sha256=digest)
        tables = tuple(Table(name=f"t{n}", kind="BASE TABLE", engine="InnoDB") for n in range(self.tables[name]))
        made = replace(
            archive(identity=f"server {self.servers[name]}"),
            id=f"{at:%Y%m%dT%H%M%SZ}-{len(self.made):06x}",
            target=str(name),
            owner=replace(OWNER, service=name.service),
            snapshot=at,
            started=at,
            finished=at,
            databases=(Database(name="shop", create="", tables=tables),),
            blobs={"data": blob},
        )
        self.made[made.id] = made
        return made, data

    def stored(self, host: Host, name: TargetName, catalogs: Sequence[Catalog]) -> tuple[Round, Archive]:
        """The data of a backup, as backup.back_up stores it."""
        made, data = self.draft(host, name)
        round_ = Round(catalogs, name, made.id)
        round_.each(lambda catalog: catalog.prepare(made.owner))
        before: dict[str, Stored] = {}
        round_.each(lambda catalog: before.update({one.id: one for one in catalog.listing(name).archives}))
        try:
            with round_.create(DATA) as out:
                out.write(data)
        except DbguardError:
            round_.discard()
            raise
        made = replace(made, suspicious=losses(made.summary, [*before.values()]))
        self.made[made.id] = made
        return round_, made

    def published(self, round_: Round, made: Archive) -> Outcome:
        try:
            round_.publish(made)
        except DbguardError:
            round_.discard()
            raise
        seen = self.look()
        for at, disk in enumerate(self.disks):
            saved = disk.storage.url in {catalog.url for catalog in round_.alive}
            assert (made.id in seen[at, made.name].good) is saved, "there where it was saved, and nowhere else"
        self.counts["published"] += 1
        return Outcome(archive=made, saved=tuple(round_.alive), failed=round_.failed)

    # --- steps ---

    def nightly(self) -> None:
        """A backup, and what follows a good one."""
        host, name, kept = self.host(), self.name(), self.policy()
        self.allow(name, prunes=True)
        self.kept, self.clock = kept, self.at(host)
        chosen: dict[str, Any] = {"settings": self.settings(host, **kept), "now": self.at(host), "say": self.say}
        with self.may_fail():
            catalogs = self.catalogs(host, self.fault())
            with target_lock(host.state, name):
                round_, made = self.stored(host, name, catalogs)
                self.adds = {made.id, *self.anywhere(name)}
                outcome = self.published(round_, made)
            keep_up(outcome, copies=Copies(catalogs), **chosen)

    def back_up(self) -> None:
        host, name = self.host(), self.name()
        self.allow(name)
        with self.may_fail(), target_lock(host.state, name):
            round_, made = self.stored(host, name, self.catalogs(host, self.fault()))
            self.adds = {made.id}
            self.published(round_, made)

    def begin_a_backup(self) -> None:
        host, name = self.host(), self.name()
        self.allow(name)
        with contextlib.ExitStack() as lock, self.may_fail():
            lock.enter_context(target_lock(host.state, name))
            round_, made = self.stored(host, name, self.catalogs(host, self.fault()))
            self.running.append(Running(made, round_, self.now, lock.pop_all()))

    def end_a_backup(self) -> None:
        if self.running:
            self.end(self.dice.choice(self.running))

    def end(self, one: Running) -> None:
        self.allow(one.made.name, adds=[one.made.id])
        self.running.remove(one)
        with one.lock, self.may_fail():
            self.published(one.round, one.made)

    def prune(self) -> None:
        """Twice, when the first time went well."""
        host, name, disk = self.host(), self.name(), self.dice.choice(self.disks)
        self.allow(name, prunes=True)
        self.kept, self.clock, self.sure = self.policy(), self.at(host), self.dice.random() < 0.5
        chosen: dict[str, Any] = {
            "settings": self.settings(host, **self.kept), "now": self.at(host), "sure": self.sure,
        }  # fmt: skip
        with self.may_fail():
            done = prune(name, catalog=Catalog(Faulty(disk, self.fault()), host.state), **chosen)
            assert not {one.id for one in done.removed} & self.look()[self.disks.index(disk), name].good.keys()
            if not done.stuck:
                again = prune(name, catalog=Catalog(Faulty(disk, None), host.state), **chosen)
                assert (again.removed, again.stuck) == ((), {})

    def sweep(self) -> None:
        host, name, disk = self.host(), self.name(), self.dice.choice(self.disks)
        self.allow(name)
        fault = self.fault()
        with self.may_fail():
            gone = sweep(name, catalog=Catalog(Faulty(disk, fault), host.state), now=self.at(host))
            self.counts["swept"] += len(gone)
            if fault is None:  # a store that cannot list what was begun is left alone
                assert not self.abandoned(disk, name, self.at(host) - ABANDONED)

    def repair(self) -> None:
        host, name = self.host(), self.name()
        self.allow(name, adds=[*self.anywhere(name)])
        with self.may_fail():
            copies, settings = Copies(self.catalogs(host, self.fault())), self.settings(host, **self.policy())
            for stored, url, error in repair(name, copies=copies, settings=settings, now=self.at(host)):
                self.say(f"copied {stored.id} to {url}" if error is None else f"uncopied {error!r}")

    def hold(self) -> None:
        for catalog, stored, now in self.one():
            with self.may_fail():
                catalog.mark(stored.summary, "hold", now)
                assert self.again(catalog, stored).marks.held

    def confirm(self) -> None:
        for catalog, stored, now in self.one():
            with self.may_fail():
                catalog.mark(stored.summary, "confirm", now)
                assert self.again(catalog, stored).marks.confirmed

    def release(self) -> None:
        for catalog, stored, _ in self.one():
            self.released = {stored.id}
            with self.may_fail():
                catalog.release(stored.summary)
                assert not self.again(catalog, stored).marks.held

    def change(self) -> None:
        """The database grows, is emptied, or comes up as another server."""
        name = self.name()
        if self.dice.random() < 0.2:
            self.servers[name] += 1
        self.tables[name] = self.dice.choice([10, 20, 40, 1])

    def damage(self) -> None:
        """Seldom, and never all there is."""
        name, at = self.name(), self.dice.randrange(len(self.disks))
        good = [one for one in self.before[at, name].good if (at, one) not in self.hurt]
        if len(good) < 2:
            return
        bad = self.dice.choice(good)
        self.hurt.add((at, bad))
        self.allow(name)
        folder = self.disks[at].storage.root / str(name) / bad
        data, manifest = folder / DATA, folder / MANIFEST
        match self.dice.choice(["cut", "gone", "flipped", "manifest"]):
            case "cut":
                data.write_bytes(data.read_bytes()[:-1])
            case "gone":
                data.unlink()
            case "flipped":
                data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
            case "manifest":
                manifest.write_bytes(manifest.read_bytes()[:-20])

    def clock_jumps(self) -> None:
        """More often to the right time than away from it."""
        self.host().skew = self.dice.choice(SKEWS) if self.dice.random() < 0.3 else timedelta()

    def disk_goes(self) -> None:
        self.dice.choice(self.disks).back = self.now + timedelta(hours=self.dice.randint(1, 12))

    # --- what must be true ---

    def compare(self, place: Place, before: Seen, after: Seen) -> None:
        disk, name = place
        hurt = {one for at, one in self.hurt if at == disk}
        gone, new = before.good.keys() - after.good.keys() - hurt, after.good.keys() - before.good.keys()
        if name != self.target:
            assert (before.good, before.damaged, before.unfinished) == (after.good, after.damaged, after.unfinished)
        assert after.damaged <= hurt
        assert before.damaged <= after.damaged, "damaged ones are never removed"
        assert new <= self.adds
        assert not gone or self.prunes
        if gone:
            self.check_laws(before, after, gone)
            self.counts["pruned"] += len(gone)
        if before.good.keys() - hurt:
            assert after.good
        held = {one.id for one in before.good.values() if one.marks.held} - hurt - self.released
        assert held <= {one.id for one in after.good.values() if one.marks.held}
        for one in after.good:
            self.check_files(disk, name, one, flipped=one in hurt)

    def check_laws(self, before: Seen, after: Seen, gone: set[str]) -> None:
        """Judged by what was there before and what is new, without the code that decided it."""
        present = {**before.good, **after.good}
        newest_first = sorted(present.values(), key=lambda one: (one.summary.snapshot, one.id), reverse=True)
        assert self.kept, "without rules everything stays"
        assert any(value is not None for value in self.kept.values())
        assert newest_first[0].id not in gone
        assert newest_first[0].summary.snapshot <= self.clock + timedelta(minutes=5)
        identities = [one.summary.identity for one in newest_first]
        for at, one in enumerate(newest_first):
            assert not (one.id in gone and one.marks.held)
            assert not (one.id in gone and one.summary.identity not in identities[:at]), "the newest of its server"
        confirmed = max((one.summary.snapshot for one in newest_first if one.marks.confirmed), default=None)
        odd = [
            one
            for one in newest_first
            if one.summary.suspicious and (confirmed is None or one.summary.snapshot > confirmed)
        ]
        if odd:
            assert not [
                one for one in newest_first if one.id in gone and one.summary.snapshot <= odd[0].summary.snapshot
            ]
        last = self.kept.get("keep_last", 0)
        fine = [one for one in newest_first if one not in odd]
        assert not {one.id for one in fine[:last]} & gone
        assert self.sure or len(gone) <= max(5, len(present) - len(gone))

    def check_files(self, disk: int, name: TargetName, one: str, *, flipped: bool) -> None:
        folder = self.disks[disk].storage.root / str(name) / one
        blob = json.loads((folder / MANIFEST).read_text())["blobs"]["data"]
        data = (folder / DATA).read_bytes()
        assert len(data) == blob["size"]
        assert flipped or hashlib.sha256(data).hexdigest() == blob["sha256"] == self.made[one].blobs["data"].sha256

    # --- eyes ---

    def look(self) -> dict[Place, Seen]:
        seen = {}
        for at, catalog in enumerate(self.eyes):
            for name in TARGETS:
                found = catalog.listing(name)
                seen[at, name] = Seen(
                    good={one.id: one for one in found.archives},
                    damaged=frozenset(one.id for one in found.damaged),
                    unfinished=frozenset(one.id for one in found.unfinished),
                )
        return seen

    def abandoned(self, disk: Disk, name: TargetName, since: datetime) -> list[str]:
        """What was begun and not touched since."""
        begun = [disk.dated(entry) for entry in disk.storage.leftovers() if entry.key.startswith(f"{name}/")]
        old = [entry.key for entry in begun if entry.modified < since]
        for one in self.look()[self.disks.index(disk), name].unfinished:
            files = [disk.dated(entry) for entry in disk.storage.list(f"{name}/{one}/")]
            old += [one] * all(file.modified < since for file in files)
        return old

    def anywhere(self, name: TargetName) -> set[str]:
        return {one for (_, target), seen in self.look().items() if target == name for one in seen.good}

    def one(self) -> Iterator[tuple[Catalog, Stored, datetime]]:
        """An archive, for somebody to say something about it."""
        name, at, host = self.name(), self.dice.randrange(len(self.disks)), self.host()
        self.allow(name)
        if good := [*self.before[at, name].good.values()]:
            yield Catalog(Faulty(self.disks[at], self.fault()), host.state), self.dice.choice(good), self.at(host)

    def again(self, catalog: Catalog, stored: Stored) -> Stored:
        at = [disk.storage.url for disk in self.disks].index(catalog.url)
        return self.look()[at, stored.summary.name].good[stored.id]

    def say(self, line: str) -> None:
        self.counts[line.split()[0]] += 1

    @contextlib.contextmanager
    def may_fail(self) -> Iterator[None]:
        try:
            yield
        except (Killed, DbguardError) as error:
            self.say(type(error).__name__)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk is asked to flush, and no setting comes from outside."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    for name in [name for name in os.environ if name.startswith("DBGUARD_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_days(seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        life = Life(Path(folder), seed)
        life.live()
    print(seed, dict(life.counts))
    assert min(life.counts[what] for what in ("published", "pruned", "Killed")) > 5, "a life worth its name"
