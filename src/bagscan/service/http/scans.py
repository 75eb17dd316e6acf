"""Routes of scans (results, pixels, regions, images) and of the readers' queue."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from sqlalchemy import Connection, select

from bagscan.service.http.pictures import overlay_svg, picture_png
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import (
    ArchiveQuery,
    Claim,
    Claimed,
    Decided,
    Decision,
    Decisions,
    Done,
    Queue,
    ScanDetails,
    ScanList,
)
from bagscan.service.http.screening import about, result_row, set_model_headers
from bagscan.service.http.security import allow, service_of
from bagscan.service.review import archive, queue
from bagscan.service.roles import Principal
from bagscan.service.store.database import StoreError
from bagscan.service.store.tables import jobs, results, reviews, scans

router = APIRouter(prefix="/v1", tags=["review"])
A_TAB = "Id of the browser tab; a claim belongs to the tab that made it"
Tab = Annotated[str, Header(alias="X-Tab", pattern="^[A-Za-z0-9-]{0,64}$", description=A_TAB)]
PACKED: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/octet-stream": {}},
        "description": "`BSP1`, length of a JSON header (uint32), the header, then the planes, "
        "little-endian; see docs/api.md",
    }
}


@router.get("/scans", response_model=ScanList)
def list_scans(
    request: Request, wanted: Annotated[ArchiveQuery, Query()], who: Principal = allow("statistics")
) -> dict[str, Any]:
    """Search the archive of scans, by default newest first."""
    with service_of(request).store.read() as connection:
        found, total = archive.find(connection, archive.Wanted(**wanted.model_dump()))
    return {"scans": found, "total": total}


@router.get("/scans/{scan_id}", response_model=ScanDetails)
def read_scan(
    scan_id: str, request: Request, response: Response, who: Principal = allow("self")
) -> dict[str, Any]:
    """Return a scan: its result, its views, and the decisions that this account can see."""
    with service_of(request).store.read() as connection:
        scan = _visible(connection, scan_id, who)
        row = result_row(connection, scan_id)
        query = select(results.c.artifacts).where(results.c.scan_id == scan_id)
        artifacts = connection.execute(query).scalar() or {}
        review = connection.execute(select(reviews).where(reviews.c.scan_id == scan_id)).first()
        decisions = []
        if who.has_permission("queue.read"):
            decisions = queue.seen_decisions(connection, who, scan_id)
    if row:
        set_model_headers(response, row)
    views = {
        name: {key: view.get(key) for key in ("height", "width", "channels")}
        | {
            kind: f"/v1/scans/{scan_id}/views/{name}/{kind}"
            for kind in ("pixels", "regions", "image.png", "overlay.svg")
        }
        for name, view in artifacts.items()
    }
    received = {
        "id": scan_id,
        "source_id": scan.source_id,
        "scanner": scan.scanner,
        "received_at": scan.received_at,
        "purged": scan.purged_at is not None,
    }
    state = outcome = claimed_until = None
    if review is not None:
        state = review.state if review.state in ("closed", "dispute") else "open"
        outcome = review.outcome
        now = service_of(request).clock.now()
        if review.claimed_by == who.id and (review.claimed_until or 0) > now:
            claimed_until = review.claimed_until
    return received | {
        "result": row,
        "views": views,
        "decisions": decisions,
        "review": state,
        "outcome": outcome,
        "claimed_until": claimed_until,
    }


@router.get("/scans/{scan_id}/views/{view_id}/pixels", responses=PACKED)
def pixels(
    scan_id: str, view_id: str, request: Request, who: Principal = allow("self")
) -> Response:
    """Return the counts of a view at full bit depth, packed."""
    return _packed(request, scan_id, view_id, "pixels", who)


@router.get("/scans/{scan_id}/views/{view_id}/regions", responses=PACKED)
def regions(
    scan_id: str, view_id: str, request: Request, who: Principal = allow("self")
) -> Response:
    """Return the regions of a view (uint16, 65535: none) and their scores (float32), packed."""
    return _packed(request, scan_id, view_id, "regions", who)


@router.get(
    "/scans/{scan_id}/views/{view_id}/image.png", responses={200: {"content": {"image/png": {}}}}
)
def image(scan_id: str, view_id: str, request: Request, who: Principal = allow("self")) -> Response:
    """Return a view as an 8-bit PNG."""
    content, row = _load(request, scan_id, view_id, "pixels", who)
    return Response(picture_png(content), media_type="image/png", headers=about(row._mapping))


@router.get(
    "/scans/{scan_id}/views/{view_id}/overlay.svg",
    responses={200: {"content": {"image/svg+xml": {}}}},
)
def overlay(
    scan_id: str, view_id: str, request: Request, who: Principal = allow("self")
) -> Response:
    """Return the contours of a view's regions: benign green and solid, anomalous red and dashed."""
    content, row = _load(request, scan_id, view_id, "regions", who)
    return Response(
        overlay_svg(content, 1.0 if row.threshold is None else row.threshold),
        media_type="image/svg+xml",
        headers=about(row._mapping),
    )


