"""Whose archives a folder of a storage holds: the first backup writes it, and nobody else's may follow by chance."""

from __future__ import annotations

import pydantic

from dbguard import layout
from dbguard.archive import Owner
from dbguard.errors import AlreadyExists, Refused
from dbguard.model import TargetName
from dbguard.storages import Storage, read_whole

_OWNER = pydantic.TypeAdapter(Owner)


def take(storage: Storage, owner: Owner, *, adopt: bool) -> None:
    """Makes the target's folder the owner's. Raises Refused when another one has it."""
    name = TargetName(project=owner.project, service=owner.service)
    before, present = _last(storage, name)
    if present == owner:
        return
    if before and not adopt:
        raise _refused(name, present)
    try:
        with storage.create(f"{name}/{layout.owner(before)}") as out:
            out.write(_OWNER.dump_json(owner, indent=1))
    except AlreadyExists as error:  # another run was quicker
        present = _last(storage, name)[1]
        if present != owner:
            raise _refused(name, present) from error


def _last(storage: Storage, target: TargetName) -> tuple[int, Owner | None]:
    """How often the folder was taken, and by whom last: None by nobody, or by somebody illegible."""
    names = [entry.key.rpartition("/")[2] for entry in storage.list(f"{target}/owner")]
    numbers = [number for number in map(layout.owner_number, names) if number is not None]
    if not numbers:
        return 0, None
    try:
        return max(numbers) + 1, _OWNER.validate_json(read_whole(storage, f"{target}/{layout.owner(max(numbers))}"))
    except ValueError:
        return max(numbers) + 1, None


def _refused(target: TargetName, present: Owner | None) -> Refused:
    return Refused(
        f"{target}: these archives belong to the same name on another engine ({present and present.engine_id})",
        hint="label the container dbguard.name=OTHER/NAME, or take the folder over with --adopt",
    )
