"""Accounts of a server as statements: its tables say who there is, SHOW says what each of them is and may do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from dbguard.accounts.statements import (
    ADMIN,
    CREATE,
    CREATE_ROLE,
    DEFAULT_ROLE,
    DYNAMIC,
    GRANT,
    OPTION,
    PLAIN_ROLE,
    PUBLIC,
    STATEMENT,
    USAGE,
    bare,
    displayed,
    has_mysql_roles,
    named,
    named_or_role,
    owner,
    session_modes,
)
from dbguard.engines.mysql import version_number
from dbguard.errors import QueryFailed
from dbguard.model import Server
from dbguard.sql import Row, Session, quoted

_SYSTEM = {"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"}
# Names in hexadecimal: one that is no text must not hide all the others.
_USERS = (
    "SELECT HEX(user), HEX(host), HEX({role}), HEX(ssl_cipher), HEX(x509_issuer), HEX(x509_subject) "
    "FROM mysql.user ORDER BY user, host"
)
# Nobody but an installation makes a proxied host of '', and MariaDB's GRANT cannot: it stores, and shows, '%'.
_PROXIES = (
    "SELECT HEX(proxied_user), HEX({proxied_host}), HEX(user), HEX(host), HEX(IF(with_grant, 'Y', 'N')) "
    "FROM mysql.proxies_priv ORDER BY 3, 4, 1, 2"
)
_NOTHING = "SELECT 1 FROM mysql.user WHERE FALSE"
_MARIADB_ROLES = (
    "SELECT HEX(role), '', HEX(user), HEX(host), HEX(admin_option) FROM mysql.roles_mapping ORDER BY 1, 3, 4",
    "SELECT HEX(default_role), '', HEX(user), HEX(host) FROM mysql.user WHERE default_role <> '' ORDER BY 3, 4",
)
_MYSQL_ROLES = (
    "SELECT HEX(from_user), HEX(from_host), HEX(to_user), HEX(to_host), HEX(with_admin_option) "
    "FROM mysql.role_edges ORDER BY 1, 2, 3, 4",
    "SELECT HEX(default_role_user), HEX(default_role_host), HEX(user), HEX(host) "
    "FROM mysql.default_roles ORDER BY 3, 4, 1, 2",
)
_SECOND_PASSWORDS = (
    "SELECT HEX(user), HEX(host) FROM mysql.user "
    "WHERE JSON_CONTAINS_PATH(user_attributes, 'one', '$.additional_password')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """A row of mysql.user: an account, a role of MySQL, or one of MariaDB's, which has no host."""

    user: str
    host: str
    role: bool  # MariaDB's
    asked: tuple[str, str, str]  # cipher, issuer and subject of its certificate

    @property
    def name(self) -> str:
        if self.role:
            return PUBLIC if self.user == PUBLIC else quoted(self.user)
        return named(self.user, self.host)

    @property
    def questions(self) -> tuple[str, ...]:
        shows = f"SHOW GRANTS FOR {self.name}"
        return (shows,) if self.role else (shows, f"SHOW CREATE USER {self.name}")

    def mended(self, text: str) -> str:
        """As it should have been written: MySQL 9.7 and MariaDB 10.11 do not escape what they want of a certificate,
        and old servers put the account's name between apostrophes, whatever is in it."""
        for word, raw in zip(("CIPHER", "ISSUER", "SUBJECT"), self.asked, strict=True):
            escaped = raw.replace("\\", "\\\\").replace("'", "\\'")
            text = text.replace(f" {word} '{raw}'", f" {word} '{escaped}'")
        old = f"'{self.user}'" if self.role else f"'{self.user}'@'{self.host}'"
        return text if self.name in text else text.replace(old, self.name)


def statements_of(session: Session, server: Server) -> tuple[list[str], list[str]]:
    """The statements in the order in which they load, each once; and what is not among them, with the reason."""
    accounts, belongings, skipped = _tables(session, server)
    answers = _answers(session, session_modes(server, reading=True), accounts)
    found: list[str] = []
    for account, answer in zip(accounts, answers, strict=True):
        own = answer if isinstance(answer, str) else _own(account, answer, server)
        if isinstance(own, str):
            skipped.append(f"{displayed(account.name)}: {own}")
        else:
            found += own
    return _ordered(found, belongings), skipped


def _own(account: _Account, answer: list[list[Row]], server: Server) -> list[str] | str:
    """What makes one account and gives it its privileges; or why that cannot be had."""
    own = [*_creation(account, server, answer[1:]), *_granted(account, [row[0] for row in answer[0]])]
    if all(STATEMENT.fullmatch(f"{one};\n") and owner(one) == account.name for one in own):
        return own
    return "the server shows it as no server could load it"


def _ordered(own: Sequence[str], belongings: Sequence[str]) -> list[str]:
    """What takes away comes last: it may take from the account that loads, and a later grant would undo it."""
    creates = [one for one in own if CREATE.match(one)]
    revokes = [one for one in own if one.startswith("REVOKE")]
    grants = [one for one in own if not CREATE.match(one) and not one.startswith("REVOKE")]
    made = set(map(owner, creates))
    return list(dict.fromkeys([*creates, *grants, *(one for one in belongings if owner(one) in made), *revokes]))


