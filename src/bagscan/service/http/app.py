"""The application: routes, who may call them, what every answer carries."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from bagscan import __version__
from bagscan.service.http import health, oversight, people, problems, scans, screening
from bagscan.service.http.security import PAGE_HEADERS, anyone, refuse_open_routes
from bagscan.service.service import Service

WEB = Path(__file__).parents[1] / "web"
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
    app = FastAPI(title="bagscan", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    problems.install(app)
    for room in (screening, scans, people, oversight, health):
        app.router.routes.extend(room.router.routes)  # side by side, so that each can be asked for its permission

    @app.get("/", include_in_schema=False, dependencies=[anyone()])
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/v1/openapi.json", include_in_schema=False, dependencies=[anyone()])
    def openapi() -> dict[str, object]:
        return app.openapi()

    app.mount("/static", StaticFiles(directory=WEB), name="static")
    refuse_open_routes(app)
    app.middleware("http")(_around)
    return app


async def _around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """A request id, what serves, headers that keep the page to itself, and the metrics."""
    service: Service = request.app.state.service
    started = time.perf_counter()
    request.state.request_id = uuid.uuid4().hex
    try:
        response = await call_next(request)
    except Exception as error:  # the handlers have seen to ours; this is what they do not know
        response = await problems.unforeseen(request, error)
    response.headers["X-Request-Id"] = request.state.request_id
    if "X-Model-Id" not in response.headers:
        model, threshold = service.serving_told()
        response.headers["X-Model-Id"], response.headers["X-Threshold"] = model, threshold
    for name, value in PAGE_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.path.startswith("/v1") and "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    route = request.scope.get("route")
    path = getattr(route, "path", "unknown")
    service.metrics.requests.labels(path, request.method, response.status_code).inc()
    service.metrics.request_seconds.labels(path).observe(time.perf_counter() - started)
    return response
