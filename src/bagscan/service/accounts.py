"""People and machines that may use the service: passwords (argon2), sessions, keys, roles."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from bagscan.core.errors import BagscanError
from bagscan.service.audit import Auditor
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store
from bagscan.service.store.tables import accounts, api_keys, sessions, setup_tokens

# What each role may do. What is not named here, nobody may.
OPERATOR = frozenset({"self", "scan.read", "queue.read", "decide"})
SUPERVISOR = OPERATOR | {"threshold", "audit.read", "statistics", "models.read", "metrics"}
ROLES: dict[str, frozenset[str]] = {
    "scanner": frozenset({"self", "screen", "own.read", "metrics"}),
    "operator": OPERATOR,
    "supervisor": SUPERVISOR,
    "admin": SUPERVISOR | {"accounts", "models.change", "screen"},
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MIN_PASSWORD = 10
SETUP_S = 3600
_hasher = PasswordHasher()
_nobody = _hasher.hash(
    "nobody"
)  # a name that is not known takes as long to refuse as a wrong password


class AccountError(BagscanError):
    """An account cannot be made or changed that way."""


class LogInError(BagscanError):
    """Name and password do not fit, or the account is locked or disabled."""


OF_KEY = select(accounts.c.id, accounts.c.name, accounts.c.role).join(
    api_keys, api_keys.c.account_id == accounts.c.id
)
OF_KEY = OF_KEY.where(
    api_keys.c.key_hash == bindparam("hash"),
    api_keys.c.revoked_at.is_(None),
    accounts.c.disabled.is_(False),
)


@dataclass(frozen=True)
class Principal:
    """Who asks. ``csrf`` is set for sessions, which must send their own token with every change."""

    id: int
    name: str
    role: str
    csrf: str | None = None

    def has_permission(self, permission: str) -> bool:
        """Whether the role holds a permission."""
        return permission in ROLES.get(self.role, frozenset())


def hashed(token: str) -> str:
    """What is kept of a random token: it cannot be turned back, and needs no salt, being random."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    """Argon2id of a password: slow on purpose, so it is done before a transaction begins.

    Raises:
        AccountError: too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= 256:
        raise AccountError(f"a password has {MIN_PASSWORD} to 256 characters")
    return _hasher.hash(password)


def create_account(
    connection: Connection,
    auditor: Auditor,
    by: str,
    name: str,
    role: str,
    password_hash: str | None,
) -> int:
    """Make an account; returns its id. Without a password it can use keys alone.

    Raises:
        AccountError: a name in use or not allowed, an unknown role.
    """
    if not NAME.fullmatch(name):
        raise AccountError(
            "a name has 1 to 64 letters, digits, dots, dashes, underscores or @, and starts with a letter or digit"
        )
    if role not in ROLES:
        raise AccountError(f"no role {role!r}; there are {', '.join(ROLES)}")
    if connection.execute(select(accounts.c.id).where(accounts.c.name == name)).first():
        raise AccountError(f"the name {name} is taken")
    values = {"name": name, "role": role, "password_hash": password_hash}
    made = connection.execute(
        insert(accounts).values(**values, failed=0, disabled=False, created_at=time.time())
    )
    auditor.append(connection, by, "account.create", name, {"role": role})
    return int(made.inserted_primary_key[0])  # type: ignore[index]


def change_account(
    connection: Connection,
    auditor: Auditor,
    by: str,
    account_id: int,
    role: str | None = None,
    password_hash: str | None = None,
    disabled: bool | None = None,
    unlock: bool = False,
) -> None:
    """Change role, password or state; a changed or disabled account's sessions end.

    Raises:
        AccountError: no such account or role, or no enabled admin would be left.
    """
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
    if row is None:
        raise AccountError(f"no account {account_id}")
    if role is not None and role not in ROLES:
        raise AccountError(f"no role {role!r}; there are {', '.join(ROLES)}")
    values: dict[str, Any] = {
        key: value
        for key, value in {"role": role, "disabled": disabled}.items()
        if value is not None
    }
    if password_hash is not None:
        values["password_hash"] = password_hash
    if unlock:
        values |= {"failed": 0, "locked_until": None}
    if not values:
        return
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(**values))
    left = connection.execute(
        select(func.count()).where(accounts.c.role == "admin", accounts.c.disabled.is_(False))
    ).scalar_one()
    if not left:
        raise AccountError("the last admin cannot be disabled or given another role")
    if values.keys() & {"role", "disabled", "password_hash"}:
        connection.execute(delete(sessions).where(sessions.c.account_id == account_id))
    result = (
        {key: value for key, value in values.items() if key in ("role", "disabled")}
        | ({"password": "changed"} if password_hash is not None else {})
        | ({"unlocked": True} if unlock else {})
    )
    auditor.append(connection, by, "account.change", row.name, result)


def log_in(
    store: Store, auditor: Auditor, config: ServiceConfig, name: str, password: str, now: float
) -> tuple[str, Principal]:
    """Check a password and start a session: (token, who). Every try is counted and recorded.

    Args:
        now: the service's own time (:meth:`bagscan.service.clock.Clock.now`), in seconds since 1970.

    Raises:
        LogInError: name and password do not fit, or the account is locked or disabled.
    """
    with store.read() as connection:
        row = connection.execute(
            select(accounts.c.password_hash).where(accounts.c.name == name)
        ).first()
    known = row is not None and row.password_hash is not None
    fits = is_password(row.password_hash if row is not None and known else _nobody, password)
    if not known:
        store.write(
            lambda connection: auditor.append(
                connection, "nobody", "login.fail", name, {"account": "unknown"}
            )
        )
        raise LogInError("wrong name or password")
    answer = store.write(lambda connection: _tried(connection, auditor, config, name, fits, now))
    if isinstance(answer, str):
        raise LogInError(answer)
    return answer