# --- the tables ---


def _tables(session: Session, server: Server) -> tuple[list[_Account], list[str], list[str]]:
    """Accounts; statements that make their roles, proxies and default roles; what no statement makes."""
    users, proxies, edges, defaults, second = _rows(session, server)
    mariadb = server.engine == "mariadb"
    name = named_or_role if mariadb else named
    accounts = [
        _Account(user=user, host=host, role=role == "Y", asked=(cipher, issuer, subject))
        for user, host, role, cipher, issuer, subject in users
        if user not in _SYSTEM
    ]
    belongings = [
        *(f"GRANT {name(*row[:2])} TO {name(*row[2:4])}{ADMIN * (row[4] == 'Y')}" for row in edges),
        *(f"GRANT PROXY ON {named(*row[:2])} TO {named(*row[2:4])}{OPTION * (row[4] == 'Y')}" for row in proxies),
    ]
    for who, rows in groupby(defaults, key=lambda row: row[2:]):
        roles = ", ".join(name(*row[:2]) for row in rows)
        belongings.append(f"SET DEFAULT ROLE {roles} {'FOR' if mariadb else 'TO'} {named(*who)}")
    skipped = [f"{displayed(named(*row))}: its second password, which MySQL does not show" for row in second]
    return accounts, belongings, skipped


def _rows(session: Session, server: Server) -> list[list[list[str]]]:
    """Users, proxies, members of roles, default roles, second passwords."""
    if server.engine == "mariadb":
        proxied = "IF(proxied_host = '', '%', proxied_host)"
        questions = (_USERS.format(role="is_role"), _PROXIES.format(proxied_host=proxied), *_MARIADB_ROLES, _NOTHING)
    else:
        roles = _MYSQL_ROLES if has_mysql_roles(server) else (_NOTHING, _NOTHING)
        second = _SECOND_PASSWORDS if version_number(server.version) >= (8, 0, 14) else _NOTHING
        proxies = _PROXIES.format(proxied_host="proxied_host")
        questions = (_USERS.format(role="'N'"), proxies, *roles, second)
    answers = session.query(*session_modes(server), *questions, timeout=600.0)[-len(questions) :]
    return [[_decoded(row) for row in rows] for rows in answers]


def _decoded(row: Row) -> list[str]:
    """What is no text becomes a name that no server knows, and is skipped as one."""
    return [bytes.fromhex(value).decode(errors="replace") for value in row]


# --- what SHOW says ---


def _answers(session: Session, modes: Sequence[str], accounts: Sequence[_Account]) -> list[list[list[Row]] | str]:
    """To each account's questions; where there are none, why: one odd account must not hide the others."""
    if not accounts:
        return []
    questions = chain.from_iterable(account.questions for account in accounts)
    try:
        rows = iter(session.query(*modes, *questions, timeout=600.0)[len(modes) :])
        return [[next(rows) for _ in account.questions] for account in accounts]
    except QueryFailed as error:
        garbled = isinstance(error.__cause__, UnicodeDecodeError)
        if not garbled and (error.number is None or 2000 <= error.number < 3000):  # of the client: nobody answers
            raise
        if len(accounts) == 1:
            return ["the server's answer is no text" if garbled else str(error)]
    half = len(accounts) // 2
    return [*_answers(session, modes, accounts[:half]), *_answers(session, modes, accounts[half:])]


def _creation(account: _Account, server: Server, shown: Sequence[Sequence[Row]]) -> Iterator[str]:
    """Without its default roles, which may not exist yet. MySQL's roles as roles: to create an account without a
    password, even a locked one, is what a password policy refuses."""
    if not shown:
        if account.name != PUBLIC:
            yield f"{CREATE_ROLE}{account.name}"
        return
    text = account.mended(shown[0][0][0]).replace("CREATE USER ", "CREATE USER IF NOT EXISTS ", 1)
    text = DEFAULT_ROLE.sub(lambda match: match[1] or "", text)
    role = PLAIN_ROLE.fullmatch(text) if has_mysql_roles(server) else None
    yield f"{CREATE_ROLE}{role[1]}" if role else text


def _granted(account: _Account, shown: Sequence[str]) -> Iterator[str]:
    """Its privileges. Not what the tables tell better, not what a role has from others, and nothing behind the
    account but its GRANT OPTION: MariaDB repeats the password there, and would give it to an account that exists."""
    for text in map(account.mended, shown):
        if text.startswith(("GRANT PROXY ON ", "SET DEFAULT ROLE ")):
            continue
        match = GRANT.fullmatch(text)
        if match is None or (match[3] != account.name and not account.role):
            yield text  # and the account will be skipped, with a word
        elif match[3] == account.name and " ON " in bare(match[1]):
            option = OPTION if "WITH GRANT OPTION" in bare(match[4] or "") else ""
            yield from (f"{one} {match[2]} {match[3]}{option}" for one in _each(match[1]) if one != USAGE or option)


def _each(what: str) -> list[str]:
    """Dynamic privileges one by one: a server of another release may not know one of them."""
    dynamic = DYNAMIC.match(what)
    return [f"GRANT {one} ON *.*" for one in dynamic[1].split(",")] if dynamic else [what]
