"""Models of the service: added, deployed, rolled back.

A model is identified by its hash. Each set of channels has at most one active model and one shadow
model, which screens the same scans without effect on their verdicts.
"""

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
from bagscan.service.store.files import convert_disk_errors
from bagscan.service.store.tables import deployments, models

MODES = ("active", "shadow")


class UnknownModel(BagscanError):
    """Unknown model, or no earlier deployment to return to."""


@dataclass(frozen=True)
class Serving:
    """A deployed model with its threshold.

    Attributes:
        model_id: hash of the model.
        channels: channels that it takes, separated by commas.
        folder: ``shipped:NAME`` for a bundled model, ``kept:NAME`` for an added one.
        threshold: score in (0, 1) at and above which a region is flagged.
        own: True if the threshold is the model's own.
    """

    model_id: str
    channels: str
    folder: str
    threshold: float
    own: bool

    def task(self, kept: Path) -> dict[str, Any]:
        """Return the description that worker processes take; they check the id.

        Args:
            kept: directory of the added models.
        """
        return {
            "id": self.model_id,
            "folder": str(place_of(self.folder, kept)),
            "threshold": None if self.own else self.threshold,
        }


@lru_cache(maxsize=64)
def local_runtime(folder: Path, model_id: str) -> str:
    """Return name and version of the runtime that runs a model on this machine."""
    return describe_runtime(folder)


def place_of(folder: str, kept: Path) -> Path:
    """Return the directory of a model.

    Args:
        folder: as in :class:`Serving`.
        kept: directory of the added models.
    """
    kind, _, name = folder.partition(":")
    return SHIPPED / name if kind == "shipped" else kept.absolute() / name


def serving(connection: Connection, mode: str = "active") -> list[Serving]:
    """Return the models deployed in a mode, ``active`` or ``shadow``, sorted by channels."""
    newest = (
        select(func.max(deployments.c.id))
        .where(deployments.c.mode == mode)
        .group_by(deployments.c.channels)
    )
    statement = (
        select(deployments, models.c.folder, models.c.point)
        .join(models, models.c.id == deployments.c.model_id)
        .where(deployments.c.id.in_(newest))
        .order_by(deployments.c.channels)
    )
    rows = connection.execute(statement)
    return [_serving(row) for row in rows]


def _serving(row: Row[Any]) -> Serving:
    own = row.threshold is None
    threshold = float(row.point["threshold"] if own else row.threshold)
    return Serving(row.model_id, row.channels, row.folder, threshold, own)


