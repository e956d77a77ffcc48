"""What can go wrong, with the exit code and, where there is one, what to type next.

DbguardError                1   failed
├─ UsageError               2   the command line asks for something that makes no sense
├─ ConfigError              78  a setting is wrong; names the file and the key
├─ NotFound                 1   no such target, container or archive
│  └─ NothingToDump             a server without any database of a user
├─ ExecFailed               1   a program in a container did not end well, or its stream was cut
├─ DumpFailed               1   the dump did not end well; nothing was published
│  └─ IncompleteDump            it ended well but does not hold what it must
├─ RestoreFailed            1   the server refused a statement (its error has a number), or did not get what was saved
├─ NotVerified              1   nobody can say whether an archive is good: there is no server to load it into
├─ CheckFailed              4   an archive was loaded, or could not be, and is not what it should be
├─ QueryFailed              1   the server answered a question with an error; has its number, where it gave one
│  └─ SessionLost               a session ended that should have stayed
├─ StorageError             1   a write or a read failed; nothing was published
│  ├─ AlreadyExists             the key is taken: nothing is ever overwritten
│  └─ StorageUnavailable    69  the place cannot be read at all: never "no backup"
│     └─ NotSetUp               no archive was ever written there, as far as anyone remembers
├─ EngineUnavailable        69  the Docker Engine does not answer
│  └─ CallRefused               a proxy in front of it does not allow this call
├─ NoKey                    1   an encrypted archive, and no private key that opens it
├─ PruneRefused             1   a plan that removes more than anybody should without a look
├─ ArchiveDamaged           4   checksum, truncation, a manifest that contradicts its data
├─ NewerFormat              4   made by a newer dbguard
├─ Partly                   3   some targets failed, others did not
├─ Busy                     75  another run holds this target
├─ Refused                  77  the guard says no
└─ InternalError            70  the guard could not decide; deciding wrongly is worse
Interrupted                 130/143   a signal; no DbguardError, so that "this one failed, go on" never swallows it
"""

from __future__ import annotations

import signal


class DbguardError(Exception):
    """Something dbguard can explain: one line that names the thing, and a hint on what to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def told(error: DbguardError) -> str:
    """In one line, for a log."""
    return f"{error} (hint: {error.hint})" if error.hint else str(error)


class UsageError(DbguardError):
    exit_code = 2


class ConfigError(DbguardError):
    exit_code = 78


class NotFound(DbguardError):
    pass


class NothingToDump(NotFound):
    pass


class ExecFailed(DbguardError):
    pass


class DumpFailed(DbguardError):
    pass


class IncompleteDump(DumpFailed):
    pass


class RestoreFailed(DbguardError):
    def __init__(self, message: str, *, hint: str | None = None, number: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number


class NotVerified(DbguardError):
    pass


class CheckFailed(DbguardError):
    exit_code = 4


class QueryFailed(DbguardError):
    def __init__(self, message: str, *, hint: str | None = None, number: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.number = number


class SessionLost(QueryFailed):
    pass


class StorageError(DbguardError):
    pass


class AlreadyExists(StorageError):
    pass


class StorageUnavailable(StorageError):
    exit_code = 69


class NotSetUp(StorageUnavailable):
    pass


class EngineUnavailable(DbguardError):
    exit_code = 69


class CallRefused(EngineUnavailable):
    pass


class NoKey(DbguardError):
    pass


class PruneRefused(DbguardError):
    pass


class ArchiveDamaged(DbguardError):
    exit_code = 4


class NewerFormat(DbguardError):
    exit_code = 4


class Partly(DbguardError):
    exit_code = 3


class Busy(DbguardError):
    exit_code = 75


class Refused(DbguardError):
    exit_code = 77


class InternalError(DbguardError):
    exit_code = 70


class Interrupted(BaseException):
    """A signal asked us to stop; whatever was being written is gone."""

    hint: str | None = None

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: no unfinished backup was published")
        self.exit_code = 128 + number
