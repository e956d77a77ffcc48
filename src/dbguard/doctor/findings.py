"""What a look found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    about: str  # "engine", a target, a storage's URL, …
    state: Literal["ok", "warning", "failed"]
    text: str
    hint: str | None = None


def ok(about: str, text: str) -> Finding:
    return Finding(about=about, state="ok", text=text)


def warning(about: str, text: str, *, hint: str | None = None) -> Finding:
    return Finding(about=about, state="warning", text=text, hint=hint)


def failed(about: str, text: str, *, hint: str | None = None) -> Finding:
    return Finding(about=about, state="failed", text=text, hint=hint)
