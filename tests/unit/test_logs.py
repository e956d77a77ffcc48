"""What `docker logs` shows: the real stderr of a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

PREPARE = """
import logging, sys, warnings
import pydantic
from datetime import datetime, UTC
from pathlib import Path
from dbguard.logs import configure, logger
configure({style!r})
log = logger()
"""


def printed(code: str, style: str = "json") -> list[str]:
    """The lines of stderr."""
    done = subprocess.run([sys.executable, "-c", PREPARE.format(style=style) + code], capture_output=True, check=True)
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.endswith("\n") or not text
    return text.split("\n")[:-1]


def read(code: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed(code)]


def one(code: str) -> dict[str, Any]:
    (event,) = read(code)
    return event


def test_an_event() -> None:
    (line,) = printed("log.bind(run='7f3a9c', target='shop/db').info('saved', size=12, encrypted=True)")
    event = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event.pop("time"))
    rest = {"level": "info", "event": "saved", "target": "shop/db", "run": "7f3a9c", "size": 12, "encrypted": True}
    assert event == rest
    assert [*json.loads(line)] == ["time", *rest], "in the order in which it is read"


def test_times_are_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    event = one("log.info('x', now=f'{datetime.now(UTC):%Y-%m-%dT%H}')")
    assert event["time"].startswith(event["now"])


def test_what_is_bound_stays_with_the_one_it_was_bound_to() -> None:
    first, second = read("bound = log.bind(run='a')\nbound.info('one')\nlog.info('two')")
    assert first["run"] == "a"
    assert "run" not in second


def test_levels() -> None:
    events = read("for level in ('debug', 'info', 'warning', 'error'): getattr(log, level)('x')")
    assert [event["level"] for event in events] == ["info", "warning", "error"]


def test_values_that_are_no_json() -> None:
    event = one("log.info('x', path=Path('/a'), error=ValueError('bad'), many=[Path('/b')], none=None)")
    assert {key: event[key] for key in ("path", "error", "many", "none")} == {
        "path": "/a",
        "error": "bad",
        "many": ["/b"],
        "none": None,
    }


@pytest.mark.parametrize("style", ["json", "text"])
def test_secrets_are_masked(style: str) -> None:
    lines = printed(
        "s = pydantic.SecretStr('hunter2')\n"
        "log.info('x', plain=s, within=[s], deeper={'k': s})\n"
        "logging.getLogger('urllib3').warning('said %s', s)\n"
        "class Section(pydantic.BaseModel):\n    password: pydantic.SecretStr\n"
        "log.info('y', section=Section(password='hunter2'))",
        style,
    )
    assert len(lines) == 3
    assert "hunter2" not in "".join(lines)
    assert all("*****" in line for line in lines)


def test_an_exception_is_one_event_without_the_values_of_variables() -> None:
    event = one("password = 'hunter2'\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('x')")
    assert event["level"] == "error"
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("ZeroDivisionError: division by zero")
    assert "hunter2" not in event["exception"]


# --- libraries ---


@pytest.mark.parametrize("name", ["botocore", "urllib3.connectionpool", "docker", "apprise", "stamina"])
def test_a_library_from_warning_on(name: str) -> None:
    event = one(f"library = logging.getLogger({name!r})\nlibrary.info('no')\nlibrary.warning('odd %s', 'thing')")
    assert event.pop("time")
    assert event == {"level": "warning", "event": "odd thing", "logger": name}


def test_what_stamina_tries_again_is_told_without_its_arguments() -> None:
    event = one(
        "import stamina\n"
        "tries = []\n"
        "@stamina.retry(on=OSError, attempts=2, wait_initial=0.01)\n"
        "def tell(url, *, token):\n"
        "    tries.append(1)\n"
        "    if len(tries) < 2: raise OSError('busy')\n"
        "tell('https://hook/hunter2', token='hunter2')"
    )
    assert event["event"] == "stamina.retry_scheduled"
    assert "busy" in event["caused_by"]
    assert "hunter2" not in json.dumps(event)


def test_our_own_modules_that_use_the_standard_library() -> None:
    assert one("logging.getLogger('dbguard.web').info('x')")["logger"] == "dbguard.web"


def test_a_warning_of_python_is_a_line_too() -> None:
    event = one("warnings.warn('old thing', UserWarning)")
    assert event["level"] == "warning"
    assert "old thing" in event["event"]


def test_an_exception_of_a_library_is_one_line() -> None:
    event = one("try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.getLogger('docker').exception('lost')")
    assert event["exception"].endswith("ZeroDivisionError: division by zero")


# --- text ---

ODD = "'a\\nb\\x1b[2Jc\\u202ed\\u2028e\\x9bf\\rg\\udc80h'"
"""Line breaks, control sequences, and a turn of the direction of writing."""


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "code",
    [
        f"log.info('x', value={ODD})",
        f"log.info({ODD})",
        f"log.info('x', value=[{ODD}])",
        f"log.info('x', value=ValueError({ODD}))",
        f"log.bind(target={ODD}).info('x')",
        f"logging.getLogger('docker').warning({ODD})",
        f"log.info('x', **{{{ODD}: 1}})",
    ],
)
def test_nothing_breaks_the_line_or_moves_the_cursor(code: str, style: str) -> None:
    (line,) = printed(code, style)
    assert line.isprintable()
    assert "[2Jc" in line


def test_text_reads_well() -> None:
    lines = printed(
        "log = log.bind(run='7f3a9c', target='shop/db')\n"
        "log.info('backup saved', size=12, storage='s3://b/p', why='one two')\n"
        "log.warning('odd', empty='', quoted='a\"b', path='a\\\\b', sum='1=2', name='größe', what=None)",
        "text",
    )
    assert [re.sub(r"^\S+Z ", "", line) for line in lines] == [
        'info    backup saved target=shop/db run=7f3a9c size=12 storage=s3://b/p why="one two"',
        "warning odd target=shop/db run=7f3a9c "
        r'empty="" quoted="a\"b" path="a\\b" sum="1=2" name=größe what=None',
    ]


def on_a_terminal(style: str) -> str:
    """What a terminal is shown."""
    ours, theirs = pty.openpty()
    try:
        code = PREPARE.format(style=style) + "log.info('hello')"
        subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.DEVNULL, check=True)
        return os.read(ours, 1000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_auto() -> None:
    assert printed("log.info('hello')", "auto")[0].startswith("{")
    assert re.fullmatch(r"\S+Z info    hello\r\n", on_a_terminal("auto"))


def test_a_style_that_is_asked_for() -> None:
    assert on_a_terminal("json").startswith("{")
    assert not printed("log.info('hello')", "text")[0].startswith("{")


# --- as it happens ---


def test_each_line_is_there_at_once() -> None:
    code = PREPARE.format(style="json") + "log.info('first')\nsys.stdin.readline()\nlog.info('second')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert b"first" in process.stderr.readline()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert b"second" in process.stderr.readline()


def test_lines_of_many_threads_stay_whole() -> None:
    events = read(
        "import threading\n"
        "def tell(i):\n"
        "    for number in range(50):\n"
        "        log.bind(run=str(i)).info('x', much='y' * 5000)\n"
        "        logging.getLogger('docker').warning('z' * 5000)\n"
        "threads = [threading.Thread(target=tell, args=[i]) for i in range(4)]\n"
        "[one.start() for one in threads]\n[one.join() for one in threads]"
    )
    assert len(events) == 400


def test_importing_it_is_cheap() -> None:
    code = "import sys, dbguard.logs\nassert not {'structlog', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
