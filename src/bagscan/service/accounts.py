"""Accounts of people and scanners: passwords (argon2id), sessions, API keys and roles."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from bagscan.core.errors import BagscanError
from bagscan.service.audit import Auditor
from bagscan.service.roles import ROLES as ROLES
from bagscan.service.roles import Principal as Principal
from bagscan.service.settings import ServiceConfig
from bagscan.service.store.database import Store
from bagscan.service.store.tables import accounts, api_keys, sessions, setup_tokens

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MIN_PASSWORD = 10
SETUP_S = 3600
_hasher = PasswordHasher()
# Verified for unknown names, so that they take as long to refuse as a wrong password.
_nobody = _hasher.hash("nobody")


class AccountError(BagscanError):
    """Invalid request to create or change an account or key."""


class LogInError(BagscanError):
    """Failed log-in or setup: wrong credentials, or a locked or disabled account."""


KEY_QUERY = select(accounts.c.id, accounts.c.name, accounts.c.role).join(
    api_keys, api_keys.c.account_id == accounts.c.id
)
KEY_QUERY = KEY_QUERY.where(
    api_keys.c.key_hash == bindparam("hash"),
    api_keys.c.revoked_at.is_(None),
    accounts.c.disabled.is_(False),
)


def hash_token(token: str) -> str:
    """Return the SHA-256 of a random token, as hexadecimal digits.

    Only the hash is stored. A random token needs no salt.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password.

    Hashing is slow by design: call this before a transaction begins.

    Raises:
        AccountError: the password is shorter than 10 or longer than 256 characters.
    """
    if not MIN_PASSWORD <= len(password) <= 256:
        raise AccountError(f"a password must have {MIN_PASSWORD} to 256 characters")
    return _hasher.hash(password)


def is_password(password_hash: str, password: str) -> bool:
    """Return True if a password matches its hash. Slow by design."""
    try:
        return _hasher.verify(password_hash, password)
    except VerificationError:
        return False


def create_account(
    connection: Connection,
    auditor: Auditor,
    by: str,
    name: str,
    role: str,
    password_hash: str | None,
) -> int:
    """Create an account and return its id. Without a password it can only use API keys.

    Raises:
        AccountError: the name is invalid or in use, or the role is unknown.
    """
    if not NAME.fullmatch(name):
        raise AccountError(
            "invalid account name; use 1 to 64 letters, digits, dots, dashes, underscores or @, "
            "beginning with a letter or digit"
        )
    _check_role(role)
    if connection.execute(select(accounts.c.id).where(accounts.c.name == name)).first():
        raise AccountError(f"the name {name} is taken; choose another")
    values = {"name": name, "role": role, "password_hash": password_hash}
    inserted = connection.execute(
        insert(accounts).values(**values, failed=0, disabled=False, created_at=time.time())
    )
    auditor.append(connection, by, "account.create", name, {"role": role})
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise AccountError(f"unknown role {role!r}; expected one of {', '.join(ROLES)}")


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
    """Change the role, password or state of an account; arguments that are None change nothing.

    A new role, password or state ends the account's sessions.

    Raises:
        AccountError: the account or role does not exist, or no enabled admin would be left.
    """
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
    if row is None:
        raise AccountError(f"account {account_id} does not exist")
    if role is not None:
        _check_role(role)
    values: dict[str, Any] = {"role": role, "disabled": disabled}
    values = {key: value for key, value in values.items() if value is not None}
    changes = dict(values)
    if password_hash is not None:
        values["password_hash"], changes["password"] = password_hash, "changed"
    if unlock:
        values |= {"failed": 0, "locked_until": None}
        changes["unlocked"] = True
    if not values:
        return
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(**values))
    admins = connection.execute(
        select(func.count()).where(accounts.c.role == "admin", accounts.c.disabled.is_(False))
    ).scalar_one()
    if not admins:
        raise AccountError("the last admin cannot be disabled or given another role")
    if values.keys() & {"role", "disabled", "password_hash"}:
        connection.execute(delete(sessions).where(sessions.c.account_id == account_id))
    auditor.append(connection, by, "account.change", row.name, changes)


def log_in(
    store: Store, auditor: Auditor, config: ServiceConfig, name: str, password: str, now: float
) -> tuple[str, Principal]:
    """Check a password and start a session. Every attempt is counted and audited.

    Args:
        now: service time (:meth:`bagscan.service.clock.Clock.now`), in seconds since 1970.

    Returns:
        Session token, and the account with its CSRF token.

    Raises:
        LogInError: name or password is wrong, or the account is locked or disabled.
    """
    with store.read() as connection:
        row = connection.execute(
            select(accounts.c.password_hash).where(accounts.c.name == name)
        ).first()
    has_password = row is not None and row.password_hash is not None
    stored_hash = row.password_hash if row is not None and has_password else _nobody
    matches = is_password(stored_hash, password)
    if not has_password:
        store.write(
            lambda c: auditor.append(c, "nobody", "login.fail", name, {"account": "unknown"})
        )
        raise LogInError("wrong name or password")
    result = store.write(lambda c: _count_attempt(c, auditor, config, name, matches, now))
    if isinstance(result, str):
        raise LogInError(result)
    return result


def _count_attempt(
    connection: Connection,
    auditor: Auditor,
    config: ServiceConfig,
    name: str,
    matches: bool,
    now: float,
) -> tuple[str, Principal] | str:
    """Count a log-in attempt; return a new session, or the reason for a refusal.

    The reason is returned, since an exception would roll back its audit record.
    """
    row = connection.execute(select(accounts).where(accounts.c.name == name)).one()
    if row.locked_until and row.locked_until > now:
        auditor.append(connection, name, "login.fail", name, {"account": "locked"})
        return (
            f"the account is locked for {(row.locked_until - now) / 60:.0f} more minutes "
            f"after {config.lock_after} failed attempts; an admin can unlock it"
        )
    if not matches:
        failed = row.failed + 1
        locked = now + 60 * config.lock_minutes if failed >= config.lock_after else None
        connection.execute(
            update(accounts)
            .where(accounts.c.id == row.id)
            .values(failed=0 if locked else failed, locked_until=locked)
        )
        action = "login.lock" if locked else "login.fail"
        auditor.append(connection, name, action, name, {"tries": failed})
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
        "token_hash": hash_token(token),
        "account_id": account_id,
        "csrf": csrf,
        "created_at": now,
        "expires_at": now + 3600 * config.session_hours,
    }
    connection.execute(insert(sessions).values(**values))
    return token, Principal(account_id, name, role, csrf)


def log_out(connection: Connection, auditor: Auditor, token: str, who: Principal) -> None:
    """End a session."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == hash_token(token)))
    auditor.append(connection, who.name, "logout", who.name)


