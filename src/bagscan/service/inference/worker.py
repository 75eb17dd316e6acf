"""A worker process: the only place of the service that loads models and reads scans.

Whatever a scan or a model does to it, the service itself goes on. Its tasks:

``warm``: ``models``. Loads every model and screens a drawn scan with each.
``screen``: ``files`` (name → path), ``models``, ``objects`` → ``row``, ``artifacts``, ``stats``.
``shadow``: ``files``, ``shadows`` → ``shadows``, ``errors``. Judges with models that nobody acts on.
``project``: ``path``, ``out``, ``seed`` → ``told``. Projects a threat of any kind into a raw scan.
``check``: ``model``. Loads one model and screens a drawn scan with it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats.scans import VIEWS, expected_of, find_scans, group_views, read_views
from bagscan.service.inference.artifacts import keep_artifacts
from bagscan.service.store.files import Files
from bagscan.workers.screeners import pinned, top_score, try_out
from bagscan.workers.tasks import serve


def serve_tasks(pipe: Connection) -> None:
    """Do tasks until the pipe closes; entry point of the process."""
    serve(
        pipe,
        {"warm": _warm, "screen": _screen, "shadow": _shadow, "project": _project, "check": _check},
    )


def _warm(task: dict[str, Any]) -> dict[str, Any]:
    for model in task["models"]:
        try_out(_pinned(model))
    return {}


def _check(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.screening import Screener

    try_out(Screener.load(task["model"]["folder"]))
    return {}


def _screen(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.reporting.bags import judge_files

    files = {str(name): Path(path) for name, path in task["files"].items()}
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        views = bag_in(Path(folder), files)
        judged = judge_files(
            [_pinned(model) for model in task["models"]],
            views,
            task["scanner_views"] or expected_of(views, VIEWS),
        )
        if judged.scan is None:
            raise ReadError(_without(judged.row["error"], folder))
        row = _plain(judged.row, folder)
        artifacts = keep_artifacts(Files(Path(task["objects"])), judged.scan, judged.report)
    return {"row": row, "artifacts": artifacts, "stats": {"top_score": top_score(judged.report)}}


def bag_in(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """Lay kept files out under their own names, and group them to the views of one bag, as the command line does.

    Raises:
        ReadError: they are several bags.
    """
    for name, path in files.items():
        os.symlink(path, folder / name)
    bags = group_views(find_scans([folder]), VIEWS)
    if len(bags) != 1:
        raise ReadError(
            f"the files are {len(bags)} bags: {', '.join(sorted(files))}; send one at a time, its views as ID_below and ID_side"
        )
    return bags[0]


def _plain(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """The row with names in place of the paths of this process."""
    text = {
        "path": _without(row["path"], folder),
        "reasons": [_without(reason, folder) for reason in row["reasons"]],
    }
    views = {
        name: {
            key: _without(value, folder) if key == "path" else value for key, value in view.items()
        }
        for name, view in row["views"].items()
    }
    error = {"error": _without(row["error"], folder)} if "error" in row else {}
    return row | text | {"views": views} | error


def _without(text: str, folder: str) -> str:
    return str(text).replace(f"{folder}/", "")


def _pinned(model: Mapping[str, Any]) -> Any:
    """The screener of a model, which must be the one that was asked for."""
    return pinned(model["folder"], model["id"], model["threshold"])


def _shadow(task: dict[str, Any]) -> dict[str, Any]:
    files = {str(name): Path(path) for name, path in task["files"].items()}
    found, errors = [], []
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        scan, _ = read_views(bag_in(Path(folder), files))
        for model in task["shadows"] if scan is not None else []:
            try:
                one = _pinned(model)
                if one.takes(scan):
                    report = one.screen(scan)
                    found.append(
                        {
                            "model_id": report.model_id,
                            "decision": report.decision.value,
                            "top_score": top_score(report),
                        }
                    )
            except BagscanError as error:
                errors.append(str(error))
    return {"shadows": found, "errors": errors}


def _project(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.simulate.anomalies import BUILDERS
    from bagscan.simulate.tip_file import project_file

    kind = sorted(BUILDERS)[task["seed"] % len(BUILDERS)]
    return {
        "told": project_file(
            Path(task["path"]),
            Path(task["out"]),
            kind,
            None,
            None,
            "",
            None,
            task["profile"],
            task["seed"],
        )
    }
