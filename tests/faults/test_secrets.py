"""The password is nowhere: whatever dbguard leaves behind after good and bad runs is searched for it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.faults.rig import Box, Result, Vault, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.docker]

SAMPLER = "rm -f /tmp/stop; while [ ! -e /tmp/stop ]; do cat /proc/[0-9]*/cmdline; done >/tmp/argv 2>/dev/null"
"""Some hundred looks a second at the argv of everything that runs in the container."""


def new_secret() -> str:
    return f"Secret{secrets.token_hex(8)}"


def forms(secret: str) -> list[str]:
    """The secret itself, and what is the same in every base64 text that holds it, wherever it begins there."""
    found = [secret]
    for shift in range(3):
        data = b"\0" * shift + secret.encode()
        found.append(base64.b64encode(data)[4 if shift else 0 : len(data) // 3 * 4].decode())
    return found


class Haystack:
    """All that a run leaves where somebody could read it."""

    def __init__(self, vault: Vault, box: Box) -> None:
        self.texts: dict[str, str] = {}
        self._vault = vault
        self._box = box

    def add(self, result: Result) -> Result:
        self.texts[f"output {len(self.texts)}"] = result.out.decode("utf-8", "replace") + result.err
        return result

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        with self._events() as seen:
            self._box.engine.docker("exec", "--detach", self._box.id, "sh", "-c", SAMPLER)
            yield
            self._box.sh("sh -c 'sleep 0.3; : a-word-that-must-be-seen'; : >/tmp/stop; sleep 0.3")
            wait_until(lambda: "a-word-that-must-be-seen" in seen.read_text(), "the engine tells the last event")
        self.texts["argv"] = self._box.sh("tr '\\0' '\\n' </tmp/argv | sort -u; rm /tmp/argv")
        self.texts["logs"] = self._logs()
        events = [json.loads(line) for line in seen.read_text().splitlines()]
        self.texts["events"] = json.dumps(events)
        self.texts["execs"] = json.dumps(self._execs(events))
        for folder in (self._vault.storage, self._vault.state):
            for path in folder.rglob("*"):
                if path.is_file():
                    self.texts[str(path)] = path.read_bytes().decode("latin-1")

    def _logs(self) -> str:
        client = self._client()
        with contextlib.closing(client):
            return str(client.logs(self._box.id).decode("utf-8", "replace"))

    @contextlib.contextmanager
    def _events(self) -> Iterator[Path]:
        """The file in which they gather. Listened to as they come: the engine remembers the last 256 of all only."""
        file = self._vault.folder / "events"
        words = ["docker", "events", "--format", "{{json .}}", "--filter", f"container={self._box.id}"]
        with file.open("wb") as out:
            listener = subprocess.Popen(words, stdout=out, env=os.environ | self._box.engine.environment)
        try:
            yield file
        finally:
            listener.terminate()
            listener.wait()

    def _execs(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = {event["Actor"]["Attributes"].get("execID") for event in events} - {None}
        found = []
        client = self._client()
        with contextlib.closing(client):
            for exec_id in ids:
                with contextlib.suppress(docker.errors.NotFound):
                    found.append(client.exec_inspect(exec_id))
        return found

    def _client(self) -> docker.APIClient:
        return docker.APIClient(base_url=f"unix://{self._box.engine.socket}")

    def holds(self, secret: str) -> list[str]:
        return [place for place, text in self.texts.items() if any(form in text for form in forms(secret))]


def check(haystack: Haystack, *hidden: str) -> None:
    """First that the search could have found something, then that it finds nothing."""
    assert haystack.holds("a-word-that-must-be-seen") == ["argv", "events", "execs"]
    for place in ("argv", "events", "execs"):
        assert "--single-transaction" in haystack.texts[place], place
        assert "--binary-mode" in haystack.texts[place], place
    assert any(place.endswith("manifest.json") for place in haystack.texts)
    for secret in hidden:
        assert haystack.holds(secret) == []


def good_and_bad_runs(haystack: Haystack, vault: Vault, box: Box, **login: str) -> None:
    add = haystack.add
    add(vault.run("discover", "--project", box.project, "--json", **login)).succeeded()
    add(vault.backup(box, "--json", **login)).succeeded()
    add(vault.restore(box, "--latest", "--database", "shop:copy", **login)).succeeded()
    box.sql("DROP DATABASE copy")
    with box.dump('"$real" "$@" | head -n 30; echo "Got error: 1045" >&2; exit 2'):
        add(vault.backup(box, **login)).failed(box.target)
        assert "Traceback" in add(vault.run("--debug", "backup", "now", "--project", box.project, **login)).err


def test_forms_finds_a_secret_in_base64() -> None:
    secret = new_secret()
    for before in ("", "a", "ab", "abc"):
        text = base64.b64encode(f'{before}password="{secret}"\n'.encode()).decode()
        assert any(form in text for form in forms(secret))


@pytest.mark.fault(52)
def test_password_from_the_containers_environment(filled: Callable[..., Box], vault: Vault) -> None:
    """And, on the same server, the configured password of an account of its own, right and wrong."""
    password, configured, wrong = new_secret(), new_secret(), new_secret()
    box = filled("mysql", password=password)
    box.sql(f"CREATE USER keeper@localhost IDENTIFIED BY '{configured}'; GRANT ALL ON *.* TO keeper@localhost")
    haystack = Haystack(vault, box)
    with haystack.gathering():
        good_and_bad_runs(haystack, vault, box)
        for name, secret in (("right", configured), ("wrong", wrong)):
            (vault.folder / name).write_text(f"{secret}\n")
        keeper = {"DBGUARD_USER": "keeper", "DBGUARD_PASSWORD_FILE": str(vault.folder / "right")}
        haystack.add(vault.backup(box, **keeper)).succeeded()
        refused = keeper | {"DBGUARD_PASSWORD_FILE": str(vault.folder / "wrong")}
        assert "Traceback" in haystack.add(vault.run("--debug", "backup", "now", box.target, **refused)).err
        haystack.add(vault.run("backup", "now", box.target, **refused)).failed(box.target, "Access denied")
        haystack.add(vault.run("discover", "--project", box.project, **refused)).succeeded()
        plain = {"DBGUARD_USER": "keeper", "DBGUARD_PASSWORD": configured}
        haystack.add(vault.run("config", "show", **plain)).succeeded()
        haystack.add(
            vault.backup(box, **plain | {"DBGUARD_PASSWORD": f"{wrong}\n{wrong}"})
        )  # no option file can hold it
        haystack.add(vault.backup(box, **plain | {"DBGUARD_LEVEL": configured})).failed(code=78)
    check(haystack, password, configured, wrong)


@pytest.mark.fault(52)
def test_password_from_a_file_in_the_container(filled: Callable[..., Box], vault: Vault, tmp_path: Path) -> None:
    password = new_secret()
    secret = tmp_path / "root_password"
    secret.write_text(password)
    secret.chmod(0o644)
    options = ("--env", "MYSQL_ROOT_PASSWORD_FILE=/run/secrets/root", "--volume", f"{secret}:/run/secrets/root:ro")
    box = filled("mariadb", password=password, options=options)
    haystack = Haystack(vault, box)
    with haystack.gathering():
        good_and_bad_runs(haystack, vault, box)
    check(haystack, password)
