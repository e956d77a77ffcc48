"""One hypothesis profile for all unit tests: examples may be slow on a busy machine, that is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("dbguard", deadline=None, print_blob=True)
settings.load_profile("dbguard")
