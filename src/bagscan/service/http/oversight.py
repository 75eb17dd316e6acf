"""Routes of supervisors and admins: models, thresholds, audit, statistics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from bagscan.core.errors import ModelError
from bagscan.service import audit
from bagscan.service.accounts import Principal
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
from bagscan.service.service import Service
from bagscan.service.store import tables
from bagscan.workers.process import WorkerLost

router = APIRouter(prefix="/v1", tags=["oversight"])
CHECK_S = 300.0
MAX_MODEL_BYTES = 1 << 30


@router.get("/models", response_model=ModelList)
def list_models(request: Request, who: Principal = allow("models.read")) -> dict[str, Any]:
    """Every model that is known, which serve, and what served before."""
    with service_of(request).store.read() as connection:
        known = [
            {key: value for key, value in row.items() if key != "folder"}
            for row in connection.execute(
                select(tables.models).order_by(tables.models.c.added_at)
            ).mappings()
        ]
        active = {one.model_id: one for one in models.serving(connection)}
        shadows = {one.model_id for one in models.serving(connection, "shadow")}
        history = (
            connection.execute(
                select(tables.deployments).order_by(tables.deployments.c.id.desc()).limit(50)
            )
            .mappings()
            .all()
        )
    for row in known:
        row["active"], row["shadow"] = row["id"] in active, row["id"] in shadows
        row["threshold"] = (
            active[row["id"]].threshold if row["id"] in active else row["point"]["threshold"]
        )
    return {"models": known, "history": [dict(row) for row in history]}


@router.post("/models", status_code=201, response_model=ModelMade, openapi_extra=files_body())
async def add_model(request: Request, who: Principal = allow("models.change")) -> dict[str, Any]:
    """Add a model: the files of its folder. Hashes are checked, and it must screen a drawn scan; it does not serve yet."""
    service = service_of(request)
    contents = dict(await files_of(request, "model", MAX_MODEL_BYTES))
    return await run_in_threadpool(_add_model, service, who, contents)


def _add_model(service: Service, who: Principal, contents: dict[str, bytes]) -> dict[str, Any]:
    folder, made = models.keep_folder(contents, service.config.models_folder)
    try:
        described = models.describe(folder)
        answer = service.dispatcher.ask(
            {"kind": "check", "model": {"folder": str(folder.absolute())}}, CHECK_S
        ).result(2 * CHECK_S)
        if not answer["ok"]:
            raise Problem(422, f"the model does not work: {answer['error']}")
    except (Problem, ModelError, WorkerLost, TimeoutError) as error:
        if made:  # one that was there before may be serving
            models.forget_folder(folder)
        if isinstance(error, TimeoutError):
            raise Problem(503, "no worker had time to try the model") from error
        raise
    service.store.write(
        lambda connection: models.add(connection, service.auditor, who.name, described)
    )
    return {"id": described["id"], "channels": described["channels"]}


@router.post("/models/{model_id}/activate", response_model=Done)
def activate(model_id: str, request: Request, who: Principal = allow("models.change")) -> Done:
    """Let a model serve its channels from now on."""
    service = service_of(request)
    service.store.write(
        lambda connection: models.deploy(connection, service.auditor, who.name, model_id, "active")
    )
    service.dispatcher.models_changed()
    return Done()


@router.post("/models/{model_id}/shadow", response_model=Done)
def shadow(model_id: str, request: Request, who: Principal = allow("models.change")) -> Done:
    """Let a model judge every scan of its channels too; nobody acts on what it says, statistics compare it."""
    service = service_of(request)
    service.store.write(
        lambda connection: models.deploy(connection, service.auditor, who.name, model_id, "shadow")
    )
    service.dispatcher.models_changed()
    return Done()


@router.post("/models/end-shadow", response_model=Done)
def end_shadow(body: Channels, request: Request, who: Principal = allow("models.change")) -> Done:
    """No shadow for these channels any more."""
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
    """Serve again what served these channels before: model and threshold, in one call."""
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
    """Change the threshold of a model that serves."""
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
    newest: bool = Query(False, description="The last ones, newest first"),
    who: Principal = allow("audit.read"),
) -> dict[str, Any]:
    """Records of the audit chain, as they can be checked off line; and the head."""
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
    """Check the whole chain here and now; off line: ``bagscan audit verify``."""
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
    """Scans, readers, test images, models beside their shadows; rates with counts and intervals."""
    service = service_of(request)
    with service.store.read() as connection:
        summary = figures.statistics(connection, days)
        served_by = {one.model_id for one in models.serving(connection)}
    return summary | {"drift_p": service.dispatcher.drift.p_values(served_by)}
