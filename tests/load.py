"""Money that is moved about while a backup is taken, and the eyes that see whether an archive is of one instant.

Each transaction moves an amount from an account of `bank_a` to one of `bank_b`, takes the next number of its lane from
a counter row, and notes all of it in `bank_b.log`. The counter is locked until the commit, so a lane's numbers are
committed in order; the lanes do not wait for each other, so that commits meet in the binary log. That log shows the
statements, so it tells which numbers come before a position and which come after it.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mysql.connector

from tests.servers import PASSWORD, Server, docker

LANES = 3
THREADS = 2
"""Of each lane: one waits for the other."""
ACCOUNTS = 40
OPENING = 1_000_000
DATABASES = ("bank_a", "bank_b")
BALLAST = 4_000
"""Rows that a dump has to write between one account and the other, some 8 MB."""
PAUSE = 0.004
"""Seconds between two transactions of a thread: the backup shall get its share of two processors."""
LOGGED = {
    "mysql": ("--binlog-rows-query-log-events=ON",),
    "mariadb": ("--log-bin", "--server-id=1", "--binlog-annotate-row-events=ON"),
}
"""Arguments of a server that logs what happens, with the text of the statements. MySQL of the tests logs anyway."""
_DEADLOCK = 1213
_DIGITS = "(" + " UNION ALL ".join(f"SELECT {number} AS n" for number in range(10)) + ")"
_NUMBERS = (
    f"(SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n AS i FROM {_DIGITS} a, {_DIGITS} b, {_DIGITS} c, {_DIGITS} d)"
)
_SCHEMA = f"""
DROP DATABASE IF EXISTS bank_a; DROP DATABASE IF EXISTS bank_b;
CREATE DATABASE bank_a; CREATE DATABASE bank_b;
CREATE TABLE bank_a.accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB;
CREATE TABLE bank_b.accounts LIKE bank_a.accounts;
CREATE TABLE bank_a.lanes (lane INT PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB;
CREATE TABLE bank_a.ballast (i INT PRIMARY KEY, t TEXT) ENGINE=InnoDB;
CREATE TABLE bank_b.log (id BIGINT AUTO_INCREMENT PRIMARY KEY, lane INT NOT NULL, n BIGINT NOT NULL,
  source INT NOT NULL, destination INT NOT NULL, amount BIGINT NOT NULL, UNIQUE (lane, n)) ENGINE=InnoDB;
INSERT INTO bank_a.accounts SELECT i, {OPENING} FROM {_NUMBERS} AS x WHERE i < {ACCOUNTS};
INSERT INTO bank_b.accounts SELECT * FROM bank_a.accounts;
INSERT INTO bank_a.lanes SELECT i, 0 FROM {_NUMBERS} AS x WHERE i < {LANES};
INSERT INTO bank_a.ballast SELECT i, REPEAT(SHA2(i, 256), 32) FROM {_NUMBERS} AS x WHERE i < {BALLAST};
"""


# --- what writes ---


class Load:
    """A context manager. Nothing that it has begun is lost when it ends; whatever went wrong in it is raised then."""

    def __init__(self, server: Server) -> None:
        self.waits: list[tuple[float, float]] = []
        """When each statement was begun, and how many seconds it took."""
        self.deadlocks = 0
        """Transactions that the server ended because they were in the way of somebody else's locks."""
        self._server = server
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=[number % LANES, random.Random(number)], daemon=True)
            for number in range(LANES * THREADS)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_for(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not self._errors, self._errors
        assert not any(thread.is_alive() for thread in self._threads), "somebody still waits"

    def wait_for(self, statements: int) -> None:
        """That many more were said."""
        wanted, end = len(self.waits) + statements, time.monotonic() + 60
        while len(self.waits) < wanted:
            assert not self._errors, self._errors
            assert time.monotonic() < end, "nobody writes"
            time.sleep(0.02)

    def longest(self, since: float = 0.0) -> float:
        """Seconds that one statement took, of those begun after `since` (time.monotonic)."""
        return max((seconds for begun, seconds in self.waits if begun >= since), default=0.0)

    def _run(self, lane: int, chance: random.Random) -> None:
        try:
            with connected(self._server) as connection:
                while not self._over.is_set():
                    self._try_to_move(connection, lane, chance)
                    time.sleep(PAUSE)
        except BaseException as error:  # noqa: BLE001 — it is raised where the load ends
            self._errors.append(error)

    def _try_to_move(self, connection: Any, lane: int, chance: random.Random) -> None:
        try:
            self._move(connection, lane, chance)
        except mysql.connector.Error as error:
            if error.errno != _DEADLOCK:
                raise
            self.deadlocks += 1

    def _move(self, connection: Any, lane: int, chance: random.Random) -> None:
        source, destination, amount = chance.randrange(ACCOUNTS), chance.randrange(ACCOUNTS), chance.randint(-99, 99)
        cursor = connection.cursor()

        def say(statement: str) -> None:
            begun = time.monotonic()
            cursor.execute(statement)  # a deadlock ends at once, so its time tells nothing
            self.waits.append((begun, time.monotonic() - begun))

        say("START TRANSACTION")
        say(f"UPDATE bank_a.lanes SET n = LAST_INSERT_ID(n + 1) WHERE lane = {lane}")
        number = cursor.lastrowid
        say(f"UPDATE bank_a.accounts SET balance = balance - {amount} WHERE id = {source}")
        say(f"UPDATE bank_b.accounts SET balance = balance + {amount} WHERE id = {destination}")
        say(
            "INSERT INTO bank_b.log (lane, n, source, destination, amount) "
            f"VALUES ({lane}, {number}, {source}, {destination}, {amount})"
        )
        say("COMMIT")
        cursor.close()


def open_bank(server: Server) -> None:
    server.sql(_SCHEMA)


@contextlib.contextmanager
def connected(server: Server) -> Iterator[Any]:
    """A session by the server's own protocol, to its address in its network."""
    [network, *_] = json.loads(docker("inspect", server.container))[0]["NetworkSettings"]["Networks"].values()
    connection = mysql.connector.connect(
        host=network["IPAddress"], user="root", password=PASSWORD, autocommit=True, use_pure=True
    )
    try:
        yield connection
    finally:
        connection.close()


# --- what an archive holds ---


@dataclass(frozen=True)
class Books:
    """The bank, as one server holds it."""

    accounts: Mapping[str, Mapping[int, int]]
    lanes: Mapping[int, int]
    log: Sequence[tuple[int, ...]]
    rows: Mapping[str, int]


def loaded(archive: Path, into: Server) -> Books:
    """The archive, loaded with the server's own client, without dbguard."""
    into.sql("".join(f"DROP DATABASE IF EXISTS {name};" for name in DATABASES))
    data = (archive / "data.sql.zst").read_bytes()
    into.run("sh", "-c", f"zstd -dc | {into.family} --user=root --binary-mode", stdin=data)
    return books(into)


def books(server: Server) -> Books:
    def numbers(question: str) -> list[tuple[int, ...]]:
        return [tuple(map(int, line.split("\t"))) for line in server.sql(question).splitlines()]

    tables = server.sql(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables "
        "WHERE table_schema IN ('bank_a', 'bank_b')"
    ).split()
    counts = numbers(";".join(f"SELECT COUNT(*) FROM {table}" for table in tables))
    return Books(
        accounts={
            name: {row[0]: row[1] for row in numbers(f"SELECT id, balance FROM {name}.accounts")} for name in DATABASES
        },
        lanes={row[0]: row[1] for row in numbers("SELECT lane, n FROM bank_a.lanes")},
        log=numbers("SELECT lane, n, source, destination, amount FROM bank_b.log ORDER BY lane, n"),
        rows={table: count for table, (count,) in zip(tables, counts, strict=True)},
    )


# --- what the binary log holds ---


@dataclass(kw_only=True)
class Transaction:
    """One group of the binary log. `lane` and `n` are those of the load, None of anybody else."""

    file: str
    start: int
    end: int
    gtid: str
    lane: int | None = None
    n: int | None = None


_GTID = re.compile(r"'([0-9a-f-]{36}:\d+)'|GTID (\d+-\d+-\d+)")
_ENTRY = re.compile(r"INSERT INTO bank_b\.log .* VALUES \((\d+), (\d+),")


@dataclass
class BinaryLog:
    """A server's binary log, read on from where it was read before."""

    server: Server
    transactions: list[Transaction] = field(default_factory=list)

    def read(self) -> None:
        """All that there is by now. A last group that may be half written is read again the next time."""
        file, start = "", 0
        if self.transactions:
            last = self.transactions.pop()
            file, start = last.file, last.start
        for name in [line.split("\t")[0] for line in self.server.sql("SHOW BINARY LOGS").splitlines()]:
            if name >= file:
                self._read_file(name, start if name == file else 0)

    def _read_file(self, file: str, start: int) -> None:
        where = f" FROM {start}" if start else ""
        for line in self.server.sql(f"SHOW BINLOG EVENTS IN '{file}'{where}").splitlines():
            _, position, kind, _, end, info, *_ = line.split("\t")
            if kind in {"Gtid", "Anonymous_Gtid"}:
                match = _GTID.search(info)
                gtid = (match[1] or match[2]) if match else ""
                self.transactions.append(Transaction(file=file, start=int(position), end=int(end), gtid=gtid))
            elif kind not in {"Rotate", "Stop"} and self.transactions and self.transactions[-1].file == file:
                self.transactions[-1].end = int(end)
                if match := _ENTRY.search(info):
                    self.transactions[-1].lane, self.transactions[-1].n = int(match[1]), int(match[2])


def covers(gtids: str, gtid: str) -> bool:
    """Whether a set of MySQL's holds this one."""
    source, _, number = gtid.rpartition(":")
    for part in gtids.split(","):
        name, *intervals = part.strip().split(":")
        for interval in intervals if name == source else ():
            first, _, last = interval.partition("-")
            if int(first) <= int(number) <= int(last or first):
                return True
    return False


# --- what does not fit ---


def misfits(manifest: Any, books: Books, log: BinaryLog | None, *, counted: bool = True) -> list[str]:
    """What of an archive is not of one instant, or not of the instant that its manifest names; nothing without fault.

    Without a log nobody looks at the position; without `counted` nobody at the rows of the manifest.
    """
    return [
        *_books_misfits(books),
        *(_rows_misfits(manifest, books) if counted else ()),
        *(_marker_misfits(manifest["marker"], books, log) if log is not None else ()),
    ]


def _books_misfits(books: Books) -> Iterator[str]:
    total = sum(sum(accounts.values()) for accounts in books.accounts.values())
    if total != 2 * ACCOUNTS * OPENING:
        yield f"the sum is {total}"
    replayed = {name: dict.fromkeys(range(ACCOUNTS), OPENING) for name in DATABASES}
    for _, _, source, destination, amount in books.log:
        replayed["bank_a"][source] -= amount
        replayed["bank_b"][destination] += amount
    if replayed != books.accounts:
        yield "the balances are not those of the log"
    if [row[:2] for row in books.log] != [(lane, n) for lane in range(LANES) for n in range(1, books.lanes[lane] + 1)]:
        yield f"the log is not 1 to n of each lane: {books.lanes}, {len(books.log)} rows"


def _rows_misfits(manifest: Any, books: Books) -> Iterator[str]:
    for database in manifest["databases"]:
        for table in database["tables"]:
            name = f"{database['name']}.{table['name']}"
            if table["rows"] != books.rows[name]:
                yield f"{name} has {books.rows[name]} rows, the manifest says {table['rows']}"


def _marker_misfits(marker: Any, books: Books, log: BinaryLog) -> Iterator[str]:
    if marker is None:
        yield "there is no marker"
        return
    at = (marker["file"], marker["offset"])
    before = [one for one in log.transactions if (one.file, one.start) < at]
    if at not in {(one.file, place) for one in log.transactions for place in (one.start, one.end)}:
        yield f"{at} is within a transaction"
    last = Counter(dict(_numbers(before)))
    if last != Counter(books.lanes) or len(_numbers(before)) != len(books.log):
        yield f"before {at} are {dict(last)}, the dump holds {books.lanes}"
    if marker["gtid"] is not None:
        yield from _gtid_misfits(marker["gtid"], before, log.transactions[len(before) :])


def _gtid_misfits(gtid: str, before: Sequence[Transaction], after: Sequence[Transaction]) -> Iterator[str]:
    if ":" not in gtid:  # MariaDB names the last one
        if before[-1].gtid != gtid:
            yield f"{gtid} is not {before[-1].gtid}"
        return
    if missing := [one.gtid for one in before if not covers(gtid, one.gtid)]:
        yield f"{gtid} lacks {len(missing)} that are in the dump: {missing[:3]}"
    if more := [one.gtid for one in after if covers(gtid, one.gtid)]:
        yield f"{gtid} holds {len(more)} that are not in the dump: {more[:3]}"


def _numbers(transactions: Sequence[Transaction]) -> list[tuple[int, int]]:
    return [(one.lane, one.n) for one in transactions if one.lane is not None and one.n is not None]
