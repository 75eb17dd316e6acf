"""Authentication, and permissions of routes: a route that declares none is an error."""

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
from bagscan.service.http.problems import Problem
from bagscan.service.roles import Principal
from bagscan.service.service import Service

COOKIE = "bagscan_session"
CSRF = "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")
PUBLIC = "public"

# These declare the schemes in the API description; ``asking`` authenticates.
_bearer = HTTPBearer(auto_error=False, description="An API key")
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    description="A session; changes also need the header X-CSRF-Token",
)

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def service_of(request: Request) -> Service:
    """Return the service of the application."""
    service: Service = request.app.state.service
    return service


async def asking(
    request: Request, bearer: Any = Depends(_bearer), cookie: Any = Depends(_cookie)
) -> Principal | None:
    """Authenticate a request by API key or session; return None if it has neither.

    Raises:
        Problem: 401 for an invalid API key; 403 if a session changes something without its CSRF
            token.
    """
    service = service_of(request)
    header = request.headers.get("authorization", "")
    if header.lower().startswith("bearer "):
        who = await run_in_threadpool(_find, service, accounts.find_key, header[7:].strip())
        if who is None:
            raise Problem(401, "this API key is unknown or revoked")
        return who
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    who = await run_in_threadpool(_find_session, service, token)
    if who is not None and request.method not in SAFE:
        sent, expected = request.headers.get(CSRF, ""), who.csrf or ""
        if not hmac.compare_digest(sent.encode(), expected.encode()):
            raise Problem(403, f"the header {CSRF} is missing or wrong; send the session's token")
    return who


def _find(service: Service, find: Callable[..., Principal | None], token: str) -> Principal | None:
    with service.store.read() as connection:
        return find(connection, token)


def _find_session(service: Service, token: str) -> Principal | None:
    with service.store.read() as connection:
        return accounts.find_session(connection, token, service.clock.now())


def allow(permission: str) -> Any:
    """Return a dependency that requires a permission and declares it for the route."""

    async def check(
        request: Request, who: Annotated[Principal | None, Depends(asking)]
    ) -> Principal:
        if who is None:
            raise Problem(
                401,
                "log in, or send an API key (bagscan store account NAME --key KEY_NAME creates it)",
            )
        request.state.who = who.name
        if not who.has_permission(permission):
            raise Problem(403, f"the role {who.role} lacks the permission {permission}")
        return who

    check.permission = permission  # type: ignore[attr-defined]
    return Depends(check)


def anyone() -> Any:
    """Return a dependency that declares a route as public."""

    async def open_to_all() -> None:
        return None

    open_to_all.permission = PUBLIC  # type: ignore[attr-defined]
    return Depends(open_to_all)


def permission_of(route: APIRoute) -> str | None:
    """Return the permission that a route declares, or None."""
    permissions = [
        call.permission
        for dependency in route.dependant.dependencies
        if (call := dependency.call) is not None and hasattr(call, "permission")
    ]
    return str(permissions[0]) if permissions else None


def _is_static(route: BaseRoute) -> bool:
    return isinstance(route, Mount) and route.name == "static"


def refuse_open_routes(app: FastAPI) -> None:
    """Check that every route declares its permission.

    The only exception is the directory of the page's static files. Routes of unknown kinds are
    errors too.

    Raises:
        RuntimeError: some routes declare no permission; the message lists them.
    """
    undeclared = [
        getattr(route, "path", repr(route))
        for route in app.routes
        if not _is_static(route)
        and (not isinstance(route, APIRoute) or permission_of(route) is None)
    ]
    if undeclared:
        raise RuntimeError(f"routes without a declared permission: {', '.join(undeclared)}")
