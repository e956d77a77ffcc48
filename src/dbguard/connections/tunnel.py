"""A session by the server's own protocol, through the container to the server's port there."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator

import mysql.connector.errors as connector
from mysql.connector.connection import MySQLConnection
from mysql.connector.network import MySQLSocket

from dbguard import sql
from dbguard.command import Command
from dbguard.connections.held import OPENING, Held, failure, left
from dbguard.containers import Containers
from dbguard.errors import QueryFailed, SessionLost
from dbguard.model import Login, Target
from dbguard.sql import Row

_TIMEOUTS = (connector.ConnectionTimeoutError, connector.ReadTimeoutError, connector.WriteTimeoutError)
_TUNNEL = r"""
trap : TERM
exec 4<>"/dev/tcp/127.0.0.1/$1" 5<&0 || exit 1
( trap : TERM; cat <&5 >&4 4<&- 5<&-; trap '' TERM; kill 0 ) &
cat <&4 5<&-
trap '' TERM
kill 0
wait
"""
"""One cat for each direction. Whichever ends first, the group is told to end, and both are waited for: none is left
that holds the connection, none as a zombie. `wait -n` would be shorter; bash 4.2 does not know it."""
_LOGIN = r"""
value() {
  eval "value=\${$1-} file=\${$1_FILE-}"
  if [ -z "$value" ] && [ -n "$file" ]; then value=$(cat "$file") || exit 96; fi
}
case $1 in \$*) value "${1#?}" ;; *) value=$1 ;; esac
printf '%s\0' "$value"
value=
if [ -n "$2" ]; then value "$2"; fi
printf '%s\0' "$value"
"""
"""The same rule as in `command`: a variable, else the file that its `_FILE` names."""


Account = tuple[str, str]
"""User and password."""


class TunnelConnection(Held):
    """The server's own protocol, carried through the container to the server's port. It survives errors."""

    way = "tunnel"

    def __init__(self, containers: Containers, target: Target, port: str, account: Account | None = None) -> None:
        user, password = account or account_of(containers, target)
        super().__init__(containers, target, ("bash", "-c", _TUNNEL, "tunnel", port), Login())
        self._socket = _Socket(self._line.socket, time.monotonic() + OPENING)
        self._server = _Server(self._socket)
        with self._opening():
            with self._translated():
                self._server.connect(user=user, password=password, allow_local_infile=False)
            self._server.set_login(user, None)
            self.query("SET NAMES utf8mb4")
            self.number = int(self.query("SELECT CONNECTION_ID()")[0][0])

    def _ask(self, statement: str, deadline: float) -> list[Row]:
        self._socket.deadline = deadline
        found: list[tuple[bytes | None, ...]] = []
        with self._translated():
            for result in self._server.cmd_query_iter(statement):
                if "columns" in result:
                    found += self._server.get_rows(raw=True)[0]
        return [tuple("NULL" if value is None else sql.decoded(value) for value in row) for row in found]

    def _hang_up(self) -> None:
        self._socket.deadline = time.monotonic() + 1.0
        self._server.close()
        super()._hang_up()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, *_TIMEOUTS) as error:
            raise TimeoutError from error
        except connector.Error as error:
            servers = error.errno > 0 and not 2000 <= error.errno < 3000  # else the connector's own
            raise failure(error.errno if servers else None, f"{error.msg} ({error.errno})") from error
        except (OSError, ValueError, LookupError, struct.error) as error:  # what answers there is no such server
            raise SessionLost(f"not understood: {error}") from error


class _Socket(MySQLSocket):
    """The connector's socket, on a line that is there already. All of a statement has one deadline."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        super().__init__()
        self._line = line
        self.deadline = deadline

    @property
    def address(self) -> str:
        return "the container"

    def open_connection(self) -> None:
        self.sock = self._line

    def set_connection_timeout(self, timeout: int | None) -> None:
        pass

    def switch_to_ssl(self, ssl_context: ssl.SSLContext, host: str) -> None:
        """Without a look at the certificate: nobody is between us and the container who could not read it."""
        del host
        self.sock = self._line = ssl_context.wrap_socket(self._hurried())

    def send(
        self,
        payload: bytes,
        packet_number: int | None = None,
        compressed_packet_number: int | None = None,
        write_timeout: int | None = None,
    ) -> None:
        self._netbroker.send(self._hurried(), self.address, payload, packet_number, compressed_packet_number)

    def recv(self, read_timeout: int | None = None) -> bytearray:
        return self._netbroker.recv(self._hurried(), self.address)

    def _hurried(self) -> socket.socket:
        try:
            self._line.settimeout(left(self.deadline))
        except TimeoutError as error:
            raise connector.ReadTimeoutError(errno=3024) from error
        except OSError as error:
            raise connector.OperationalError(errno=2006) from error
        return self._line


class _Server(MySQLConnection):
    def __init__(self, line: _Socket) -> None:
        super().__init__()
        self._line = line

    def _get_connection(self) -> MySQLSocket:
        return self._line

    def _post_connection(self) -> None:
        """Nothing: autocommit, collation and all else stay what the server gives to everybody."""


def account_of(containers: Containers, target: Target) -> Account:
    """User and password, the latter perhaps out of the container's environment: it goes nowhere but to the server."""
    login = target.login
    if login.password is not None or not (login.variable or login.user_variable):
        return login.user or "", login.password or ""
    user = f"${login.user_variable}" if login.user_variable else login.user or ""
    read = Command(argv=("sh", "-c", _LOGIN, "login", user, login.variable or ""), login=Login())
    values = containers.run(target.container.id, read).stdout.split(b"\0")
    try:
        return values[0].decode(), values[1].decode()
    except UnicodeDecodeError:
        raise QueryFailed("user or password are no UTF-8") from None  # the error itself holds them
