"""Questions to a database server, through the client in its own container."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Protocol

from dbguard.command import Command
from dbguard.containers import Containers
from dbguard.engines import ENGINES, Engine, engine_of
from dbguard.errors import ExecFailed, QueryFailed
from dbguard.model import Container, Login, Programs, Server, Target

Row = tuple[str, ...]

NEEDED = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
"""Without one of these on *.* objects are missing from a dump without an error (routines come with SELECT)."""

_SETTINGS = (
    "lower_case_table_names", "sql_mode", "character_set_server", "collation_server", "time_zone",
    "system_time_zone", "default_storage_engine", "innodb_page_size", "log_bin", "gtid_mode", "event_scheduler",
    "max_allowed_packet", "version_comment", "partial_revokes",
)  # fmt: skip
SWAP = re.compile(r"dbguard_swap_[0-9a-f]{8}")
"""The database of a journal, see swap."""
_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
_AT_LINE = re.compile(r"^ERROR (\d+) \(\w+\) at line (\d+): (.*)")
_SERVER_ERROR = re.compile(r"ERROR (\d+) \((\w+)\)(?: at line \d+)?: (.*)")


class Asking(Protocol):
    """Who can be asked about one server."""

    def query(self, *statements: str, timeout: float = 60.0) -> list[list[Row]]:
        """The rows of each statement; NULL arrives as the text NULL. Raises QueryFailed with the server's words."""
        ...

    def failures(self, statements: Sequence[str], timeout: float = 600.0) -> dict[int, tuple[int, str]]:
        """Runs them all, whatever fails; error number and the server's words by the statement's position."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Asks with one login. Every question is a session of its own on the server."""

    containers: Containers
    container: str
    argv: tuple[str, ...]
    login: Login

    def query(self, *statements: str, timeout: float = 60.0) -> list[list[Row]]:
        """See Asking."""
        if not statements:
            return []
        command = Command(argv=self.argv, login=self.login, feed=True)
        fence = f"fence-{command.tag}"
        script = "".join(f"{statement};\nSELECT '{fence}';\n" for statement in statements)
        try:
            done = self.containers.run(self.container, command, stdin=script.encode(), timeout=timeout)
        except ExecFailed as error:
            number, words = server_error(str(error))
            raise QueryFailed(words, number=number) from error
        return _results(decoded(done.stdout), fence)

    def execute(self, *statements: str) -> None:
        self.query(*statements)

    def failures(self, statements: Sequence[str], timeout: float = 600.0) -> dict[int, tuple[int, str]]:
        """See Asking."""
        if not statements:
            return {}
        command = Command(argv=(*self.argv, "--force"), login=self.login, feed=True)
        starts = [*accumulate((text.count("\n") + 1 for text in statements), initial=1)]
        script = "".join(f"{statement};\n" for statement in statements)
        said: list[str] = []
        with self.containers.start(self.container, command, stall=timeout) as process:
            process.on_message = said.append
            chunks = [script[at : at + 65536].encode() for at in range(0, len(script), 65536)]
            try:
                for _ in process.output(chunks):
                    pass
            except ExecFailed:
                if not process.ended or process.exits["program"] != 1:  # with --force that is "something failed"
                    raise
        found = [_AT_LINE.search(message) for message in said]
        return {bisect_right(starts, int(m[2])) - 1: (int(m[1]), m[3]) for m in found if m}


def session(containers: Containers, target: Target) -> Session:
    argv = ENGINES[target.server.engine].client(target.programs.client, target.server.socket)
    return Session(containers=containers, container=target.container.id, argv=argv, login=target.login)