def describe(folder: Path) -> dict[str, Any]:
    """Check the hashes of a model folder and return its row for the store.

    Raises:
        ModelError: the folder was altered, is not a model, or has no operating point.
    """
    identity, description = verified_id(folder), read_description(folder)
    point = description.get("operating_point")
    if not point:
        raise ModelError(
            f'{folder.name}: the model has no operating point; choose one with "bagscan calibrate"'
        )
    try:
        channels = ",".join(description["model"]["input"]["channels"])
        point = {
            "threshold": float(point["threshold"]),
            "criterion": str(point["criterion"]),
            "expected_fpr": float(point["expected_fpr"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder.name}: model.json is incomplete: {error}") from error
    facts = description.get("about") or {}
    about = {key: value for key, value in facts.items() if not isinstance(value, list | dict)}
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
    """Register the bundled models, and activate each one whose channels need a model.

    Channels need a model if they have none, or if a bundled model of an older version of bagscan
    is active.
    """
    bundled = {row["folder"]: row for row in map(describe, shipped_models())}
    for row in bundled.values():
        add(connection, auditor, "bagscan", row)
    active = {model.channels: model for model in serving(connection)}
    # The first bundled model of its channels is the default.
    for channels, row in {row["channels"]: row for row in reversed(bundled.values())}.items():
        current = active.get(channels)
        is_outdated = (
            current is not None
            and current.folder.startswith("shipped:")
            and bundled.get(current.folder, {}).get("id") != current.model_id
        )
        if current is None or is_outdated:
            deploy(connection, auditor, "bagscan", row["id"], "active")


def add(connection: Connection, auditor: Auditor, by: str, described: Mapping[str, Any]) -> None:
    """Register a model from :func:`describe`, unless it is known. It is not deployed."""
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
    """Check the hashes of an uploaded model and write its files to a directory named by its id.

    Args:
        contents: content of each file, by name.
        models_folder: directory of the added models.

    Returns:
        Directory of the model, and True if the model is new.

    Raises:
        ModelError: the files are not those of a model, or were altered.
        StoreError: the files cannot be written; :class:`StoreFull` if no space is left.
    """
    needed = {*HASHED, MANIFEST}
    if not needed <= set(contents) <= {*needed, *GRAPHS}:
        raise ModelError(
            f"not the files of a model: {', '.join(sorted(contents)) or 'no files'}; "
            f"expected {', '.join(sorted(needed))}, and the graphs (*.onnx) if it was exported"
        )
    models_folder.mkdir(parents=True, exist_ok=True)
    with (
        convert_disk_errors(models_folder),
        tempfile.TemporaryDirectory(dir=models_folder, prefix=".new-") as new,
    ):
        folder = Path(new) / "model"
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        identity = verified_id(folder)
        final = models_folder / identity
        if final.exists():
            verified_id(final)
            return final, False
        os.rename(folder, final)
    return final, True


def forget_folder(folder: Path) -> None:
    """Remove the files of a model that failed its check."""
    shutil.rmtree(folder, ignore_errors=True)


def deploy(
    connection: Connection,
    auditor: Auditor,
    by: str,
    model_id: str,
    mode: str,
    threshold: float | None = None,
) -> None:
    """Deploy a model for its channels.

    Args:
        by: name of the account.
        mode: ``active`` or ``shadow``.
        threshold: score in (0, 1); None for the model's own threshold.

    Raises:
        UnknownModel: the store has no model with this id.
        ModelError: the threshold is outside (0, 1), or the model was bundled with a different
            version of bagscan.
    """
    row = _find_model(connection, model_id)
    _check_threshold(threshold)
    _add_deployment(connection, row.channels, mode, model_id, threshold, by)
    action = "model.shadow" if mode == "shadow" else "model.activate"
    auditor.append(
        connection, by, action, model_id, {"channels": row.channels, "threshold": threshold}
    )


def end_shadow(connection: Connection, auditor: Auditor, by: str, channels: str) -> None:
    """Remove the shadow model of some channels.

    Raises:
        UnknownModel: the channels have no shadow model.
    """
    if not any(shadow.channels == channels for shadow in serving(connection, "shadow")):
        raise UnknownModel(f"no shadow model for {channels}")
    _add_deployment(connection, channels, "shadow", None, None, by)
    auditor.append(connection, by, "model.shadow.end", channels)


def set_threshold(
    connection: Connection, auditor: Auditor, by: str, model_id: str, threshold: float | None
) -> None:
    """Change the threshold of an active model.

    Args:
        threshold: score in (0, 1); None for the model's own threshold.

    Raises:
        UnknownModel: the model is not active.
        ModelError: the threshold is outside (0, 1).
    """
    model = next((m for m in serving(connection) if m.model_id == model_id), None)
    if model is None:
        raise UnknownModel(f"model {model_id} is not active")
    _check_threshold(threshold)
    _add_deployment(connection, model.channels, "active", model_id, threshold, by)
    change = {"from": model.threshold, "to": threshold}
    auditor.append(connection, by, "threshold", model_id, change)


def roll_back(connection: Connection, auditor: Auditor, by: str, channels: str) -> Serving:
    """Activate the model and threshold that served some channels before the present ones.

    A second call returns to the present model.

    Returns:
        The model that is active now.

    Raises:
        UnknownModel: the channels had no earlier deployment.
        ModelError: the earlier model was bundled with a different version of bagscan.
    """
    statement = (
        select(deployments)
        .where(deployments.c.channels == channels, deployments.c.mode == "active")
        .order_by(deployments.c.id.desc())
        .limit(2)
    )
    rows = connection.execute(statement).all()
    if len(rows) < 2:
        raise UnknownModel(f"no earlier model for {channels}")
    now, before = rows
    _find_model(connection, before.model_id)
    _add_deployment(connection, channels, "active", before.model_id, before.threshold, by)
    auditor.append(
        connection,
        by,
        "model.rollback",
        before.model_id,
        {"from": now.model_id, "threshold": before.threshold, "channels": channels},
    )
    return next(model for model in serving(connection) if model.channels == channels)


def _check_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0 < threshold < 1:
        raise ModelError(f"threshold {threshold} is not between 0 and 1")


def _find_model(connection: Connection, model_id: str | None) -> Row[Any]:
    row = connection.execute(select(models).where(models.c.id == model_id)).first()
    if row is None:
        raise UnknownModel(f"unknown model {model_id}")
    # After an upgrade of bagscan the directory of a bundled model holds another model.
    if row.folder.startswith("shipped:") and verified_id(place_of(row.folder, Path())) != model_id:
        raise ModelError(
            f"model {model_id} was bundled with a different version of bagscan; "
            f"{row.name} is now another model"
        )
    return row


def _add_deployment(
    connection: Connection,
    channels: str,
    mode: str,
    model_id: str | None,
    threshold: float | None,
    by: str,
) -> None:
    row = {"channels": channels, "mode": mode, "model_id": model_id, "threshold": threshold}
    connection.execute(insert(deployments).values(**row, by=by, created_at=time.time()))
