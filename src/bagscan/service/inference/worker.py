"""Worker process of the service, the only one that loads models and reads scans.

The service survives any failure of a worker. Tasks, with their keys and the keys of the answer:

``warm``: ``models``. Loads every model and screens a synthetic scan with each.
``screen``: ``files`` (name → path), ``models``, ``objects``, ``scanner_views`` → ``row``,
    ``artifacts``, ``stats``. Screens a scan with the active models.
``shadow``: ``files``, ``shadows`` → ``shadows``, ``errors``. Screens a scan with shadow models.
``project``: ``path``, ``out``, ``profile``, ``seed`` → ``truth``. Projects a threat.
``check``: ``model``. Loads a model and screens a synthetic scan with it.
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
from bagscan.workers.screeners import get_screener, top_score, try_out
from bagscan.workers.tasks import serve


def serve_tasks(pipe: Connection) -> None:
    """Run tasks until the pipe closes; entry point of the process."""
    serve(
        pipe,
        {"warm": _warm, "screen": _screen, "shadow": _shadow, "project": _project, "check": _check},
    )


def _warm(task: dict[str, Any]) -> dict[str, Any]:
    for model in task["models"]:
        try_out(_get_screener(model))
    return {}


def _check(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.screening import Screener

    try_out(Screener.load(task["model"]["folder"]))
    return {}


def _screen(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.reporting.bags import screen_files

    files = {str(name): Path(path) for name, path in task["files"].items()}
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        views = bag_in(Path(folder), files)
        screened = screen_files(
            [_get_screener(model) for model in task["models"]],
            views,
            task["scanner_views"] or expected_of(views, VIEWS),
        )
        if screened.scan is None:
            raise ReadError(_strip_folder(screened.row["error"], folder))
        row = _strip_row(screened.row, folder)
        artifacts = keep_artifacts(Files(Path(task["objects"])), screened.scan, screened.report)
    return {"row": row, "artifacts": artifacts, "stats": {"top_score": top_score(screened.report)}}


def bag_in(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """Link stored files under their original names and group them into the views of one bag.

    Files are grouped as on the command line.

    Args:
        folder: empty directory for the links.
        files: path of each file by its original name.

    Returns:
        Path of each view by its name.

    Raises:
        ReadError: the files are not exactly one bag.
    """
    for name, path in files.items():
        os.symlink(path, folder / name)
    bags = group_views(find_scans([folder]), VIEWS)
    if len(bags) != 1:
        raise ReadError(
            f"the files are {len(bags)} bags: {', '.join(sorted(files))}; "
            "send one bag at a time, its views named ID_below and ID_side"
        )
    return bags[0]


def _strip_row(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return a row with file names in place of paths within a folder."""
    texts = {
        "path": _strip_folder(row["path"], folder),
        "reasons": [_strip_folder(reason, folder) for reason in row["reasons"]],
    }
    views = {name: _strip_view(view, folder) for name, view in row["views"].items()}
    error = {"error": _strip_folder(row["error"], folder)} if "error" in row else {}
    return row | texts | {"views": views} | error


def _strip_view(view: dict[str, Any], folder: str) -> dict[str, Any]:
    if "path" not in view:
        return view
    return view | {"path": _strip_folder(view["path"], folder)}


def _strip_folder(text: str, folder: str) -> str:
    return str(text).replace(f"{folder}/", "")


def _get_screener(model: Mapping[str, Any]) -> Any:
    """Return the screener of a model description, whose id must match the folder."""
    return get_screener(model["folder"], model["id"], model["threshold"])


def _shadow(task: dict[str, Any]) -> dict[str, Any]:
    files = {str(name): Path(path) for name, path in task["files"].items()}
    verdicts, errors = [], []
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        scan, _ = read_views(bag_in(Path(folder), files))
        for model in task["shadows"] if scan is not None else []:
            try:
                screener = _get_screener(model)
                if screener.accepts(scan):
                    report = screener.screen(scan)
                    verdict = {
                        "model_id": report.model_id,
                        "decision": report.decision.value,
                        "top_score": top_score(report),
                    }
                    verdicts.append(verdict)
            except BagscanError as error:
                errors.append(str(error))
    return {"shadows": verdicts, "errors": errors}


def _project(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.simulate.anomalies import BUILDERS
    from bagscan.simulate.tip_file import project_file

    kind = sorted(BUILDERS)[task["seed"] % len(BUILDERS)]
    path, out = Path(task["path"]), Path(task["out"])
    profile, seed = task["profile"], task["seed"]
    return {"truth": project_file(path, out, kind, None, None, "", None, profile, seed)}
