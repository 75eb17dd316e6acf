"""Tasks of a worker process of an archive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from bagscan.batch.storage import fetch_bag, rename_keys
from bagscan.workers.screeners import get_screener, screener, top_score, try_out
from bagscan.workers.tasks import serve


def screen_bags(pipe: Connection) -> None:
    """Run tasks until the pipe closes; the entry point of the process."""
    serve(pipe, {"warm": _warm, "screen": _screen})


def _warm(task: dict[str, Any]) -> dict[str, Any]:
    for model in task["models"]:
        try_out(screener(model["folder"], model["threshold"], task.get("runtime")))
    return {}


def _screen(task: dict[str, Any]) -> dict[str, Any]:
    return score_bag(
        task["models"], task["views"], task["expected"], task.get("ids"), task.get("runtime")
    )


def score_bag(
    models: list[str],
    views: list[dict[str, str]],
    expected: Sequence[str] = (),
    ids: Sequence[str] | None = None,
    runtime: str | None = None,
) -> dict[str, Any]:
    """Screen one bag; worker processes and cluster tasks both call this.

    Args:
        models: model folders; the first that takes the scan's channels is used.
        views: ``view_id`` and ``path`` of every view.
        expected: views that the bag should have.
        ids: ids of the models at the start of the run; None skips the check.
        runtime: see :func:`bagscan.runtime.load.load_model`.

    Returns:
        ``row``, as in ``findings.json``, and ``top_score``.

    Raises:
        ModelChangedError: a model folder no longer holds the model of this id.
        ReadError: a file cannot be fetched from object storage.
        UnavailableError: object storage does not answer.
    """
    from bagscan.reporting.bags import screen_files

    with fetch_bag(views) as (files, names):
        known = zip(models, ids or itertools.repeat(None, len(models)), strict=True)
        screeners = [get_screener(folder, identity, runtime=runtime) for folder, identity in known]
        screened = screen_files(screeners, files, expected)
        row = rename_keys(screened.row, names) if names else screened.row
        return {"row": row, "top_score": top_score(screened.report)}
