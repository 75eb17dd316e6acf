"""Routes of accounts, sessions and API keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import Connection, select
from starlette.concurrency import run_in_threadpool

from bagscan.service import accounts
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import (
    Account,
    AccountChange,
    AccountList,
    Done,
    KeyMade,
    KeyName,
    LogIn,
    Made,
    Me,
    Password,
    SetUp,
)
from bagscan.service.http.security import COOKIE, allow, anyone, asking, service_of
from bagscan.service.inference.intake import Busy
from bagscan.service.review.queue import REASONS
from bagscan.service.roles import ROLES, Principal
from bagscan.service.service import Service
from bagscan.service.store import tables

router = APIRouter(prefix="/v1", tags=["accounts"])
T = TypeVar("T")
MAX_WAITING = 30


@router.post("/setup", status_code=201, response_model=Me, dependencies=[anyone()])
async def set_up(body: SetUp, request: Request, response: Response) -> dict[str, Any]:
    """Create the first admin with the one-time token that the service prints at its start."""
    service = service_of(request)
    password_hash = await slowly(service, accounts.hash_password, body.password)
    token, who = await run_in_threadpool(
        service.store.write,
        lambda connection: accounts.set_up(
            connection,
            service.auditor,
            service.config,
            body.token,
            body.name,
            password_hash,
            service.clock.now(),
        ),
    )
    return _set_cookie(service, response, token, who)


@router.post("/sessions", status_code=201, response_model=Me, dependencies=[anyone()])
async def log_in(body: LogIn, request: Request, response: Response) -> dict[str, Any]:
    """Log in: set the session cookie, and return the CSRF token that changes must send."""
    service = service_of(request)
    token, who = await slowly(
        service,
        accounts.log_in,
        service.store,
        service.auditor,
        service.config,
        body.name,
        body.password,
        service.clock.now(),
    )
    return _set_cookie(service, response, token, who)


@router.delete("/sessions", response_model=Done)
def log_out(request: Request, response: Response, who: Principal = allow("self")) -> Done:
    """Log out."""
    service = service_of(request)
    token = request.cookies.get(COOKIE)
    if token:
        service.store.write(
            lambda connection: accounts.log_out(connection, service.auditor, token, who)
        )
    response.delete_cookie(COOKIE)
    return Done()


@router.get("/me", response_model=Me, dependencies=[anyone()])
def me(
    request: Request, who: Annotated[Principal | None, Depends(asking)] = None
) -> dict[str, Any]:
    """Return the account of the request, and the settings that the page needs."""
    return _describe(service_of(request), who) if who else {"name": None}


@router.put("/me/password", response_model=Done)
async def change_password(body: Password, request: Request, who: Principal = allow("self")) -> Done:
    """Change the password of this account and end all its sessions."""
    service = service_of(request)
    password_hash = await slowly(service, accounts.hash_password, body.new)
    await slowly(
        service,
        accounts.log_in,
        service.store,
        service.auditor,
        service.config,
        who.name,
        body.old,
        service.clock.now(),
    )
    await run_in_threadpool(
        service.store.write,
        lambda connection: accounts.change_account(
            connection, service.auditor, who.name, who.id, password_hash=password_hash
        ),
    )
    return Done()


@router.get("/accounts", response_model=AccountList)
def list_accounts(request: Request, who: Principal = allow("accounts")) -> dict[str, Any]:
    """List all accounts and their API keys, without secrets."""
    account, api_key = tables.accounts.c, tables.api_keys.c
    account_fields = ("id", "name", "role", "disabled", "locked_until", "created_at")
    key_fields = ("id", "account_id", "name", "created_at", "revoked_at")
    all_accounts = select(*(account[name] for name in account_fields)).order_by(account.name)
    all_keys = select(*(api_key[name] for name in key_fields))
    with service_of(request).store.read() as connection:
        people = [dict(row) for row in connection.execute(all_accounts).mappings()]
        keys = [dict(row) for row in connection.execute(all_keys).mappings()]
    for person in people:
        person["keys"] = [key for key in keys if key["account_id"] == person["id"]]
    return {"accounts": people}


@router.post("/accounts", status_code=201, response_model=Made)
async def create_account(
    body: Account, request: Request, who: Principal = allow("accounts")
) -> dict[str, Any]:
    """Create an account."""
    service = service_of(request)
    password_hash = await _hash(service, body.password)
    number = await run_in_threadpool(
        service.store.write,
        lambda connection: accounts.create_account(
            connection, service.auditor, who.name, body.name, body.role, password_hash
        ),
    )
    return {"id": number}


@router.patch("/accounts/{account_id}", response_model=Done)
async def change_account(
    account_id: int, body: AccountChange, request: Request, who: Principal = allow("accounts")
) -> Done:
    """Change the role, password or state of an account, or unlock it."""
    service = service_of(request)
    password_hash = await _hash(service, body.password)

    def change(connection: Connection) -> None:
        accounts.change_account(
            connection,
            service.auditor,
            who.name,
            account_id,
            body.role,
            password_hash,
            body.disabled,
            body.unlock,
        )

    await run_in_threadpool(service.store.write, change)
    return Done()


@router.post("/accounts/{account_id}/keys", status_code=201, response_model=KeyMade)
def create_key(
    account_id: int, body: KeyName, request: Request, who: Principal = allow("accounts")
) -> dict[str, Any]:
    """Create an API key for an account. The key is returned only once."""
    service = service_of(request)
    number, key = service.store.write(
        lambda connection: accounts.create_key(
            connection, service.auditor, who.name, account_id, body.name
        )
    )
    return {"id": number, "key": key}


@router.delete("/keys/{number}", response_model=Done)
def revoke_key(number: int, request: Request, who: Principal = allow("accounts")) -> Done:
    """Revoke an API key."""
    service = service_of(request)
    service.store.write(
        lambda connection: accounts.revoke_key(connection, service.auditor, who.name, number)
    )
    return Done()


async def slowly(service: Service, work: Callable[..., T], *arguments: Any) -> T:
    """Run password hashing in its own threads, two at a time, so that log-ins do not delay scans.

    Raises:
        Busy: ``MAX_WAITING`` calls are already waiting.
    """
    if service.passwords.statistics().tasks_waiting >= MAX_WAITING:
        raise Busy("too many simultaneous log-ins; try again")
    return await to_thread.run_sync(work, *arguments, limiter=service.passwords)


async def _hash(service: Service, password: str | None) -> str | None:
    return None if password is None else await slowly(service, accounts.hash_password, password)


def _set_cookie(service: Service, response: Response, token: str, who: Principal) -> dict[str, Any]:
    if who.csrf is None:
        raise Problem(500, "the session has no CSRF token")
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(3600 * service.config.session_hours),
        httponly=True,
        samesite="strict",
        secure=service.config.secure_cookie,
    )
    return _describe(service, who)


def _describe(service: Service, who: Principal) -> dict[str, Any]:
    config = service.config
    return {
        "name": who.name,
        "role": who.role,
        "permissions": sorted(ROLES.get(who.role, ())),
        "csrf": who.csrf,
        "reasons": REASONS,
        "claim_s": config.claim_s,
        "undo_s": config.undo_s,
    }
