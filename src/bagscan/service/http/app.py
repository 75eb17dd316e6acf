"""The application: routes, who may call them, what every answer carries."""

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
from bagscan.service.http.problems import Problem, problem, unforeseen
from bagscan.service.http.security import PAGE_HEADERS, anyone, refuse_open_routes
from bagscan.service.service import Service

ACCESS = logging.getLogger(
    "bagscan.access"
)  # who asked what and what came of it; bodies and queries are never logged
QUIET = ("/v1/health/live", "/v1/health/ready", "/metrics", "/v1/queue")  # asked every few seconds
BAD_REQUEST = 400
LONGEST_PATH = 200
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UPLOADS = ("/v1/screen", "/v1/jobs", "/v1/models")  # these have caps of their own
MAX_BODY_BYTES = 64 << 10
WEB = Path(__file__).parents[1] / "web"
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was expected, what came, what to do"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
ABOUT = (
    "First-stage screening of X-ray scans, and the readers' queue. Errors are RFC 9457 problem documents. "
    "Every answer carries X-Request-Id, X-Model-Id and X-Threshold: of the scan that it is about, or of what serves now."
)


def create_app(service: Service) -> FastAPI:
    """The application over a service; whoever calls this starts and stops the service.

    Raises:
        RuntimeError: a route names no permission.
    """
    # The interactive pages would load scripts from elsewhere.
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
    for room in (screening, scans, people, oversight, health):
        app.router.routes.extend(
            room.router.routes
        )  # side by side, so that each can be asked for its permission

    @app.get("/", include_in_schema=False, dependencies=[anyone()])
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/v1/openapi.json", include_in_schema=False, dependencies=[anyone()])
    def openapi() -> dict[str, object]:
        return described(app)

    app.mount("/static", StaticFiles(directory=WEB), name="static")
    refuse_open_routes(app)
    app.add_middleware(Around, service=service)
    return app


def described(app: FastAPI) -> dict[str, Any]:
    """The application in OpenAPI, with its errors as they are: problem documents, on every operation."""
    result = app.openapi()
    result["components"]["schemas"]["Problem"] = PROBLEM
    for wrong in ("HTTPValidationError", "ValidationError"):
        result["components"]["schemas"].pop(wrong, None)
    answer = {
        "description": "A problem document (RFC 9457)",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = answer
    return result


class Around:
    """Around every request: an id, what serves, headers that keep the page to itself, metrics. Plain ASGI: it costs next to nothing."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, begun, left = time.perf_counter(), 500, False, MAX_BODY_BYTES
        capped = scope["path"] not in UPLOADS
        request_id = scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex

        async def finish(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                self._complete(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if capped and left < 0:  # before anything is parsed, and whoever asks
                raise Problem(413, f"more than {MAX_BODY_BYTES:,} bytes")
            return message

        length = Headers(scope=scope).get("content-length", "0")
        try:
            if capped and (not length.isdigit() or int(length) > MAX_BODY_BYTES):
                raise Problem(413, f"more than {MAX_BODY_BYTES:,} bytes")
            await self.app(scope, limited, finish)
        except Exception as error:  # what no handler knows; the store may be gone, and an answer still has its form
            if begun:
                raise
            request = Request(scope)
            answer = (
                problem(request, error.status, error.detail)
                if isinstance(error, Problem)
                else await unforeseen(request, error)
            )
            await answer(scope, receive, finish)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.service.metrics.requests.labels(route, method, status).inc()
            seconds = time.perf_counter() - started
            self.service.metrics.request_seconds.labels(route).observe(seconds)
            who = scope["state"].get("who") or "-"
            level = (
                logging.DEBUG
                if status < BAD_REQUEST and (route in QUIET or scope["path"].startswith("/static/"))
                else logging.INFO
            )
            line = {
                "who": who,
                "method": method,
                "path": quote(scope["path"])[:LONGEST_PATH],
                "status": status,
                "ms": round(1000 * seconds),
                "request_id": request_id,
            }
            ACCESS.log(level, "%s", json.dumps(line))

    def _complete(self, headers: MutableHeaders, path: str, request_id: str) -> None:
        headers["X-Request-Id"] = request_id
        if "X-Model-Id" not in headers:
            headers["X-Model-Id"], headers["X-Threshold"] = self.service.serving_told()
        for name, value in PAGE_HEADERS.items():
            headers.setdefault(name, value)
        if path.startswith("/v1"):
            headers.setdefault("Cache-Control", "no-store")
        elif path.startswith("/static"):
            headers.setdefault(
                "Cache-Control", "no-cache"
            )  # asked for each time: after an upgrade old scripts must not meet new ones