def find_session(connection: Connection, token: str, now: float) -> Principal | None:
    """Return the account of a session that has not expired at service time ``now``, or None."""
    query = select(accounts.c.id, accounts.c.name, accounts.c.role, sessions.c.csrf).join(
        sessions, sessions.c.account_id == accounts.c.id
    )
    row = connection.execute(
        query.where(
            sessions.c.token_hash == hash_token(token),
            sessions.c.expires_at > now,
            accounts.c.disabled.is_(False),
        )
    ).first()
    return Principal(row.id, row.name, row.role, row.csrf) if row else None


def create_key(
    connection: Connection, auditor: Auditor, by: str, account_id: int, name: str
) -> tuple[int, str]:
    """Create an API key; return its number and the key, which is not stored.

    Raises:
        AccountError: the account does not exist.
    """
    account = connection.execute(select(accounts.c.name).where(accounts.c.id == account_id)).first()
    if account is None:
        raise AccountError(f"account {account_id} does not exist")
    key = "bagscan_" + secrets.token_urlsafe(32)
    inserted = connection.execute(
        insert(api_keys).values(
            account_id=account_id, name=name[:64], key_hash=hash_token(key), created_at=time.time()
        )
    )
    number = int(inserted.inserted_primary_key[0])  # type: ignore[index]
    auditor.append(connection, by, "key.create", account.name, {"key": number, "name": name[:64]})
    return number, key


def revoke_key(connection: Connection, auditor: Auditor, by: str, number: int) -> None:
    """Revoke an API key.

    Raises:
        AccountError: the key does not exist or is already revoked.
    """
    revoked = connection.execute(
        update(api_keys)
        .where(api_keys.c.id == number, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=time.time())
    )
    if not revoked.rowcount:
        raise AccountError(f"key {number} does not exist or is already revoked")
    auditor.append(connection, by, "key.revoke", str(number))


def find_key(connection: Connection, key: str) -> Principal | None:
    """Return the enabled account of an API key, or None if the key is unknown or revoked."""
    row = connection.execute(KEY_QUERY, {"hash": hash_token(key)}).first()
    return Principal(row.id, row.name, row.role) if row else None


def offer_setup(connection: Connection, now: float) -> str | None:
    """Create a one-time token for the first admin, valid for an hour; None if an admin exists."""
    if connection.execute(select(accounts.c.id).where(accounts.c.role == "admin")).first():
        return None
    token = secrets.token_urlsafe(24)
    connection.execute(delete(setup_tokens))
    connection.execute(
        insert(setup_tokens).values(token_hash=hash_token(token), expires_at=now + SETUP_S)
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
    """Create the first admin with a one-time token and start a session, as :func:`log_in` does.

    Raises:
        LogInError: the token is wrong, used or expired.
        AccountError: the name is invalid or in use.
    """
    used = connection.execute(
        delete(setup_tokens).where(
            setup_tokens.c.token_hash == hash_token(token), setup_tokens.c.expires_at > now
        )
    )
    if not used.rowcount:
        raise LogInError("this setup link is used or expired; restart the service for a new one")
    number = create_account(connection, auditor, "setup", name, "admin", password_hash)
    auditor.append(connection, name, "login", name)
    return _start_session(connection, config, number, name, "admin", now)
