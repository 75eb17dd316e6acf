"""Routes for machines that watch: alive, ready, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select

from bagscan import __version__
from bagscan.service.accounts import Principal
from bagscan.service.http.problems import problem
from bagscan.service.http.schemas import Live, Ready
from bagscan.service.http.security import allow, anyone, service_of
from bagscan.service.inference.models import place_of, runtime_here, serving
from bagscan.service.review.queue import count_open
from bagscan.service.store import tables

router = APIRouter(tags=["health"])


@router.get("/v1/health/live", response_model=Live, dependencies=[anyone()])
def live() -> dict[str, Any]:
    """Whether the service runs."""
    return {"live": True, "bagscan": __version__}


@router.get("/v1/health/ready", response_model=Ready, dependencies=[anyone()])
def ready(request: Request) -> Any:
    """Whether it can screen: the store answers and takes writes, and a worker has passed its warm-up screening. 503 otherwise."""
    service = service_of(request)
    if trouble := service.trouble():
        return problem(request, 503, trouble)
    with service.store.read() as connection:
        active = serving(connection)
    kept = service.config.models_folder
    models = [
        {
            "channels": one.channels,
            "model_id": one.model_id,
            "threshold": one.threshold,
            "runtime": runtime_here(place_of(one.folder, kept), one.model_id),
        }
        for one in active
    ]
    return {"ready": True, "models": models}


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, who: Principal = allow("metrics")) -> Response:
    """Prometheus' text format; any API key or supervisor may read it."""
    service = service_of(request)
    with service.store.read() as connection:
        service.metrics.waiting.set(
            connection.execute(
                select(func.count()).where(tables.jobs.c.state != "done")
            ).scalar_one()
        )
        service.metrics.to_review.set(count_open(connection))
        served_by = {one.model_id for one in serving(connection)}
        service.metrics.audit_seq.set(
            connection.execute(select(func.max(tables.audit.c.seq))).scalar() or 0
        )
    service.metrics.ready.set(not service.trouble())
    service.metrics.drift_p.clear()  # of models that served before
    for model_id, p in service.dispatcher.drift.p_values(served_by).items():
        service.metrics.drift_p.labels(model_id).set(p)
    return Response(service.metrics.exposed(), media_type="text/plain; version=0.0.4")
