"""A worker process: the only place of the service that loads models and reads scans.

Whatever a scan or a model does to it, the service itself goes on.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import Scan, View
from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats.scans import find_scans, group_views
from bagscan.service.inference.artifacts import keep_artifacts
from bagscan.service.inference.protocol import receive, send
from bagscan.service.store.files import Files

VIEWS = ("below", "side")


def serve_tasks(pipe: Connection) -> None:
    """Do tasks until the pipe closes; entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle
    tasks: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"warm": _warm, "screen": _screen, "project": _project, "check": _check}
    while True:
        try:
            task = receive(pipe)
        except (EOFError, OSError):
            return
        started = time.perf_counter()
        try:
            answer = {"ok": True, **tasks[task["kind"]](task)}
        except (BagscanError, OSError, ValueError, RuntimeError, MemoryError) as error:
            answer = {"ok": False, "error": str(error) or type(error).__name__, "refused": isinstance(error, ReadError)}
        send(pipe, {"seconds": time.perf_counter() - started, **answer})


_screeners: dict[tuple[str, float | None], Any] = {}


def _screener(model: Mapping[str, Any]) -> Any:
    """The model of a task, loaded once: its folder is named by its hash."""
    from bagscan.screening import Screener

    key = (model["folder"], model["threshold"])
    if key not in _screeners:
        if len(_screeners) >= 8:  # thresholds come and go
            _screeners.pop(next(iter(_screeners)))
        loaded = next((s.model for (folder, _), s in _screeners.items() if folder == model["folder"]), None)
        _screeners[key] = Screener(loaded, model["threshold"]) if loaded is not None else Screener.load(model["folder"], model["threshold"])
    return _screeners[key]


def _warm(task: dict[str, Any]) -> dict[str, Any]:
    for model in task["models"]:
        _try_out(_screener(model))
    return {}


def _check(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.screening import Screener

    _try_out(Screener.load(task["model"]["folder"]))
    return {}


def _try_out(screener: Any) -> None:
    report = screener.screen(drawn_scan(screener.model.config.input))
    if report.reasons:
        raise BagscanError(f"model {screener.model.id} does not judge a drawn scan: {'; '.join(report.reasons)}")


def drawn_scan(expected: Any) -> Scan:
    """A small bag with two blocks in it, of the channels that a model takes."""
    rng = np.random.default_rng(0)
    depth = np.zeros((96, 128), np.float32)
    depth[16:80, 16:112] += 0.3
    depth[32:56, 40:72] += 0.8
    depth = depth + rng.normal(0, 0.01, depth.shape).astype(np.float32)
    planes = {"zeff": 7 + 6 * depth, "low": np.exp(-1.3 * depth.clip(0)), "high": np.exp(-depth.clip(0))}
    pixels = np.stack([planes.get(name, np.exp(-depth.clip(0))) for name in expected.channels]).astype(np.float32)
    pixels = pixels if "zeff" in expected.channels else pixels.clip(0, 1)
    return Scan("drawn", (View(pixels, tuple(expected.channels), expected.quantity),))


def _screen(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.reporting.judged import judge_files

    files = {str(name): Path(path) for name, path in task["files"].items()}
    with tempfile.TemporaryDirectory(prefix="bagscan-") as folder:
        views = bag_in(Path(folder), files)
        judged = judge_files([_screener(model) for model in task["models"]], views)
        if judged.scan is None:
            raise ReadError(_without(judged.row["error"], folder))
        row = _plain(judged.row, folder)
        artifacts = keep_artifacts(Files(Path(task["objects"])), judged.scan, judged.report)
        shadows = [_shadow(model, judged.scan) for model in task.get("shadows", [])]
    return {"row": row, "artifacts": artifacts, "shadows": [shadow for shadow in shadows if shadow], "stats": _statistics(judged.report)}


def bag_in(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """Lay kept files out under their own names, and group them to the views of one bag, as the command line does.

    Raises:
        ReadError: they are several bags.
    """
    for name, path in files.items():
        os.symlink(path, folder / name)
    bags = group_views(find_scans([folder]), VIEWS)
    if len(bags) != 1:
        raise ReadError(f"the files are {len(bags)} bags: {', '.join(sorted(files))}; send one at a time, its views as ID_below and ID_side")
    return bags[0]


def _plain(row: dict[str, Any], folder: str) -> dict[str, Any]:
    """The row with names in place of the paths of this process."""
    text = {"path": _without(row["path"], folder), "reasons": [_without(reason, folder) for reason in row["reasons"]]}
    views = {name: {key: _without(value, folder) if key == "path" else value for key, value in view.items()} for name, view in row["views"].items()}
    error = {"error": _without(row["error"], folder)} if "error" in row else {}
    return row | text | {"views": views} | error


def _without(text: str, folder: str) -> str:
    return str(text).replace(f"{folder}/", "")


def _shadow(model: Mapping[str, Any], scan: Scan) -> dict[str, Any] | None:
    screener = _screener(model)
    if not screener.takes(scan):
        return None
    report = screener.screen(scan)
    return {"model_id": report.model_id, "decision": report.decision.value, **_statistics(report)}


def _statistics(report: Any) -> dict[str, Any]:
    scores: Sequence[np.ndarray] = [s for s in report.scores.values() if len(s)]
    return {"top_score": float(max(s.max() for s in scores)) if scores else None}


def _project(task: dict[str, Any]) -> dict[str, Any]:
    from bagscan.simulate.anomalies import BUILDERS
    from bagscan.simulate.tip_file import project_file

    kind = sorted(BUILDERS)[task["seed"] % len(BUILDERS)]
    return {"told": project_file(Path(task["path"]), Path(task["out"]), kind, None, None, "", None, "g640", task["seed"])}
