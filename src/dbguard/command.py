"""A program to run inside a container: its argv, its login, and the small shell script that watches over it.

The script is POSIX sh (dash, bash and busybox run it). It exists for four reasons:

- the password travels on the first line of stdin, or is read in the container from the container's own
  environment, and reaches the program as an option file on file descriptor 3: never argv, never a file;
- sh has no `pipefail`, so each program's own exit status is reported on stderr;
- the engine has no call to kill an exec (moby#35703), so the script says which process group to kill;
- when our end of stdin closes, because we were killed or the connection broke, it ends the program itself,
  with KILL if TERM was not enough: no dump goes on for nobody, holding its snapshot open.

It outlives TERM itself and waits for all it has started: a database server, process 1 in its container, does
not reap what others leave behind, so every run would leave a zombie there. The one that watches stdin is told by USR1
that it is no longer needed: an engine that was started with nohup hands an ignored HUP on, which no shell can take
back.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from dbguard.errors import ConfigError
from dbguard.model import Login

_SCRIPT = r"""
tag=$1 pipe=$2 feed=$3; shift 3
IFS= read -r login || exit 97
value() {
  eval "value=\${$1-} file=\${$1_FILE-}"
  if [ -z "$value" ] && [ -n "$file" ]; then value=$(cat "$file") || exit 96; fi
}
quoted() { printf %s "$value" | sed 's/[\\"]/\\&/g'; }
case $login in
  given\ *) options=$(printf %s "${login#given }" | base64 -d) || exit 96 ;;
  inside\ *) keys=${login#inside }
    user=${keys%% *} secret=${keys#* }
    case $user in \$*) value "${user#?}" ;; *) value=$user ;; esac
    options="[client]
user=\"$(quoted)\""
    if [ "$secret" != - ]; then
      value "$secret"
      options="$options
password=\"$(quoted)\""
    fi ;;
  *) exit 95 ;;
esac
exec 3<<X
$options
X
unset options value login secret
MYSQL_TEST_LOGIN_FILE=/nonexistent; export MYSQL_TEST_LOGIN_FILE
printf 'dbguard:%s:pid %s\n' "$tag" "$$" >&2
trap : TERM
if [ "$feed" = yes ]; then
  "$@"; printf 'dbguard:%s:exit program %s\n' "$tag" "$?" >&2
  exit 0
fi
exec 4<&0 </dev/null
( trap '' TERM
  IFS= read -r _
  trap 'exit 0' USR1
  kill -s TERM -- -$$
  for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done
  kill -s KILL -- -$$ ) <&4 3<&- >/dev/null 2>&1 &
watcher=$!
exec 4<&-
if [ -n "$pipe" ]; then
  { trap : TERM; "$@"; printf 'dbguard:%s:exit program %s\n' "$tag" "$?" >&2; } |
  { trap : TERM; exec 3<&-; $pipe; printf 'dbguard:%s:exit pipe %s\n' "$tag" "$?" >&2; }
else
  "$@"; printf 'dbguard:%s:exit program %s\n' "$tag" "$?" >&2
fi
{ kill -s USR1 "$watcher"; wait "$watcher"; } 2>/dev/null
exit 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program, optionally piped into a second one, inside a container.

    With `feed`, what is written to the process goes to the program's stdin. With `secret`, the program finds that
    on file descriptor 3 instead of a login. The launchers, such as `nice -n 10`, start the programs. `tag` marks the
    script's own lines on stderr; it is random, so that no object's name in a message can pass for one of them.
    """

    argv: tuple[str, ...]
    login: Login
    secret: bytes | None = field(default=None, repr=False)
    pipe: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    pipe_launcher: tuple[str, ...] = ()
    feed: bool = False
    tag: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def exec_argv(self) -> list[str]:
        """What the engine is asked to run. Holds no secret."""
        pipe = " ".join((*self.pipe_launcher, *self.pipe)) if self.pipe else ""
        feed = "yes" if self.feed else "no"
        return ["sh", "-c", _SCRIPT, "dbguard", self.tag, pipe, feed, *self.launcher, *self.argv]

    @property
    def first_line(self) -> bytes:
        """What is written to stdin before anything else: the login."""
        login = self.login
        if self.secret is not None:
            return b"given " + base64.b64encode(self.secret) + b"\n"
        if login.password is None:
            user = f"${login.user_variable}" if login.user_variable else login.user
            return f"inside {user} {login.variable or '-'}\n".encode()
        options = f'[client]\nuser="{_escaped(login.user or "")}"\npassword="{_escaped(login.password)}"\n'
        return b"given " + base64.b64encode(options.encode()) + b"\n"

    @property
    def programs(self) -> frozenset[str]:
        """The names under which the script reports an exit status."""
        return frozenset({"program", "pipe"} if self.pipe else {"program"})


SECRET_FILE = "/dev/fd/3"  # noqa: S105 — where it is, not what it is
OPTION_FILE = f"--defaults-file={SECRET_FILE}"
"""First option of every MySQL program. The container's own option files stay unread: a `[mysqldump]` section
with `where=` or `skip-triggers` would change the dump in silence."""


def _escaped(value: str) -> str:
    if "\n" in value or "\r" in value or "\0" in value:
        raise ConfigError(
            "a user or password holds a line break", hint="is there a stray newline in the secret's file?"
        )
    return value.replace("\\", "\\\\").replace('"', '\\"')
