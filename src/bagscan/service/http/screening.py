"""Routes that scanners use: screen a scan, durable jobs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection, select
from starlette.concurrency import run_in_threadpool

from bagscan.service.accounts import Principal
from bagscan.service.http.bodies import files_body, files_of
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import Job, Screened
from bagscan.service.http.security import allow, service_of
from bagscan.service.inference.intake import Busy, checked_upload, new_id
from bagscan.service.inference.jobs import answered_row
from bagscan.service.service import Service
from bagscan.service.store.tables import jobs, results

router = APIRouter(prefix="/v1", tags=["screening"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="The same key with the same scan is the same job, however often it is sent",
    ),
]
Scanner = Annotated[
    str,
    Query(
        max_length=64,
        pattern="^[^\\x00]*$",
        description="Name of the machine; the account's own name by default",
    ),
]
Name = Annotated[
    str, Query(max_length=120, description="File name, where the body is one file's bytes")
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
    """Screen one bag and wait for what is found. Files of one bag: views as ``ID_below`` and ``ID_side``, 16-bit PNG sets as ``ID_low`` and so on.

    A scan that cannot be judged in time, or at all, comes back as REVIEW with the reason. 422: the files are no scan, or a torn one;
    where the store has taken them in, the problem carries their scan_id, and they wait for a reviewer as REVIEW like any other.
    """
    service = service_of(request)
    async with _admitted(request, service):
        row = await _screened(request, service, who, key, scanner, name)
    if row.get("refused"):
        raise Problem(422, row["error"], scan_id=row["id"], decision="REVIEW")
    tell(response, row)
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
    """Take one bag in; once this answers, it is on disk and will be judged, whatever happens to the service."""
    service = service_of(request)
    async with _admitted(request, service):
        job_id, _, new = await _accepted(request, service, who, key, scanner, name)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.status_code = 202 if new else 200
    job = await run_in_threadpool(_job, service, job_id, who)
    if job["result"]:
        tell(response, job["result"])
    return job


@router.get("/jobs/{job_id}", response_model=Job)
def read_job(
    job_id: str, request: Request, response: Response, who: Principal = allow("self")
) -> Any:
    """A job, and what was found once it is done. Scanners see their own."""
    job = _job(service_of(request), job_id, who)
    if job["result"]:
        tell(response, job["result"])
    return job


def about(row: Mapping[str, Any]) -> dict[str, str]:
    """Model and threshold of a scan, as headers."""
    threshold = row.get("threshold")
    return {
        "X-Model-Id": str(row.get("model_id") or "none"),
        "X-Threshold": "none" if threshold is None else str(threshold),
    }


def tell(response: Response, row: Mapping[str, Any]) -> None:
    """Put :func:`about` into an answer."""
    response.headers.update(about(row))


def result_row(connection: Connection, scan_id: str) -> dict[str, Any] | None:
    """A scan's row as it is answered, or None while it is not judged."""
    row = connection.execute(select(results.c.row).where(results.c.scan_id == scan_id)).scalar()
    return None if row is None else answered_row(scan_id, row)


@contextlib.asynccontextmanager
async def _admitted(request: Request, service: Service) -> AsyncIterator[None]:
    """Bound what is read and waited for at once: what is over it is refused before it costs memory or anybody's time.

    Raises:
        Busy: as many requests are on their way as may be.
    """
    if service.requests_on_their_way >= service.config.max_waiting:
        service.metrics.refused.labels("Busy").inc()
        async for _ in (
            request.stream()
        ):  # thrown away: a connection that is cut while it sends may never read the answer
            pass
        raise Busy(f"{service.requests_on_their_way} requests are on their way, as many as may be")
    service.requests_on_their_way += 1
    try:
        yield
    finally:
        service.requests_on_their_way -= 1


async def _accepted(
    request: Request,
    service: Service,
    who: Principal,
    key: str | None,
    scanner: str,
    name: str,
    job_id: str | None = None,
) -> tuple[str, str, bool]:
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


async def _screened(
    request: Request, service: Service, who: Principal, key: str | None, scanner: str, name: str
) -> dict[str, Any]:
    """Accept a scan, and wait for its row."""
    loop, job_id = asyncio.get_running_loop(), new_id()
    done: asyncio.Future[dict[str, Any]] = loop.create_future()
    service.dispatcher.when_done(job_id, lambda row: loop.call_soon_threadsafe(_settle, done, row))
    try:
        told_id, scan_id, new = await _accepted(request, service, who, key, scanner, name, job_id)
        until = loop.time() + 3 * service.config.screen_timeout_s + 30
        while loop.time() < until:
            if (
                new and not done.done()
            ):  # another service on the same store may be the one that judges it: look now and then
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(done), LOOK_S)
            row = (
                done.result()
                if done.done()
                else await run_in_threadpool(_read_row, service, scan_id)
            )
            if row is not None:
                return row
            await asyncio.sleep(0 if new else AGAIN_S)
    finally:
        service.dispatcher.forget(job_id)
    raise Problem(
        503,
        "the scan is kept and will be judged, but not soon: ask for its job",
        job=f"/v1/jobs/{told_id}",
    )


def _settle(done: asyncio.Future[dict[str, Any]], row: dict[str, Any]) -> None:
    if not done.done():
        done.set_result(row)


def _read_row(service: Service, scan_id: str) -> dict[str, Any] | None:
    with service.store.read() as connection:
        return result_row(connection, scan_id)


def _job(service: Service, job_id: str, who: Principal) -> dict[str, Any]:
    with service.store.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None or not (who.has_permission("scan.read") or row.account_id == who.id):
            raise Problem(404, "no such job")
        found = result_row(connection, row.scan_id)
    return {
        key: getattr(row, key)
        for key in ("scan_id", "state", "attempts", "created_at", "finished_at")
    } | {"job_id": row.id, "result": found}