def _tried(
    connection: Connection,
    auditor: Auditor,
    config: ServiceConfig,
    name: str,
    fits: bool,
    now: float,
) -> tuple[str, Principal] | str:
    """Count a try: a session, or why there is none. A reason is returned, not raised, or its record would be undone."""
    row = connection.execute(select(accounts).where(accounts.c.name == name)).one()
    if row.locked_until and row.locked_until > now:
        auditor.append(connection, name, "login.fail", name, {"account": "locked"})
        return f"the account is locked for {(row.locked_until - now) / 60:.0f} more minutes after {config.lock_after} failed tries; an admin can unlock it"
    if not fits:
        failed = row.failed + 1
        locked = now + 60 * config.lock_minutes if failed >= config.lock_after else None
        connection.execute(
            update(accounts)
            .where(accounts.c.id == row.id)
            .values(failed=0 if locked else failed, locked_until=locked)
        )
        auditor.append(
            connection, name, "login.lock" if locked else "login.fail", name, {"tries": failed}
        )
        return "wrong name or password"
    if row.disabled:
        auditor.append(connection, name, "login.fail", name, {"account": "disabled"})
        return "the account is disabled"
    connection.execute(
        update(accounts).where(accounts.c.id == row.id).values(failed=0, locked_until=None)
    )
    auditor.append(connection, name, "login", name)
    return _start_session(connection, config, row.id, row.name, row.role, now)


def _start_session(
    connection: Connection, config: ServiceConfig, account_id: int, name: str, role: str, now: float
) -> tuple[str, Principal]:
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    connection.execute(delete(sessions).where(sessions.c.expires_at < now))
    values = {
        "token_hash": hashed(token),
        "account_id": account_id,
        "csrf": csrf,
        "created_at": now,
        "expires_at": now + 3600 * config.session_hours,
    }
    connection.execute(insert(sessions).values(**values))
    return token, Principal(account_id, name, role, csrf)


def log_out(connection: Connection, auditor: Auditor, token: str, who: Principal) -> None:
    """End a session."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == hashed(token)))
    auditor.append(connection, who.name, "logout", who.name)


def who_has_session(connection: Connection, token: str, now: float) -> Principal | None:
    """Whose session a token is, if it still runs at ``now`` of the service's own time."""
    found = select(accounts.c.id, accounts.c.name, accounts.c.role, sessions.c.csrf).join(
        sessions, sessions.c.account_id == accounts.c.id
    )
    row = connection.execute(
        found.where(
            sessions.c.token_hash == hashed(token),
            sessions.c.expires_at > now,
            accounts.c.disabled.is_(False),
        )
    ).first()
    return Principal(row.id, row.name, row.role, row.csrf) if row else None


def create_key(
    connection: Connection, auditor: Auditor, by: str, account_id: int, name: str
) -> tuple[int, str]:
    """A new key for an account: (number, key); the key is shown this once.

    Raises:
        AccountError: no such account.
    """
    account = connection.execute(select(accounts.c.name).where(accounts.c.id == account_id)).first()
    if account is None:
        raise AccountError(f"no account {account_id}")
    key = "bagscan_" + secrets.token_urlsafe(32)
    made = connection.execute(
        insert(api_keys).values(
            account_id=account_id, name=name[:64], key_hash=hashed(key), created_at=time.time()
        )
    )
    number = int(made.inserted_primary_key[0])  # type: ignore[index]
    auditor.append(connection, by, "key.create", account.name, {"key": number, "name": name[:64]})
    return number, key


def revoke_key(connection: Connection, auditor: Auditor, by: str, number: int) -> None:
    """Make a key worthless.

    Raises:
        AccountError: no such key.
    """
    done = connection.execute(
        update(api_keys)
        .where(api_keys.c.id == number, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=time.time())
    )
    if not done.rowcount:
        raise AccountError(f"no key {number} that is in use")
    auditor.append(connection, by, "key.revoke", str(number))


def who_has_key(connection: Connection, key: str) -> Principal | None:
    """Whose key it is, if it is in use."""
    row = connection.execute(OF_KEY, {"hash": hashed(key)}).first()
    return Principal(row.id, row.name, row.role) if row else None


def offer_setup(connection: Connection, now: float) -> str | None:
    """A one-time token with which the first admin is made; None once there is one.

    Args:
        now: the service's own time; the token is good for an hour from then.
    """
    if connection.execute(select(accounts.c.id).where(accounts.c.role == "admin")).first():
        return None
    token = secrets.token_urlsafe(24)
    connection.execute(delete(setup_tokens))
    connection.execute(
        insert(setup_tokens).values(token_hash=hashed(token), expires_at=now + SETUP_S)
    )
    return token


def set_up(
    connection: Connection,
    auditor: Auditor,
    config: ServiceConfig,
    token: str,
    name: str,
    password_hash: str,
    now: float,
) -> tuple[str, Principal]:
    """Make the first admin with a one-time token, and start a session.

    Args:
        now: the service's own time.

    Raises:
        LogInError: the token is wrong, used or too old. AccountError: as :func:`create_account`.
    """
    used = connection.execute(
        delete(setup_tokens).where(
            setup_tokens.c.token_hash == hashed(token), setup_tokens.c.expires_at > now
        )
    )
    if not used.rowcount:
        raise LogInError("this link was used, or is too old; start the service again for a new one")
    number = create_account(connection, auditor, "setup", name, "admin", password_hash)
    auditor.append(connection, name, "login", name)
    return _start_session(connection, config, number, name, "admin", now)


def is_password(password_hash: str, password: str) -> bool:
    """Whether a password is the one that a hash is of; slow on purpose."""
    try:
        return _hasher.verify(password_hash, password)
    except VerificationError:
        return False
