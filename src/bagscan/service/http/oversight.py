"""Routes for supervisors and admins: models, thresholds, audit and statistics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from bagscan.core.errors import ModelError
from bagscan.service import audit
from bagscan.service.http.bodies import files_body, files_of
from bagscan.service.http.problems import Problem
from bagscan.service.http.schemas import (
    AuditPage,
    Channels,
    Done,
    ModelList,
    ModelMade,
    Serving,
    Statistics,
    Threshold,
    Verified,
)
from bagscan.service.http.security import allow, service_of
from bagscan.service.inference import models
from bagscan.service.review import statistics as figures
from bagscan.service.roles import Principal
from bagscan.service.service import Service
from bagscan.service.store import tables
from bagscan.workers.process import WorkerLost

router = APIRouter(prefix="/v1", tags=["oversight"])
CHECK_S = 300.0
MAX_MODEL_BYTES = 1 << 30


@router.get("/models", response_model=ModelList)
def list_models(request: Request, who: Principal = allow("models.read")) -> dict[str, Any]:
    """List all models, whether each is active or a shadow, and the last 50 deployments."""
    all_models = select(tables.models).order_by(tables.models.c.added_at)
    deployments = select(tables.deployments).order_by(tables.deployments.c.id.desc()).limit(50)
    with service_of(request).store.read() as connection:
        known = [
            {key: value for key, value in row.items() if key != "folder"}
            for row in connection.execute(all_models).mappings()
        ]
        active = {model.model_id: model for model in models.serving(connection)}
        shadows = {model.model_id for model in models.serving(connection, "shadow")}
        history = connection.execute(deployments).mappings().all()
    for row in known:
        row["active"], row["shadow"] = row["id"] in active, row["id"] in shadows
        row["threshold"] = (
            active[row["id"]].threshold if row["id"] in active else row["point"]["threshold"]
        )
    return {"models": known, "history": [dict(row) for row in history]}


@router.post("/models", status_code=201, response_model=ModelMade, openapi_extra=files_body())
async def add_model(request: Request, who: Principal = allow("models.change")) -> dict[str, Any]:
    """Add a model from the files of its model folder, without activating it.

    The files' hashes are checked, and the model must screen a synthetic scan.
    """
    service = service_of(request)
    contents = dict(await files_of(request, "model", MAX_MODEL_BYTES))
    return await run_in_threadpool(_add_model, service, who, contents)


def _add_model(service: Service, who: Principal, contents: dict[str, bytes]) -> dict[str, Any]:
    folder, is_new = models.keep_folder(contents, service.config.models_folder)
    try:
        description = models.describe(folder)
        result = service.dispatcher.ask(
            {"kind": "check", "model": {"folder": str(folder.absolute())}}, CHECK_S
        ).result(2 * CHECK_S)
        if not result["ok"]:
            raise Problem(422, f"the model failed to screen a synthetic scan: {result['error']}")
    except (Problem, ModelError, WorkerLost, TimeoutError) as error:
        if is_new:  # an existing folder may belong to an active model
            models.forget_folder(folder)
        if isinstance(error, TimeoutError):
            raise Problem(503, "no worker was free to check the model; try again") from error
        raise
    service.store.write(
        lambda connection: models.add(connection, service.auditor, who.name, description)
    )
    return {"id": description["id"], "channels": description["channels"]}


@router.post("/models/{model_id}/activate", response_model=Done)
def activate(model_id: str, request: Request, who: Principal = allow("models.change")) -> Done:
    """Activate a model for its channels."""
    service = service_of(request)
    service.store.write(
        lambda connection: models.deploy(connection, service.auditor, who.name, model_id, "active")
    )
    service.dispatcher.models_changed()
    return Done()


@router.post("/models/{model_id}/shadow", response_model=Done)
def shadow(model_id: str, request: Request, who: Principal = allow("models.change")) -> Done:
    """Run a model as a shadow: it also screens every scan of its channels, without effect.

    The statistics compare it with the active model.
    """
    service = service_of(request)
    service.store.write(
        lambda connection: models.deploy(connection, service.auditor, who.name, model_id, "shadow")
    )
    service.dispatcher.models_changed()
    return Done()


@router.post("/models/end-shadow", response_model=Done)
def end_shadow(body: Channels, request: Request, who: Principal = allow("models.change")) -> Done:
    """Stop the shadow of these channels."""
    service = service_of(request)
    service.store.write(
        lambda connection: models.end_shadow(connection, service.auditor, who.name, body.channels)
    )
    service.dispatcher.models_changed()
    return Done()


@router.post("/models/rollback", response_model=Serving)
def roll_back(
    body: Channels, request: Request, who: Principal = allow("models.change")
) -> dict[str, Any]:
    """Restore the previous model and threshold of these channels."""
    service = service_of(request)
    now = service.store.write(
        lambda connection: models.roll_back(connection, service.auditor, who.name, body.channels)
    )
    service.dispatcher.models_changed()
    return {"model_id": now.model_id, "threshold": now.threshold}


@router.put("/models/{model_id}/threshold", response_model=Done)
def threshold(
    model_id: str, body: Threshold, request: Request, who: Principal = allow("threshold")
) -> Done:
    """Change the threshold of an active model."""
    service = service_of(request)
    service.store.write(
        lambda connection: models.set_threshold(
            connection, service.auditor, who.name, model_id, body.threshold
        )
    )
    service.dispatcher.models_changed()
    return Done()


@router.get("/audit", response_model=AuditPage)
def read_audit(
    request: Request,
    after: int = Query(0, ge=0),
    limit: int = Query(100, ge=1, le=1000),
    newest: bool = Query(False, description="Return the last records, newest first"),
    who: Principal = allow("audit.read"),
) -> dict[str, Any]:
    """Return records of the audit chain, its head, and the public key to verify them with."""
    service = service_of(request)
    with service.store.read() as connection:
        head = audit.newest_head(connection)
        start = max(0, head["seq"] - limit) if newest and head else after
        records = audit.read_records(connection, start, limit)
    return {
        "records": records[::-1] if newest else records,
        "head": head,
        "public_key": audit.read_public_key(service.config.folder),
    }


@router.get("/audit/verify", response_model=Verified)
def verify_audit(request: Request, who: Principal = allow("audit.read")) -> dict[str, Any]:
    """Verify the complete audit chain. ``bagscan audit verify`` does so on another machine."""
    service = service_of(request)
    head = audit.read_head(service.config.folder / "audit.head")
    with service.store.read() as connection:
        records = audit.read_records(connection)
        missing = figures.decisions_without_record(connection)
    wrong = audit.verify(records, audit.read_public_key(service.config.folder), head)
    return {"records": len(records), "wrong": wrong + missing}


@router.get("/statistics", response_model=Statistics)
def statistics(
    request: Request, days: int = Query(30, ge=1, le=3650), who: Principal = allow("statistics")
) -> dict[str, Any]:
    """Return statistics of scans, readers, test images and shadow models.

    Rates have counts and confidence intervals.
    """
    service = service_of(request)
    with service.store.read() as connection:
        summary = figures.statistics(connection, days)
        active_ids = {model.model_id for model in models.serving(connection)}
    return summary | {"drift_p": service.dispatcher.drift.p_values(active_ids)}
