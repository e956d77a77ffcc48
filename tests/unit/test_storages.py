"""Which storage a URL means; what each storage promises is in tests/contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbguard.errors import ConfigError
from dbguard.storages import open_storage
from dbguard.storages.local import LocalStorage


def folder(url: str) -> str:
    storage = open_storage(url)
    assert isinstance(storage, LocalStorage)
    return str(storage.root)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///srv/backups", "/srv/backups"),
        ("file://localhost/srv", "/srv"),
        ("file:/srv", "/srv"),
        ("file:///with%20space", "/with space"),
        ("/srv/backups", "/srv/backups"),
        ("/srv/back#ups", "/srv/back#ups"),
        ("/srv/100%25?", "/srv/100%25?"),
        ("/srv/a:b", "/srv/a:b"),
    ],
)
def test_a_folder_by_url_or_path(url: str, expected: str) -> None:
    assert folder(url) == expected


def test_a_relative_path_is_one_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder("backups") == str(tmp_path / "backups")


@pytest.mark.parametrize(
    "url",
    [
        "file://backups/x",
        "file://",
        "file:backups",
        "file:///a?b",
        "file:///a#b",
        "file://[x",
        "ftp://x/y",
        "s4://b",
        "x:",
    ],
)
def test_what_is_no_place_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(url)
    assert url in str(caught.value)


def test_three_slashes_are_suggested() -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage("file://srv/backups")
    assert caught.value.hint == "file:///srv/backups"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_the_url_of_a_folder_leads_back_to_it(name: str) -> None:
    root = Path("/srv", name.replace("/", "-"))
    assert folder(LocalStorage(root).url) == folder(str(root)) == str(root)
