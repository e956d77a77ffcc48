"""Carry out a retention plan."""

from __future__ import annotations

from pathlib import Path

from dbguard import retention
from dbguard.catalog import Catalog
from dbguard.lock import target_lock
from dbguard.model import TargetName
from dbguard.retention import Plan, Policy


def prune(name: TargetName, *, catalog: Catalog, policy: Policy, state: Path) -> Plan:
    """Removes what `policy` does not keep of one target's good archives; damaged ones are left alone."""
    with target_lock(state, name):
        plan = retention.plan(catalog.listing(name).archives, policy)
        for archive in plan.remove:
            catalog.forget(archive)
        return plan
