"""Who asks, and whether they may: every route names a permission, and what names none is refused."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Mount

from bagscan.service import accounts
from bagscan.service.accounts import Principal
from bagscan.service.http.problems import Problem
from bagscan.service.service import Service

COOKIE = "bagscan_session"
CSRF = "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")
PUBLIC = "public"

# Declared for the API's description; the work is done in ``asking``.
_bearer = HTTPBearer(auto_error=False, description="An API key")
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description="A session; changes also need the header X-CSRF-Token",
)

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def service_of(request: Request) -> Service:
    """The service behind the application."""
    found: Service = request.app.state.service
    return found


async def asking(
    request: Request, bearer: Any = Depends(_bearer), cookie: Any = Depends(_cookie)
) -> Principal | None:
    """Who asks: by API key, or by session, which must send its own token with every change."""
    service = service_of(request)
    header = request.headers.get("authorization", "")
    if header.lower().startswith("bearer "):
        who = await run_in_threadpool(_read, service, accounts.who_has_key, header[7:].strip())
        if who is None:
            raise Problem(401, "this API key is unknown or revoked")
        return who
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    who = await run_in_threadpool(_session_of, service, token)
    if (
        who is not None
        and request.method not in SAFE
        and not hmac.compare_digest(
            request.headers.get(CSRF, "").encode(), (who.csrf or "").encode()
        )
    ):
        raise Problem(
            403, f"the header {CSRF} is missing or wrong: changes come from the page alone"
        )
    return who


def _read(service: Service, find: Callable[..., Principal | None], token: str) -> Principal | None:
    with service.store.read() as connection:
        return find(connection, token)


def _session_of(service: Service, token: str) -> Principal | None:
    with service.store.read() as connection:
        return accounts.who_has_session(connection, token, service.clock.now())


def allow(permission: str) -> Any:
    """A dependency that lets those with a permission through; the route is marked with it."""

    async def checked(
        request: Request, who: Annotated[Principal | None, Depends(asking)]
    ) -> Principal:
        if who is None:
            raise Problem(
                401,
                "log in, or send an API key (bagscan store account NAME --key KEY_NAME makes one)",
            )
        request.state.who = who.name
        if not who.has_permission(permission):
            raise Problem(403, f"the role {who.role} may not do this (it takes {permission})")
        return who

    checked.permission = permission  # type: ignore[attr-defined]
    return Depends(checked)


def anyone() -> Any:
    """A dependency that marks a route as open to all."""

    async def open_to_all() -> None:
        return None

    open_to_all.permission = PUBLIC  # type: ignore[attr-defined]
    return Depends(open_to_all)


def permission_of(route: APIRoute) -> str | None:
    """The permission that a route names, or None."""
    found = [
        call.permission
        for dependency in route.dependant.dependencies
        if (call := dependency.call) is not None and hasattr(call, "permission")
    ]
    return str(found[0]) if found else None


def _is_static(route: BaseRoute) -> bool:
    return isinstance(route, Mount) and route.name == "static"


def refuse_open_routes(app: FastAPI) -> None:
    """Deny by default: an application with a route that names no permission does not start.

    The page's files alone are open, as a folder; any other kind of route is refused too, as nothing is known of it.

    Raises:
        RuntimeError: naming the routes.
    """
    bare = [
        getattr(route, "path", repr(route))
        for route in app.routes
        if not _is_static(route)
        and (not isinstance(route, APIRoute) or permission_of(route) is None)
    ]
    if bare:
        raise RuntimeError(f"routes that name no permission: {', '.join(bare)}")
