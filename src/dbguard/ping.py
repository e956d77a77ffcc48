"""Pings in the manner of healthchecks.io (https://healthchecks.io/docs/http_api/): who hears nothing raises the alarm.

Whoever knows the path of the URL can ping, so it is a secret: only the host is ever named.
"""

from __future__ import annotations

import logging
import re
import uuid
from urllib.parse import urlsplit

import requests
import stamina
import stamina.instrumentation

from dbguard import __version__
from dbguard.errors import ConfigError

_TIMEOUT = 5.0
"""Seconds to connect, and seconds to wait for the answer."""
_PAUSE = 0.5
_MOST_BYTES = 10_000
_NOT_COUNTED = re.compile(rb"OK \((not found|rate limited)\)")
"""Status 200, and the ping was ignored: so the service answers for a check that it does not have."""

logging.getLogger("urllib3").setLevel(logging.ERROR)  # its lines below that hold the path
stamina.instrumentation.set_on_retry_hooks(())  # as they are by default, they would write to stdout


class Ping:
    """One check to ping. Its methods return None, or why the ping could not be sent; they never raise."""

    def __init__(self, url: str) -> None:
        """Raises ConfigError, which does not show the URL."""
        try:
            parts = urlsplit(url.strip())
            host = parts.hostname if parts.scheme in {"http", "https"} else None
            _ = parts.port  # refuses what is no number
        except ValueError:
            host = None
        if not host:
            raise ConfigError("ping: it is no http:// or https:// URL", hint="copy the whole URL from the service")
        self._parts = parts
        self._host = host

    def start(self, run: str) -> str | None:
        return self._sent("/start", run, "")

    def success(self, run: str, text: str) -> str | None:
        return self._sent("", run, text)

    def fail(self, run: str, text: str) -> str | None:
        return self._sent("/fail", run, text)

    def _sent(self, suffix: str, run: str, text: str) -> str | None:
        url, body = self._url(suffix, run), _cut(text)
        try:
            for attempt in stamina.retry_context(
                on=_Again, attempts=2, timeout=None, wait_initial=_PAUSE, wait_jitter=0
            ):
                with attempt:
                    _post(url, body)
        except _NotSentError as error:
            return f"{self._host}: {error}"
        return None

    def _url(self, suffix: str, run: str) -> str:
        """The suffix goes before the query; a run that is a UUID joins its start and its end."""
        query = "&".join(filter(None, [self._parts.query, f"rid={run}" if _is_uuid(run) else ""]))
        path = self._parts.path.rstrip("/") + suffix
        return self._parts._replace(path=path, query=query).geturl()


class _NotSentError(Exception):
    """In words that can be shown."""


class _Again(_NotSentError):
    """A second try may help."""


def _post(url: str, body: bytes) -> None:
    """Goes where the URL says and nowhere else. Raises _NotSentError; the cause is left out, for it holds the URL."""
    headers = {"User-Agent": f"dbguard/{__version__}", "Content-Type": "text/plain; charset=utf-8"}
    try:
        with requests.post(
            url, data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False, stream=True
        ) as response:
            answer: bytes = next(response.iter_content(100), b"")
            status = response.status_code
    except requests.Timeout:
        raise _Again(f"no answer within {_TIMEOUT:.0f} s") from None
    except requests.exceptions.SSLError:
        raise _NotSentError("no secure connection to it: look at its certificate") from None
    except OSError:  # all that requests raises is one, and so is a bundle of certificates that cannot be read
        raise _Again("it cannot be reached") from None
    if status >= 500:
        raise _Again(f"it answered with HTTP status {status}")
    if not 200 <= status < 300:
        raise _NotSentError(f"it answered with HTTP status {status}")
    if match := _NOT_COUNTED.match(answer):
        raise _NotSentError(f"it ignored the ping: {match[1].decode()}")


def _cut(text: str) -> bytes:
    """At most 10 kB of UTF-8, no character halved."""
    start = text.encode("utf-8", "replace")[:_MOST_BYTES]
    return start.decode("utf-8", "ignore").encode()


def _is_uuid(run: str) -> bool:
    try:
        return str(uuid.UUID(run)) == run.lower()
    except ValueError:
        return False
