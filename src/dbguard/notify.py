"""Messages to people: mail, chats, phones. The only module that imports apprise, an extra (https://appriseit.com).

The URL of a channel holds its password or token, often where other URLs have the host. What is shown of it is the
scheme, and the host where that surely is one. What apprise logs is heard by nobody.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from dbguard.errors import ConfigError
from dbguard.news import Message

_PATIENCE = 30.0
"""Seconds for one message on one channel, after which nobody waits for it any longer. Apprise's own limits for each
step, 4 s and 15 s for mail, can be set in the URL with `cto` and `rto`."""
_TYPES = {"failure": "failure", "recovery": "success", "reminder": "warning", "warning": "warning", "test": "info"}
_HOST = re.compile(r"([\w.-]+|\[[\da-fA-F:.]+\])(:\d*)?")


class Channels:
    """Where messages go. `names` are those of the channels, each once, with nothing secret in them."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Raises ConfigError, which does not show the URL."""
        self._channels: dict[str, Any] = {}
        for at, url in enumerate(urls, start=1):
            name, channel = _opened(url, at)
            again = sum(one.partition(" (")[0] == name for one in self._channels)
            self._channels[f"{name} ({again + 1})" if again else name] = channel

    @property
    def names(self) -> Sequence[str]:
        return list(self._channels)

    def tell(self, message: Message) -> Mapping[str, str]:
        """Sends it to every channel. Returns those that did not take it, and why; raises nothing for them."""
        tried = {name: _sent(channel, message) for name, channel in self._channels.items()}
        return {name: why for name, why in tried.items() if why is not None}


def _opened(url: str, at: int) -> tuple[str, Any]:
    """The channel's name, and the channel."""
    library = _apprise()
    asset = library.AppriseAsset(
        app_id="dbguard",
        app_desc="dbguard",
        storage_mode="memory",
        pgp_autogen=False,
        pem_autogen=False,
        http_redirects=False,
        service_timeout=_PATIENCE,
    )
    plugin = library.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        scheme = re.match(r"[A-Za-z][\w+.-]*(?=://)", url)
        raise ConfigError(
            f"notify: apprise does not understand URL {at}{f', {scheme[0]}://…' if scheme else ''}",
            hint="https://appriseit.com lists the URLs; write @ / : in a password as %40 %2F %3A",
        )
    return _name(url, plugin), library.Apprise(plugin, asset=asset)


def _name(url: str, plugin: Any) -> str:  # noqa: ANN401 — whether apprise has types depends on the extra
    """With an @ or / in a password, half of it could pass for the host: then the scheme alone."""
    scheme, _, rest = url.partition("://")
    has_host = scheme in {"http", "https"} or all("{host}" in str(template) for template in plugin.templates)
    host = _HOST.fullmatch(re.split(r"[/?#]", rest)[0].rpartition("@")[2])
    return f"{scheme}://{host[1]}" if has_host and host and url.count("@") <= 1 else scheme


def _sent(channel: Any, message: Message) -> str | None:  # noqa: ANN401
    """None, or why not, in words of our own: those of apprise may hold a part of the URL."""
    done = channel.notify(title=message.title, body=message.body, notify_type=_TYPES[message.kind], body_format="text")
    attempts = [attempt for result in done.results for attempt in result.attempts]
    return None if attempts and attempts[-1] else _reason(attempts[-1:])


def _reason(attempts: Sequence[Any]) -> str:
    if any(attempt.status.name == "TIMEOUT" for attempt in attempts):
        return f"it took longer than {_PATIENCE:.0f} s"
    said = [entry.message for attempt in attempts for entry in attempt.logs]
    return said[-1] if said else "it did not take the message"


class _Harmless(logging.Filter):
    """Puts words of our own in the place of each line that apprise logs, and drops those that mean nothing to us:
    they hold URLs, tokens and what servers answer."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if match := re.search(r"\berror=(\d{3})\b", said):
            record.msg = f"it answered with HTTP status {match[1]}"
        elif "connection error" in said.lower():
            record.msg = "it could not be reached, or did not answer in time"
        else:
            return False
        record.args, record.exc_info = (), None
        return True


def _apprise() -> ModuleType:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError("messages need the extra `notify`", hint='pip install "dbguard[notify]"') from error
    logger = logging.getLogger("apprise")
    if not any(isinstance(one, _Harmless) for one in logger.filters):
        logger.addFilter(_Harmless())
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its lines below that hold the path
    module: ModuleType = apprise
    return module
