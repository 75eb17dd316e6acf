"""Routes for monitoring: liveness, readiness and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select

from bagscan import __version__
from bagscan.service.http.problems import problem
from bagscan.service.http.schemas import Live, Ready
from bagscan.service.http.security import allow, anyone, service_of
from bagscan.service.inference.models import local_runtime, place_of, serving
from bagscan.service.review.queue import count_open
from bagscan.service.roles import Principal
from bagscan.service.store import tables

router = APIRouter(tags=["health"])


@router.get("/v1/health/live", response_model=Live, dependencies=[anyone()])
def live() -> dict[str, Any]:
    """Report that the service runs."""
    return {"live": True, "bagscan": __version__}


@router.get("/v1/health/ready", response_model=Ready, dependencies=[anyone()])
def ready(request: Request) -> Any:
    """Report whether the service can screen; 503 if it cannot.

    It can if the store answers and accepts writes, watched folders can be used, and a worker has
    passed its warm-up.
    """
    service = service_of(request)
    if trouble := service.trouble():
        return problem(request, 503, trouble)
    with service.store.read() as connection:
        active = serving(connection)
    models_folder = service.config.models_folder
    models = [
        {
            "channels": model.channels,
            "model_id": model.model_id,
            "threshold": model.threshold,
            "runtime": local_runtime(place_of(model.folder, models_folder), model.model_id),
        }
        for model in active
    ]
    return {"ready": True, "models": models}


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, who: Principal = allow("metrics")) -> Response:
    """Return the metrics in Prometheus' text format."""
    service = service_of(request)
    with service.store.read() as connection:
        service.metrics.waiting.set(
            connection.execute(
                select(func.count()).where(tables.jobs.c.state != "done")
            ).scalar_one()
        )
        service.metrics.to_review.set(count_open(connection))
        active_ids = {model.model_id for model in serving(connection)}
        service.metrics.audit_seq.set(
            connection.execute(select(func.max(tables.audit.c.seq))).scalar() or 0
        )
    service.metrics.ready.set(not service.trouble())
    service.metrics.drift_p.clear()  # remove models that are no longer active
    for model_id, p in service.dispatcher.drift.p_values(active_ids).items():
        service.metrics.drift_p.labels(model_id).set(p)
    return Response(service.metrics.exposed(), media_type="text/plain; version=0.0.4")
