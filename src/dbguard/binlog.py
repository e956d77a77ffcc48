"""A binary log read as a file, for a server that does not run. Pure.

The header of an event: time (4 bytes), type (1), server (4), length (4), next position (4), flags (2); little-endian
(MySQL Internals, "Binlog Event Header"; MariaDB's is the same).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

MAGIC = b"\xfebin"
_HEADER = struct.Struct("<IBIIIH")
_NAMES = {
    3: "Stop", 4: "Rotate", 15: "Format_desc", 33: "Gtid", 34: "Anonymous_Gtid", 35: "Previous_gtids",
    42: "Gtid_tagged", 161: "Binlog_checkpoint", 162: "Gtid", 163: "Gtid_list",
}  # fmt: skip
"""As SHOW BINLOG EVENTS calls them (libbinlogevents, Log_event_type; MariaDB, log_event.h)."""


class Unreadable(Exception):
    """Encrypted, cut in the middle of an event, or no binary log."""


def events(chunks: Iterable[bytes], start: int) -> Iterator[str]:
    """The names of all events that begin at `start` or behind it; of those we have no name for, their number.

    Raises Unreadable when no event begins at `start`, and when the file does not end with one.
    """
    begun, last = False, 0
    for at, kind, end in _all(chunks):
        begun |= at == start
        if begun:
            yield _NAMES.get(kind, str(kind))
        last = end
    if not begun and last != start:
        raise Unreadable("nothing begins at the position of the backup")


def _all(chunks: Iterable[bytes]) -> Iterator[tuple[int, int, int]]:
    """Where each event begins, its type, and where it ends."""
    buffer, at = bytearray(), 0
    for chunk in chunks:
        buffer += chunk
        if at == 0 and len(buffer) >= len(MAGIC):
            if not buffer.startswith(MAGIC):
                raise Unreadable("it is encrypted, or no binary log")
            at = len(MAGIC)
            del buffer[:at]
        while at and len(buffer) >= _HEADER.size:
            _, kind, _, length, _, _ = _HEADER.unpack_from(buffer)
            if length < _HEADER.size:
                raise Unreadable("it is damaged")
            if len(buffer) < length:
                break
            yield at, kind, at + length
            del buffer[:length]
            at += length
    if buffer:
        raise Unreadable("it ends in the middle of an event")
