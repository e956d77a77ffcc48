"""Which keys there may be: plain names joined by `/`, that mean the same in a folder, a bucket and a URL."""

from __future__ import annotations

import re

from dbguard.errors import StorageError

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""Of a length that every file system takes, with room for the suffix of a temporary file."""


def is_plain(key: str) -> bool:
    return all(_PLAIN_NAME.fullmatch(part) for part in key.split("/"))


def checked(key: str) -> str:
    """Raises StorageError for a key that could lead elsewhere."""
    if not is_plain(key):
        raise StorageError(f"{key!r} cannot be a key")
    return key
