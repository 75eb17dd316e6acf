"""Which models serve: pinned by hash, one active for every set of channels, a shadow beside it, and the way back."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from bagscan.core.errors import BagscanError, ModelError
from bagscan.model_folder import (
    GRAPHS,
    HASHED,
    MANIFEST,
    SHIPPED,
    read_description,
    shipped_models,
    verified_id,
)
from bagscan.runtime.load import describe_runtime
from bagscan.service.audit import Auditor
from bagscan.service.store.files import full_disk_told
from bagscan.service.store.tables import deployments, models

MODES = ("active", "shadow")


class UnknownModel(BagscanError):
    """No model of that id, or nothing to go back to."""


@dataclass(frozen=True)
class Serving:
    """A model that serves, and its threshold.

    Attributes:
        own: whether the threshold is the model's own.
    """

    model_id: str
    channels: str
    folder: str
    threshold: float
    own: bool

    def task(self, kept: Path) -> dict[str, Any]:
        """As worker processes take it, who check the id.

        Args:
            kept: folder of the models that were added.
        """
        return {
            "id": self.model_id,
            "folder": str(place_of(self.folder, kept)),
            "threshold": None if self.own else self.threshold,
        }


@lru_cache(maxsize=64)
def runtime_here(folder: Path, model_id: str) -> str:
    """Name and version of what judges by a model on this machine; hashed once for every id."""
    return describe_runtime(folder)


def place_of(folder: str, kept: Path) -> Path:
    """Directory of a model: bundled models in the installed package, others in the service's folder."""
    kind, _, name = folder.partition(":")
    return SHIPPED / name if kind == "shipped" else kept.absolute() / name


def serving(connection: Connection, mode: str = "active") -> list[Serving]:
    """The models of a mode, one for every set of channels that has any."""
    newest = (
        select(func.max(deployments.c.id))
        .where(deployments.c.mode == mode)
        .group_by(deployments.c.channels)
    )
    found = select(deployments, models.c.folder, models.c.point).join(
        models, models.c.id == deployments.c.model_id
    )
    rows = connection.execute(
        found.where(deployments.c.id.in_(newest)).order_by(deployments.c.channels)
    )
    return [_serving(row) for row in rows]


def _serving(row: Row[Any]) -> Serving:
    own = row.threshold is None
    return Serving(
        row.model_id,
        row.channels,
        row.folder,
        float(row.point["threshold"] if own else row.threshold),
        own,
    )


