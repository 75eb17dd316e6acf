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
from bagscan.service.review.queue import NotThere, NotYours
from bagscan.service.store.database import StoreError, StoreFull
from bagscan.workers.process import WorkerLost

log = logging.getLogger("bagscan.service")
RETRY_S = (
    1,
    4,
)  # by chance between these: those who are refused together must not come back together

# What each of our errors is over HTTP; the first that fits.
STATUS: list[tuple[type[Exception], int]] = [
    (LogInError, 401),
    (NotThere, 404),
    (UnknownModel, 404),
    (NotYours, 409),
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
    """One problem document."""
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
    headers = (
        {"Retry-After": str(random.randint(*RETRY_S))}
        if status in (429, 503)
        else {"WWW-Authenticate": "Bearer"}
        if status == 401
        else {}
    )
    return JSONResponse(body, status, headers, "application/problem+json")


async def unforeseen(request: Request, error: Exception) -> JSONResponse:
    """An error of the service itself: logged, and told without its innards."""
    log.exception("request %s failed", getattr(request.state, "request_id", "?"), exc_info=error)
    return problem(request, 500, "this should not have happened; the service's log tells more")


def install(app: FastAPI) -> None:
    """Turn every error of a request into a problem document."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, Problem):
            return problem(request, error.status, error.detail, **error.more)
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        return problem(request, status, str(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        errors = [
            {"at": ".".join(map(str, one["loc"])), "says": one["msg"]}
            for one in error.errors()[:20]
        ]
        return problem(
            request,
            422,
            "; ".join(f"{one['at']}: {one['says']}" for one in errors[:3]),
            errors=jsonable_encoder(errors),
        )

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return problem(request, error.status_code, str(error.detail))

    app.add_exception_handler(Problem, ours)
    for kind, _ in STATUS:
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(Exception, unforeseen)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
