"""What a worker process of an archive does: bags from their files to their rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from bagscan.batch.storage import fetched, renamed
from bagscan.workers.screeners import pinned, screener, top_score, try_out
from bagscan.workers.tasks import serve


def judge_bags(pipe: Connection) -> None:
    """Do tasks until the pipe closes; entry point of the process."""
    serve(pipe, {"warm": _warm, "judge": _judge})


def _warm(task: dict[str, Any]) -> dict[str, Any]:
    for model in task["models"]:
        try_out(screener(model["folder"], model["threshold"], task.get("runtime")))
    return {}


def _judge(task: dict[str, Any]) -> dict[str, Any]:
    return judge_bag(
        task["models"], task["views"], task["expected"], task.get("ids"), task.get("runtime")
    )


def judge_bag(
    models: list[str],
    views: list[dict[str, str]],
    expected: Sequence[str] = (),
    ids: Sequence[str] | None = None,
    runtime: str | None = None,
) -> dict[str, Any]:
    """One bag: its row as in ``findings.json`` and its highest score. The pure function that every way past one process calls.

    Args:
        expected: views that it should have. ids: of the models that the run began with. runtime: as of
            :func:`bagscan.runtime.load.load_model`.

    Raises:
        ModelChangedError: another model lies in a folder by now.
    """
    from bagscan.reporting.bags import judge_files

    with fetched(views) as (files, names):
        known = zip(models, ids or itertools.repeat(None, len(models)), strict=True)
        judged = judge_files(
            [pinned(folder, identity, runtime=runtime) for folder, identity in known],
            files,
            expected,
        )
        return {
            "row": renamed(judged.row, names) if names else judged.row,
            "top_score": top_score(judged.report),
        }
