"""Backups you can trust for databases in Docker Compose, and a guard for the volumes that hold them."""

from __future__ import annotations

__version__ = "0.1.0"
