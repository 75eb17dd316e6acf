"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import logging
import random
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bagscan.core.errors import BagscanError, ModelError, ReadError
from bagscan.service.accounts import AccountError, LogInError
from bagscan.service.inference.intake import Busy, Conflict
from bagscan.service.inference.models import UnknownModel
from bagscan.service.review.queue import NotClaimedError, NotFoundError
from bagscan.service.store.database import StoreError, StoreFull
from bagscan.workers.process import WorkerLost

log = logging.getLogger("bagscan.service")
RETRY_S = (1, 4)  # Retry-After is random in this range, so that clients do not retry together

# HTTP status of each error class; the first match counts.
STATUS: list[tuple[type[Exception], int]] = [
    (LogInError, 401),
    (NotFoundError, 404),
    (UnknownModel, 404),
    (NotClaimedError, 409),
    (Conflict, 409),
    (AccountError, 422),
    (ReadError, 422),
    (ModelError, 422),
    (Busy, 429),
    (StoreFull, 507),
    (StoreError, 503),
    (WorkerLost, 503),
    (BagscanError, 500),
    (ValueError, 422),
]


class Problem(Exception):
    """HTTP error response (RFC 9457)."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more


def problem(request: Request, status: int, detail: str, **more: Any) -> JSONResponse:
    """Return a problem document as a response.

    Args:
        more: further fields of the document.
    """
    request_id = getattr(request.state, "request_id", None)
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": request_id,
        **more,
    }
    headers: dict[str, str] = {}
    if status in (429, 503):
        headers["Retry-After"] = str(random.randint(*RETRY_S))
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers, "application/problem+json")


async def unexpected_error(request: Request, error: Exception) -> JSONResponse:
    """Log an unexpected error and return a response without its details."""
    log.exception("request %s failed", getattr(request.state, "request_id", "?"), exc_info=error)
    return problem(request, 500, "unexpected error in the service; see its log")


def install(app: FastAPI) -> None:
    """Register handlers that turn every error into a problem document."""

    async def handle_known(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, Problem):
            return problem(request, error.status, error.detail, **error.more)
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        return problem(request, status, str(error))

    async def handle_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"at": ".".join(map(str, fault["loc"])), "says": fault["msg"]}
            for fault in error.errors()[:20]
        ]
        detail = "; ".join(f"{fault['at']}: {fault['says']}" for fault in errors[:3])
        return problem(request, 422, detail, errors=jsonable_encoder(errors))

    async def handle_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return problem(request, error.status_code, str(error.detail))

    app.add_exception_handler(Problem, handle_known)
    for kind, _ in STATUS:
        app.add_exception_handler(kind, handle_known)
    app.add_exception_handler(Exception, unexpected_error)
    app.add_exception_handler(RequestValidationError, handle_invalid)
    app.add_exception_handler(HTTPException, handle_http)