def connect(containers: Containers, container: Container, programs: Programs, socket: str, login: Login) -> Server:
    """Asks a server who it is. Raises QueryFailed when it does not let us in."""
    argv = ENGINES["mysql"].client(programs.client, socket)
    asking = Session(containers=containers, container=container.id, argv=argv, login=login)
    first, settings, privileges, status, grants, schemas = asking.query(
        "SELECT @@version, @@datadir, CURRENT_USER(), UTC_TIMESTAMP()",
        f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(map(repr, _SETTINGS))})",
        "SELECT privilege_type, grantee FROM information_schema.user_privileges",
        "SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime'",
        "SHOW GRANTS",
        "SELECT schema_name FROM information_schema.schemata",
    )
    version, datadir, account, now = first[0]
    values = {row[0].lower(): row[1] for row in settings}
    engine = engine_of(version)
    return Server(
        engine=engine.name,
        version=version,
        identity=_identity(containers, container, datadir, engine),
        started=_started(now, status),
        socket=socket,
        datadir=datadir,
        settings=values,
        account=account,
        blind_spots=blind_spots(account, privileges, [row[0] for row in grants]),
        privileges=frozenset(row[0] for row in privileges if row[1] == grantee(account)),
        unfinished=tuple(row[0] for row in schemas if SWAP.fullmatch(row[0])),
    )


def quoted(identifier: str) -> str:
    """A name as SQL. Names cannot be bound parameters."""
    if "\0" in identifier:
        raise QueryFailed("a name cannot hold a NUL character")
    return "`" + identifier.replace("`", "``") + "`"


def decoded(answer: bytes) -> str:
    """MySQL lets a name hold half of a surrogate pair, which no JSON and no terminal can."""
    try:
        return answer.decode()
    except UnicodeDecodeError as error:
        around = answer[max(0, error.start - 40) : error.end + 10]
        raise QueryFailed(f"the server's answer is not valid UTF-8: {around!r}", hint="rename that object") from error


def _results(text: str, fence: str) -> list[list[Row]]:
    """The client's batch output: rows end with a newline, columns with a tab, both escaped inside values."""
    results: list[list[Row]] = [[]]
    for line in text.split("\n")[:-1]:
        if line == fence:
            results.append([])
        else:
            results[-1].append(row(line))
    return results[:-1]


def row(line: str) -> Row:
    """One line of the client's batch output, without its newline."""
    return tuple(_UNESCAPE.sub(_unescaped, value) for value in line.split("\t"))


def server_error(said: str) -> tuple[int | None, str]:
    """What a client said in the server's words, the error's number first; all of it where there is no number."""
    match = _SERVER_ERROR.search(said)
    return (int(match[1]), f"{match[3]} ({match[1]})") if match else (None, said)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match.group(1), match.group(1))


def _started(now: str, status: Sequence[Row]) -> datetime | None:
    if not status:
        return None
    return datetime.fromisoformat(now).replace(tzinfo=UTC) - timedelta(seconds=int(status[0][1]))


def blind_spots(account: str, privileges: Iterable[Row], grants: Iterable[str]) -> tuple[str, ...]:
    """Why this account cannot be proven to see everything; nothing when it is."""
    own = {row[0] for row in privileges if row[1] == grantee(account)}
    missing = [privilege for privilege in NEEDED if privilege not in own]
    spots = [f"{missing_grant(missing, account)} is missing"] if missing else []
    if any(grant.startswith("REVOKE") for grant in grants):
        spots.append(f"some privileges of {grantee(account)} are revoked again for single databases")
    return tuple(spots)


def grantee(account: str) -> str:
    """`root@localhost`, as CURRENT_USER() says it, in the quotes that grants are listed with."""
    user, _, host = account.rpartition("@")
    return f"'{user}'@'{host}'"


def missing_grant(privileges: Iterable[str], account: str) -> str:
    """The statement that gives them to it."""
    return f"GRANT {', '.join(privileges)} ON *.* TO {grantee(account)}"


def _identity(containers: Containers, container: Container, datadir: str, engine: Engine) -> str:
    data = containers.read_file(container.id, f"{datadir.rstrip('/')}/{engine.identity_file}")
    return engine.identity(data) if data is not None else ""
