"""Sessions with a database server that stay open, to hold what ends with a session: locks, a snapshot, a variable.

Two ways lead to the server, and keep one promise. The tunnel speaks the server's own protocol with the port in
the container; where there is none, or where it would see less, the container's client is kept running.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from dbguard import sql
from dbguard.connections.client import ClientConnection
from dbguard.connections.tunnel import TunnelConnection, account_of
from dbguard.containers import Containers
from dbguard.errors import DbguardError, QueryFailed, SessionLost
from dbguard.model import Target
from dbguard.sql import Row

LOCK_WAIT_TIMEOUT = 1205
"""The number of the error of a statement that waited for a lock in vain."""
YEAR = 365 * 86400
"""Seconds; the most that `wait_timeout` takes: a session that only holds something is idle for long."""


class Connection(Protocol):
    """One session on one server, open until it is closed. A context manager. For one thread at a time.

    It ends on the server within a second or two when it is closed, when this process dies and when the stream to the
    container is cut; also at work, or while it waits for a lock.
    """

    way: str
    """`tunnel` or `client`."""
    number: int
    """CONNECTION_ID()"""

    def query(self, statement: str, *, timeout: float = 60.0) -> list[Row]:
        """The rows of one statement; NULL arrives as the text NULL. HEX() what may be no text.

        Raises QueryFailed with the server's words and number: the session may be over then, open a new one. Raises
        SessionLost when the session has ended, or after `timeout` seconds, which end it; and from then on at once.
        Behind the client, ROW_COUNT() and SHOW WARNINGS know nothing of the statement before, and a quote without
        its end is a timeout instead of an error.
        """
        ...

    def close(self) -> None:
        """Ends the session, also in the middle of a statement. May be called again."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Sessions:
    """Opens sessions on one server, all by the way that the first one found: the tunnel, where it leads to the same
    server and sees as much; else the client."""

    def __init__(self, containers: Containers, target: Target) -> None:
        self._containers = containers
        self._target = target
        self._open: Callable[[], Connection] | None = None

    def open(self) -> Connection:
        """Raises QueryFailed when the server does not let us in."""
        return self._open() if self._open is not None else self._first()

    def _first(self) -> Connection:
        client = ClientConnection(self._containers, self._target)
        with contextlib.ExitStack() as unless_kept:
            unless_kept.callback(client.close)
            try:
                return self._tunnel(client)
            except DbguardError as error:
                client.why_not_tunnel = str(error)
                self._open = partial(ClientConnection, self._containers, self._target)
                unless_kept.pop_all()
                return client

    def _tunnel(self, client: Connection) -> Connection:
        """Raises DbguardError with the reason why there is none."""
        port = client.query("SELECT @@port")[0][0]
        account = account_of(self._containers, self._target)
        again = partial(TunnelConnection, self._containers, self._target, port, account)
        with contextlib.ExitStack() as unless_kept:
            tunnel = unless_kept.enter_context(again())
            if not _same_server(client, tunnel):
                raise QueryFailed("another server listens on that port")
            if missing := _missing(client, tunnel):
                raise QueryFailed(f"that account sees less: {missing}")
            unless_kept.pop_all()
            self._open = again
            return tunnel


class Asked:
    """A session that stays, with the questions of one that does not: 0.5 ms each instead of 70. Only for the tunnel,
    which survives an error."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def query(self, *statements: str, timeout: float = 60.0) -> list[list[Row]]:
        """See sql.Asking."""
        return [self._connection.query(statement, timeout=timeout) for statement in statements]

    def failures(self, statements: Sequence[str], timeout: float = 600.0) -> dict[int, tuple[int, str]]:
        """See sql.Asking."""
        found: dict[int, tuple[int, str]] = {}
        for at, statement in enumerate(statements):
            try:
                self._connection.query(statement, timeout=timeout)
            except QueryFailed as error:
                if isinstance(error, SessionLost) or error.number is None:
                    raise
                found[at] = (error.number, str(error))
        return found


def connect(containers: Containers, target: Target) -> Connection:
    """One session. Raises QueryFailed when the server does not let us in."""
    return Sessions(containers, target).open()


def _same_server(one: Connection, other: Connection) -> bool:
    """With the host's network, another container's server may have the port."""
    name = f"dbguard-{secrets.token_hex(8)}"
    other.query(f"SELECT GET_LOCK('{name}', 0)")
    seen = one.query(f"SELECT IS_USED_LOCK('{name}')")
    other.query(f"DO RELEASE_LOCK('{name}')")
    return seen == [(str(other.number),)]


def _missing(client: Connection, tunnel: Connection) -> str:
    """What the account over TCP, often root@'%' instead of root@'localhost', may not see; empty when it is nothing."""
    (asked, needed, _), (account, has, grants) = _powers(client), _powers(tunnel)
    if account == asked:
        return ""
    spots = sql.blind_spots(account, [(privilege, sql.grantee(account)) for privilege in has], grants)
    return "; ".join([*spots, *sorted(needed - has)])


def _powers(connection: Connection) -> tuple[str, frozenset[str], list[str]]:
    """The account, its privileges on everything, its grants."""
    account = connection.query("SELECT CURRENT_USER()")[0][0]
    rows = connection.query("SELECT privilege_type, grantee FROM information_schema.user_privileges")
    has = frozenset(privilege for privilege, grantee in rows if grantee == sql.grantee(account))
    return account, has, [row[0] for row in connection.query("SHOW GRANTS")]
