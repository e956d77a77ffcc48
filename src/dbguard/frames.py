"""How the engine sends stdout and stderr of a program through one stream."""

from __future__ import annotations

import struct
from collections.abc import Iterator

STDERR = 2
"""The kind of a frame; stdout is 1."""


class Frames:
    """Unpacks the engine's multiplexed stream: frames of 8 bytes of header (kind, length) and a payload.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self) -> None:
        self._head = b""
        self._kind = 0
        self._left = 0

    def feed(self, data: memoryview) -> Iterator[tuple[int, bytes]]:
        position = 0
        while position < len(data):
            if self._left:
                payload = bytes(data[position : position + self._left])
                self._left -= len(payload)
                position += len(payload)
                yield self._kind, payload
                continue
            missing = 8 - len(self._head)
            self._head += bytes(data[position : position + missing])
            position += missing
            if len(self._head) == 8:
                self._kind, self._left = struct.unpack(">BxxxL", self._head)
                self._head = b""

    @property
    def whole(self) -> bool:
        """No frame is half read."""
        return not self._head and not self._left