def describe(folder: Path) -> dict[str, Any]:
    """The row of a model folder, hashes checked.

    Raises:
        ModelError: altered, no model, or without an operating point.
    """
    identity, description = verified_id(folder), read_description(folder)
    point = description.get("operating_point")
    if not point:
        raise ModelError(
            f"{folder.name}: the model has no operating point; choose one with bagscan calibrate"
        )
    try:
        channels = ",".join(description["model"]["input"]["channels"])
        point = {
            "threshold": float(point["threshold"]),
            "criterion": str(point["criterion"]),
            "expected_fpr": float(point["expected_fpr"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder.name}: model.json lacks {error}") from error
    result = description.get("about") or {}
    about = {key: value for key, value in result.items() if not isinstance(value, list | dict)}
    return {
        "id": identity,
        "channels": channels,
        "folder": f"{'shipped' if folder.parent == SHIPPED else 'kept'}:{folder.name}",
        "name": folder.name,
        "point": point,
        "about": about,
        "added_at": time.time(),
    }


def add_shipped(connection: Connection, auditor: Auditor) -> None:
    """Register the bundled models. Each serves its channels if no other model does, or if an older bundled model did before an upgrade."""
    coming = {row["folder"]: row for row in map(describe, shipped_models())}
    for row in coming.values():
        _add(connection, auditor, "bagscan", row)
    active = {one.channels: one for one in serving(connection)}
    for row in coming.values():
        one = active.get(row["channels"])
        replaced = (
            one is not None
            and one.folder.startswith("shipped:")
            and coming.get(one.folder, {}).get("id") != one.model_id
        )
        if one is None or replaced:
            deploy(connection, auditor, "bagscan", row["id"], "active")


def add(connection: Connection, auditor: Auditor, by: str, described: Mapping[str, Any]) -> None:
    """Know one more model; it does not serve yet."""
    _add(connection, auditor, by, described)


def _add(connection: Connection, auditor: Auditor, by: str, described: Mapping[str, Any]) -> None:
    if not connection.execute(select(models.c.id).where(models.c.id == described["id"])).first():
        connection.execute(insert(models).values(**described))
        auditor.append(
            connection,
            by,
            "model.add",
            described["id"],
            {"name": described["name"], "channels": described["channels"]},
        )


def keep_folder(contents: Mapping[str, bytes], models_folder: Path) -> tuple[Path, bool]:
    """Write an uploaded model's files under its id; hashes are checked first. Also returns whether the model is new.

    Raises:
        ModelError: other files than a model's, or altered ones.
    """
    needed = {*HASHED, MANIFEST}
    if not needed <= set(contents) <= {*needed, *GRAPHS}:
        raise ModelError(
            f"a model is {', '.join(sorted(needed))}, and its graphs (*.onnx) where it was exported; these came: {', '.join(sorted(contents)) or 'none'}"
        )
    models_folder.mkdir(parents=True, exist_ok=True)
    with (
        full_disk_told(models_folder),
        tempfile.TemporaryDirectory(dir=models_folder, prefix=".new-") as new,
    ):
        place = Path(new) / "model"
        place.mkdir()
        for name, content in contents.items():
            (place / name).write_bytes(content)
        identity = verified_id(place)
        final = models_folder / identity
        if final.exists():
            verified_id(final)
            return final, False
        os.rename(place, final)
    return final, True


def forget_folder(folder: Path) -> None:
    """Remove a model's files: it did not work."""
    shutil.rmtree(folder, ignore_errors=True)


def deploy(
    connection: Connection,
    auditor: Auditor,
    by: str,
    model_id: str,
    mode: str,
    threshold: float | None = None,
) -> None:
    """Let a model serve, as the active one of its channels or as a shadow.

    Raises:
        UnknownModel: none of that id. ModelError: threshold outside (0, 1), or a model bundled with a different bagscan version.
    """
    row = _known(connection, model_id)
    if threshold is not None and not 0 < threshold < 1:
        raise ModelError(f"a threshold lies between 0 and 1, got {threshold}")
    _deployed(connection, row.channels, mode, model_id, threshold, by)
    action = "model.shadow" if mode == "shadow" else "model.activate"
    auditor.append(
        connection, by, action, model_id, {"channels": row.channels, "threshold": threshold}
    )


def end_shadow(connection: Connection, auditor: Auditor, by: str, channels: str) -> None:
    """No shadow for these channels any more.

    Raises:
        UnknownModel: there is none.
    """
    if not any(one.channels == channels for one in serving(connection, "shadow")):
        raise UnknownModel(f"no shadow for {channels}")
    _deployed(connection, channels, "shadow", None, None, by)
    auditor.append(connection, by, "model.shadow.end", channels)


def set_threshold(
    connection: Connection, auditor: Auditor, by: str, model_id: str, threshold: float | None
) -> None:
    """Change an active model's threshold; None is the model's own.

    Raises:
        UnknownModel: it is not active. ModelError: a threshold that is none.
    """
    one = next((s for s in serving(connection) if s.model_id == model_id), None)
    if one is None:
        raise UnknownModel(f"model {model_id} does not serve")
    if threshold is not None and not 0 < threshold < 1:
        raise ModelError(f"a threshold lies between 0 and 1, got {threshold}")
    _deployed(connection, one.channels, "active", model_id, threshold, by)
    auditor.append(connection, by, "threshold", model_id, {"from": one.threshold, "to": threshold})


def roll_back(connection: Connection, auditor: Auditor, by: str, channels: str) -> Serving:
    """Serve again what served these channels before, model and threshold; a second time comes back.

    Raises:
        UnknownModel: nothing served before. ModelError: the earlier model was bundled with a different version.
    """
    found = (
        select(deployments)
        .where(deployments.c.channels == channels, deployments.c.mode == "active")
        .order_by(deployments.c.id.desc())
        .limit(2)
    )
    rows = connection.execute(found).all()
    if len(rows) < 2:
        raise UnknownModel(f"nothing served {channels} before")
    now, before = rows
    _known(connection, before.model_id)
    _deployed(connection, channels, "active", before.model_id, before.threshold, by)
    auditor.append(
        connection,
        by,
        "model.rollback",
        before.model_id,
        {"from": now.model_id, "threshold": before.threshold, "channels": channels},
    )
    return next(one for one in serving(connection) if one.channels == channels)


def _known(connection: Connection, model_id: str | None) -> Row[Any]:
    """A model that can serve: after an upgrade a folder of the package holds another model than the one that was known."""
    row = connection.execute(select(models).where(models.c.id == model_id)).first()
    if row is None:
        raise UnknownModel(f"no model {model_id}")
    if row.folder.startswith("shipped:") and verified_id(place_of(row.folder, Path())) != model_id:
        raise ModelError(
            f"model {model_id} was bundled with a different version of bagscan; {row.name} is now another model"
        )
    return row


def _deployed(
    connection: Connection,
    channels: str,
    mode: str,
    model_id: str | None,
    threshold: float | None,
    by: str,
) -> None:
    connection.execute(
        insert(deployments).values(
            channels=channels,
            mode=mode,
            model_id=model_id,
            threshold=threshold,
            by=by,
            created_at=time.time(),
        )
    )
