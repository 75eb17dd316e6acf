"""FastAPI application: routes, their permissions, and common response headers."""

from __future__ import annotations

import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bagscan import __version__
from bagscan.service.http import health, oversight, people, problems, scans, screening
from bagscan.service.http.problems import Problem, problem, unexpected_error
from bagscan.service.http.security import PAGE_HEADERS, anyone, refuse_open_routes
from bagscan.service.service import Service

ACCESS = logging.getLogger("bagscan.access")  # never logs bodies or queries
QUIET = ("/v1/health/live", "/v1/health/ready", "/metrics", "/v1/queue")  # polled by clients
BAD_REQUEST = 400
MAX_PATH = 200
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UPLOADS = ("/v1/screen", "/v1/jobs", "/v1/models")  # these have limits of their own
MAX_BODY_BYTES = 64 << 10
WEB = Path(__file__).parents[1] / "web"
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, what was expected, what to do"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
ABOUT = (
    "First-stage screening of X-ray scans, and the readers' queue. "
    "Errors are problem documents (RFC 9457). "
    "Every response has the headers X-Request-Id, X-Model-Id and X-Threshold. "
    "The latter two belong to the requested scan, or else to the active models."
)


def create_app(service: Service) -> FastAPI:
    """Create the application of a service. The caller starts and stops the service.

    Raises:
        RuntimeError: a route does not declare its permission.
    """
    # No interactive documentation, which would load scripts from other hosts.
    app = FastAPI(
        title="bagscan",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = service
    problems.install(app)
    for module in (screening, scans, people, oversight, health):
        # A flat list of routes, so that the permission of each can be checked.
        app.router.routes.extend(module.router.routes)

    @app.get("/", include_in_schema=False, dependencies=[anyone()])
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/v1/openapi.json", include_in_schema=False, dependencies=[anyone()])
    def openapi() -> dict[str, object]:
        return describe_api(app)

    app.mount("/static", StaticFiles(directory=WEB), name="static")
    refuse_open_routes(app)
    app.add_middleware(Around, service=service)
    return app


def describe_api(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with problem documents as the errors of all operations."""
    result = app.openapi()
    result["components"]["schemas"]["Problem"] = PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        result["components"]["schemas"].pop(unused, None)
    error_response = {
        "description": "A problem document (RFC 9457)",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = error_response
    return result


class Around:
    """Middleware that adds request id, model and security headers, metrics and an access log.

    It limits request bodies, except uploads, to ``MAX_BODY_BYTES``. It is plain ASGI for speed.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, responding, left = time.perf_counter(), 500, False, MAX_BODY_BYTES
        limited = scope["path"] not in UPLOADS
        request_id = scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex

        async def send_with_headers(message: Message) -> None:
            nonlocal status, responding
            if message["type"] == "http.response.start":
                status, responding = message["status"], True
                self._add_headers(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        async def receive_limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if limited and left < 0:  # before parsing and authentication
                raise Problem(413, f"the body exceeds the limit of {MAX_BODY_BYTES:,} bytes")
            return message

        length = Headers(scope=scope).get("content-length", "0")
        try:
            if limited and (not length.isdigit() or int(length) > MAX_BODY_BYTES):
                raise Problem(413, f"the body exceeds the limit of {MAX_BODY_BYTES:,} bytes")
            await self.app(scope, receive_limited, send_with_headers)
        except Exception as error:  # errors without a handler still become problem documents
            if responding:
                raise
            request = Request(scope)
            if isinstance(error, Problem):
                response = problem(request, error.status, error.detail)
            else:
                response = await unexpected_error(request, error)
            await response(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - started, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        """Update the metrics and write a line to the access log."""
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.service.metrics.requests.labels(route, method, status).inc()
        self.service.metrics.request_seconds.labels(route).observe(seconds)
        is_quiet = route in QUIET or scope["path"].startswith("/static/")
        level = logging.DEBUG if status < BAD_REQUEST and is_quiet else logging.INFO
        line = {
            "who": scope["state"].get("who") or "-",
            "method": method,
            "path": quote(scope["path"])[:MAX_PATH],
            "status": status,
            "ms": round(1000 * seconds),
            "request_id": request_id,
        }
        ACCESS.log(level, "%s", json.dumps(line))

    def _add_headers(self, headers: MutableHeaders, path: str, request_id: str) -> None:
        headers["X-Request-Id"] = request_id
        if "X-Model-Id" not in headers:
            headers["X-Model-Id"], headers["X-Threshold"] = self.service.active_models_header()
        for name, value in PAGE_HEADERS.items():
            headers.setdefault(name, value)
        if path.startswith("/v1"):
            headers.setdefault("Cache-Control", "no-store")
        elif path.startswith("/static"):
            # Revalidate, so that old and new scripts are not mixed after an upgrade.
            headers.setdefault("Cache-Control", "no-cache")
