"""The log of `dbguard run`: one event a line, to stderr, for people (text) or for programs (JSON).

structlog is imported where it is used: it takes 0.1 s, and no other command needs it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

Style = Literal["auto", "json", "text"]

_FIRST = ("time", "level", "event", "target", "run")
_Event = MutableMapping[str, Any]


def configure(style: Style) -> None:
    """From now on: dbguard's own events from INFO on, those of libraries and Python's warnings from WARNING on.
    `auto` is text on a terminal, else JSON."""
    import structlog

    structlog.configure(
        processors=[*_opening(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(as_text=style == "text" or (style == "auto" and sys.stderr.isatty())))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("dbguard").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def logger() -> FilteringBoundLogger:
    """dbguard's own. `.bind(target=…, run=…)` gives one that says so in each of its events."""
    import structlog

    log: FilteringBoundLogger = structlog.get_logger("dbguard")
    return log


def _opening() -> list[Any]:
    """What every event gets, wherever it comes from."""
    import structlog

    return [structlog.processors.add_log_level, structlog.processors.TimeStamper("%Y-%m-%dT%H:%M:%SZ", key="time")]


def _formatter(*, as_text: bool) -> logging.Formatter:
    """One for all, so that a library's line looks like ours; it also says which logger it is from."""
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_opening(), structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _without_arguments,
            _in_order,
            _text if as_text else structlog.processors.JSONRenderer(default=str),
        ],
    )


def _without_arguments(_: object, __: str, event: _Event) -> _Event:
    """stamina logs the arguments of what it tries again. They can hold a token."""
    if event["event"] == "stamina.retry_scheduled":
        return {key: value for key, value in event.items() if key not in {"args", "kwargs"}}
    return event


def _in_order(_: object, __: str, event: _Event) -> _Event:
    return {key: event[key] for key in _FIRST if key in event} | dict(event)


def _text(_: object, __: str, event: _Event) -> str:
    head = f"{event['time']} {event['level']:<7} {event['event']}"
    rest = [f"{key}={_value(value)}" for key, value in event.items() if key not in _FIRST[:3]]
    return _printable(" ".join([head, *rest]))


def _value(value: object) -> str:
    """Quoted where it would else not be seen where it ends."""
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "=\\')
    return text if text and plain else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    """Whatever could move the cursor, break the line or turn the direction of writing is spelt out."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