@router.get("/queue", response_model=Queue)
def read_queue(
    request: Request,
    limit: int = Query(100, ge=1, le=500),
    tab: Tab = "",
    who: Principal = allow("queue.read"),
) -> dict[str, Any]:
    """Return the queue of this account, most urgent first.

    It does not reveal which scans are test images or wait for a second reader.
    """
    service = service_of(request)
    with service.store.read() as connection:
        reader = queue.Reader(who, service.clock.now(), tab)
        entries = queue.waiting(connection, reader, limit)
        return {
            "scans": entries,
            "waiting": queue.count_waiting(connection, who),
            "now": time.time(),
        }


@router.post("/queue/claim", response_model=Claimed)
def claim(
    body: Claim, request: Request, tab: Tab = "", who: Principal = allow("decide")
) -> dict[str, Any]:
    """Lock the most urgent scan, or a given scan, for this account and tab.

    Repeat the request to keep the claim.
    """
    service = service_of(request)
    reader = queue.Reader(who, service.clock.now(), tab)
    wanted = (body.scan_id, body.take_over)
    scan_id = service.store.write(lambda c: queue.claim(c, service.config, reader, *wanted))
    return {"scan_id": scan_id, "claimed_until": reader.now + service.config.claim_s}


@router.post("/queue/{scan_id}/release", response_model=Done)
def release(
    scan_id: str, request: Request, tab: Tab = "", who: Principal = allow("decide")
) -> Done:
    """Release a claimed scan."""
    service = service_of(request)
    reader = queue.Reader(who, service.clock.now(), tab)
    service.store.write(lambda connection: queue.release(connection, reader, scan_id))
    return Done()


@router.get("/scans/{scan_id}/decisions", response_model=Decisions)
def read_decisions(
    scan_id: str, request: Request, response: Response, who: Principal = allow("queue.read")
) -> dict[str, Any]:
    """Return the decisions on a scan that this account can see.

    A second reader does not see the first decision.
    """
    with service_of(request).store.read() as connection:
        _visible(connection, scan_id, who)
        set_model_headers(response, result_row(connection, scan_id) or {})
        return {"decisions": queue.seen_decisions(connection, who, scan_id)}


@router.post(
    "/scans/{scan_id}/decisions",
    status_code=201,
    response_model=Decided,
    response_model_exclude_none=True,
)
def decide(
    scan_id: str,
    body: Decision,
    request: Request,
    response: Response,
    tab: Tab = "",
    who: Principal = allow("decide"),
) -> dict[str, Any]:
    """Decide on a claimed scan. The decision and its audit record are stored atomically."""
    service = service_of(request)
    reading = queue.Reading(
        body.value,
        body.reason,
        body.note,
        tuple(body.parts),
        tuple((mark.view_id, mark.box_xyxy) for mark in body.drawn),
    )
    reader = queue.Reader(who, service.clock.now(), tab)
    result = service.store.write(
        lambda c: queue.decide(c, service.config, service.auditor, reader, scan_id, reading)
    )
    service.metrics.decisions.labels(body.value).inc()
    with service.store.read() as connection:
        set_model_headers(response, result_row(connection, scan_id) or {})
        truth = None
        if service.truths:
            truth = service.truths.get(_visible(connection, scan_id, who).source_id)
    return result | {"truth": truth}


@router.delete("/scans/{scan_id}/decisions/{number}", response_model=Done)
def undo(
    scan_id: str, number: int, request: Request, tab: Tab = "", who: Principal = allow("decide")
) -> Done:
    """Undo a decision of this account within ``undo_s``. It stays on record as undone."""
    service = service_of(request)
    reader = queue.Reader(who, service.clock.now(), tab)
    service.store.write(
        lambda c: queue.undo(c, service.config, service.auditor, reader, scan_id, number)
    )
    return Done()


def _visible(connection: Connection, scan_id: str, who: Principal) -> Any:
    """Return the row of a scan. Readers can see all scans, scanners the scans that they sent.

    Raises:
        Problem: 404 if the scan does not exist or this account cannot see it.
    """
    row = connection.execute(
        select(scans, jobs.c.account_id)
        .join(jobs, jobs.c.scan_id == scans.c.id)
        .where(scans.c.id == scan_id)
    ).first()
    if row is None or not (
        who.has_permission("scan.read")
        or (who.has_permission("own.read") and row.account_id == who.id)
    ):
        raise Problem(404, "scan not found")
    return row


def _load(
    request: Request, scan_id: str, view_id: str, kind: str, who: Principal
) -> tuple[bytes, Any]:
    """Return the packed pixels or regions of a view, and the row of its result.

    Raises:
        Problem: 404 if they do not exist; 410 if they were removed; 500 if the file is unreadable.
    """
    service = service_of(request)
    with service.store.read() as connection:
        scan = _visible(connection, scan_id, who)
        row = connection.execute(
            select(results.c.artifacts, results.c.threshold, results.c.model_id).where(
                results.c.scan_id == scan_id
            )
        ).first()
    digest = (row.artifacts.get(view_id) or {}).get(kind) if row else None
    if digest is None:
        raise Problem(404, f"view {view_id!r} has no {kind}")
    if scan.purged_at is not None:
        raise Problem(410, "the images of this scan were removed by retention")
    try:
        return service.files.get(digest), row
    except StoreError as error:
        raise Problem(500, str(error)) from error


def _packed(request: Request, scan_id: str, view_id: str, kind: str, who: Principal) -> Response:
    content, row = _load(request, scan_id, view_id, kind, who)
    return Response(
        content,
        media_type="application/octet-stream",
        headers={"Content-Encoding": "gzip", **about(row._mapping)},
    )
