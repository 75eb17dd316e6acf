"""Routes for scanners: screen a scan, and durable jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection, select
from starlette.concurrency import run_in_threadpool

from bagscan.service.http.bodies import files_body, files_of
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import Job, Screened
from bagscan.service.http.security import allow, service_of
from bagscan.service.inference.intake import Busy, checked_upload, new_id
from bagscan.service.inference.jobs import response_row
from bagscan.service.roles import Principal
from bagscan.service.service import Service
from bagscan.service.store.tables import jobs, results

router = APIRouter(prefix="/v1", tags=["screening"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="A repeated request with the same key and scan returns the same job",
    ),
]
Scanner = Annotated[
    str,
    Query(
        max_length=64,
        pattern="^[^\\x00]*$",
        description="Name of the scanner; the name of the account by default",
    ),
]
Name = Annotated[
    str, Query(max_length=120, description="File name, if the body is the bytes of a single file")
]
LOOK_S = 5.0
AGAIN_S = 0.1
BODY = files_body(one_file_alone=True)


@router.post("/screen", response_model=Screened, openapi_extra=BODY)
async def screen(
    request: Request,
    response: Response,
    key: Key = None,
    scanner: Scanner = "",
    name: Name = "scan.tif",
    who: Principal = allow("screen"),
) -> Any:
    """Screen one bag and wait for the result.

    Views of a bag are named ``ID_below`` and ``ID_side``, a 16-bit PNG set ``ID_low``, ``ID_high``
    and ``ID_zeff``. A scan that cannot be screened, or not in time, is REVIEW with the reason.
    422: the files are not a scan, or damaged. If they were stored, the problem document has their
    ``scan_id``, and a reader reviews them as REVIEW.
    """
    service = service_of(request)
    async with _limit_requests(request, service):
        row = await _screen(request, service, who, key, scanner, name)
    if row.get("refused"):
        raise Problem(422, row["error"], scan_id=row["id"], decision="REVIEW")
    set_model_headers(response, row)
    return row


@router.post("/jobs", response_model=Job, status_code=202, openapi_extra=BODY)
async def create_job(
    request: Request,
    response: Response,
    key: Key = None,
    scanner: Scanner = "",
    name: Name = "scan.tif",
    who: Principal = allow("screen"),
) -> Any:
    """Submit one bag as a job. After this response it is on disk and will be screened."""
    service = service_of(request)
    async with _limit_requests(request, service):
        job_id, _, new = await _accept(request, service, who, key, scanner, name)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.status_code = 202 if new else 200
    job = await run_in_threadpool(_load_job, service, job_id, who)
    if job["result"]:
        set_model_headers(response, job["result"])
    return job


@router.get("/jobs/{job_id}", response_model=Job)
def read_job(
    job_id: str, request: Request, response: Response, who: Principal = allow("self")
) -> Any:
    """Return a job, with its result once it is done. Scanners can see their own jobs."""
    job = _load_job(service_of(request), job_id, who)
    if job["result"]:
        set_model_headers(response, job["result"])
    return job


def about(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers with model and threshold of a result."""
    threshold = row.get("threshold")
    return {
        "X-Model-Id": str(row.get("model_id") or "none"),
        "X-Threshold": "none" if threshold is None else str(threshold),
    }


def set_model_headers(response: Response, row: Mapping[str, Any]) -> None:
    """Add the headers of :func:`about` to a response."""
    response.headers.update(about(row))


def result_row(connection: Connection, scan_id: str) -> dict[str, Any] | None:
    """Return the result of a scan as in a response; None before it is screened."""
    row = connection.execute(select(results.c.row).where(results.c.scan_id == scan_id)).scalar()
    return None if row is None else response_row(scan_id, row)


@contextlib.asynccontextmanager
async def _limit_requests(request: Request, service: Service) -> AsyncIterator[None]:
    """Limit the number of simultaneous uploads.

    Raises:
        Busy: ``max_waiting`` requests are in progress.
    """
    if service.requests_in_progress >= service.config.max_waiting:
        service.metrics.refused.labels("Busy").inc()
        # Discard the body: a client that is still sending might not read the response.
        async for _ in request.stream():
            pass
        raise Busy(f"too many requests in progress ({service.requests_in_progress}); try again")
    service.requests_in_progress += 1
    try:
        yield
    finally:
        service.requests_in_progress -= 1


async def _accept(
    request: Request,
    service: Service,
    who: Principal,
    key: str | None,
    scanner: str,
    name: str,
    job_id: str | None = None,
) -> tuple[str, str, bool]:
    """Store the files of a request as a job; return job id, scan id, and True for a new job."""
    try:
        files = await files_of(request, name, service.config.max_upload_mb << 20)
        return await run_in_threadpool(
            lambda: service.intake.take_in(
                checked_upload(files, scanner or who.name, f"api:{who.name}"), who.id, key, job_id
            )
        )
    except Exception as error:
        service.metrics.refused.labels(type(error).__name__).inc()
        raise


async def _screen(
    request: Request, service: Service, who: Principal, key: str | None, scanner: str, name: str
) -> dict[str, Any]:
    """Accept a scan and wait for its result.

    Raises:
        Problem: 503 if the scan is not screened in time; it stays in the queue.
    """
    loop, job_id = asyncio.get_running_loop(), new_id()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()
    service.dispatcher.when_done(job_id, lambda row: loop.call_soon_threadsafe(_settle, done, row))
    try:
        stored_id, scan_id, new = await _accept(request, service, who, key, scanner, name, job_id)
        until = loop.time() + 3 * service.config.screen_timeout_s + 30
        while loop.time() < until:
            if new and not done.done():
                # Wait for a limited time: another service on the same store may screen the scan.
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(done), LOOK_S)
            if done.done():
                row: dict[str, Any] | None = done.result()
            else:
                row = await run_in_threadpool(_read_row, service, scan_id)
            if row is not None:
                return row
            await asyncio.sleep(0 if new else AGAIN_S)
    finally:
        service.dispatcher.forget(job_id)
    raise Problem(
        503,
        "the scan is stored, but screening is delayed; ask for its job later",
        job=f"/v1/jobs/{stored_id}",
    )


def _settle(done: asyncio.Future[dict[str, Any]], row: dict[str, Any]) -> None:
    if not done.done():
        done.set_result(row)


def _read_row(service: Service, scan_id: str) -> dict[str, Any] | None:
    with service.store.read() as connection:
        return result_row(connection, scan_id)


def _load_job(service: Service, job_id: str, who: Principal) -> dict[str, Any]:
    """Return a job and its result.

    Raises:
        Problem: 404 if the job does not exist or this account cannot see it.
    """
    with service.store.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None or not (who.has_permission("scan.read") or row.account_id == who.id):
            raise Problem(404, "job not found")
        result = result_row(connection, row.scan_id)
    fields = ("scan_id", "state", "attempts", "created_at", "finished_at")
    job = {key: getattr(row, key) for key in fields}
    return job | {"job_id": row.id, "result": result}
