"""Routes that scanners use: screen a scan, durable jobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection, select
from starlette.concurrency import run_in_threadpool

from bagscan.service.accounts import Who
from bagscan.service.http.bodies import files_body, files_of
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import Job, Screened
from bagscan.service.http.security import allow, service_of
from bagscan.service.inference.intake import checked_upload
from bagscan.service.service import Service
from bagscan.service.store.tables import jobs, results

router = APIRouter(prefix="/v1", tags=["screening"])
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=128, description="The same key with the same scan is the same job, however often it is sent")]
Scanner = Annotated[str, Query(max_length=64, description="Name of the machine; the account's own name by default")]
Name = Annotated[str, Query(max_length=120, description="File name, where the body is one file's bytes")]
LOOK_S = 5.0
BODY = files_body(one_file_alone=True)


@router.post("/screen", response_model=Screened, openapi_extra=BODY)
async def screen(request: Request, response: Response, key: Key = None, scanner: Scanner = "", name: Name = "scan.tif", who: Who = allow("screen")) -> Any:
    """Screen one bag and wait for what is found. Files of one bag: views as ``ID_below`` and ``ID_side``, 16-bit PNG sets as ``ID_low`` and so on.

    A scan that cannot be judged in time, or at all, comes back as REVIEW with the reason. 422: the files are no scan.
    """
    service = service_of(request)
    job_id, scan_id, _ = await _accepted(request, service, who, key, scanner, name)
    row = await _result(service, job_id, scan_id)
    if row.get("refused"):
        raise Problem(422, row["error"], scan_id=scan_id, decision="REVIEW")
    tell(response, row)
    return row


@router.post("/jobs", response_model=Job, status_code=202, openapi_extra=BODY)
async def create_job(request: Request, response: Response, key: Key = None, scanner: Scanner = "", name: Name = "scan.tif", who: Who = allow("screen")) -> Any:
    """Take one bag in; once this answers, it is on disk and will be judged, whatever happens to the service."""
    service = service_of(request)
    job_id, _, new = await _accepted(request, service, who, key, scanner, name)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    response.status_code = 202 if new else 200
    return await run_in_threadpool(_job, service, job_id, who)


@router.get("/jobs/{job_id}", response_model=Job)
def read_job(job_id: str, request: Request, response: Response, who: Who = allow("self")) -> Any:
    """A job, and what was found once it is done. Scanners see their own."""
    job = _job(service_of(request), job_id, who)
    if job["result"]:
        tell(response, job["result"])
    return job


def tell(response: Response, row: dict[str, Any]) -> None:
    """Model and threshold of a scan, as headers."""
    response.headers["X-Model-Id"] = str(row.get("model_id") or "none")
    response.headers["X-Threshold"] = str(row.get("threshold") if row.get("threshold") is not None else "none")


def result_row(connection: Connection, scan_id: str) -> dict[str, Any] | None:
    """A scan's row as it is answered, or None while it is not judged."""
    row = connection.execute(select(results.c.row, results.c.model_id, results.c.threshold).where(results.c.scan_id == scan_id)).first()
    if row is None:
        return None
    return {**row.row, "id": scan_id, "model_id": row.model_id, "threshold": row.threshold}


async def _accepted(request: Request, service: Service, who: Who, key: str | None, scanner: str, name: str) -> tuple[str, str, bool]:
    try:
        files = await files_of(request, name, service.config.max_upload_mb << 20)
        return await run_in_threadpool(lambda: service.take_in(checked_upload(files, scanner or who.name, f"api:{who.name}"), who.id, key))
    except Exception as error:
        service.metrics.refused.labels(type(error).__name__).inc()
        raise


async def _result(service: Service, job_id: str, scan_id: str) -> dict[str, Any]:
    """Wait until a job is done, and read it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    service.dispatcher.when_done(job_id, lambda: loop.call_soon_threadsafe(done.set))
    until = loop.time() + 3 * service.config.screen_timeout_s + 30
    try:
        while loop.time() < until:
            row = await run_in_threadpool(_read_row, service, scan_id)
            if row is not None:
                return row
            with contextlib.suppress(TimeoutError):  # another service on the same store may judge it: look now and then
                await asyncio.wait_for(done.wait(), LOOK_S)
    finally:
        service.dispatcher.forget(job_id)
    raise Problem(503, "the scan is kept and will be judged, but not soon: ask for its job", job=f"/v1/jobs/{job_id}")


def _read_row(service: Service, scan_id: str) -> dict[str, Any] | None:
    with service.store.read() as connection:
        return result_row(connection, scan_id)


def _job(service: Service, job_id: str, who: Who) -> dict[str, Any]:
    with service.store.read() as connection:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None or not (who.may("scan.read") or row.account_id == who.id):
            raise Problem(404, "no such job")
        found = result_row(connection, row.scan_id)
    return {key: getattr(row, key) for key in ("scan_id", "state", "attempts", "created_at", "finished_at")} | {"job_id": row.id, "result": found}
