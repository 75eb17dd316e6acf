"""Screen many scans into a folder: findings.json, findings.coco.json, report.html.

Every scan's rows go to ``partial/`` as soon as it is judged. A killed run leaves them there, the same
line goes on where it stopped, and memory does not grow with the number of scans.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core.errors import ReadError
from bagscan.core.files import refuse_file, write_whole
from bagscan.formats import find_scans
from bagscan.formats.scans import VIEWS, group_views, no_scans, stamp_of, told_types
from bagscan.reporting.bags import judge_files
from bagscan.reporting.findings import coco_of_rows
from bagscan.reporting.html import error_section, render_page, report_section
from bagscan.screening import Screener

MOST_IN_PAGE = 200  # a page of thousands of scans is no page; JSON and COCO hold all
SAY_EVERY_S = 5
DECISIONS = ("ALARM", "REVIEW", "CLEAR")  # as a person wants to see them


def screen_folder(paths: Sequence[Path], models: Sequence[Path], out: Path, report: Callable[[str], None] = print, views: Sequence[str] = VIEWS) -> dict[str, Any]:
    """Screen every scan found; one that cannot be read becomes an error row of decision REVIEW.

    Args:
        models: each scan is judged by the first of them that takes its channels.
        views: files whose names end in these, and are alike before, are views of one bag with one decision.

    Returns:
        Counts of each decision, of those clear with ``nothing_judged``, of bags ``half_judged``, with an item in some views alone, of bags
        judged by ``one_view`` alone though files are named by view, and ``errors``.

    Raises:
        ReadError: a path that does not exist, or nothing to screen. DataError: ``out`` is a file.
    """
    unknown = Counter[str]()
    bags = group_views(find_scans(paths, unknown), views)
    if not bags:
        raise ReadError(no_scans(paths, unknown))
    refuse_file(out)
    screeners = [Screener.load(model, late=len(models) > 1) for model in models]
    ids = " ".join(screener.model.id for screener in screeners)
    used = " ".join([ids, *(screener.runtime for screener in screeners)])
    report(f"{len(bags)} bag{'s' * (len(bags) != 1)}, judged by {screeners[0].runtime}; the first may wait a minute for kernels that are compiled once")
    lone = sum(len(files) == 1 and next(iter(files)) != "0" for files in bags)
    if lone:
        report(f"{lone} of {len(bags)} bags are judged by one view alone: no other is beside it")
    if unknown:
        report(told_types(unknown))
    partial = out / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    rows, started, judged, said = [], time.monotonic(), 0, time.monotonic()
    for number, files in enumerate(bags, 1):
        stamp = " ".join(f"{name} {file.absolute()} {stamp_of(file)}" for name, file in files.items())
        stored = partial / hashlib.sha256(os.fsencode(f"{used} {stamp}")).hexdigest()[:24]  # a name may be no UTF-8
        if not stored.with_suffix(".json").exists():
            judged += 1
            _judge(screeners, files, stored)
            if judged == 1:  # it waited for models to load and kernels to compile
                started = time.monotonic()
        rows.append((json.loads(stored.with_suffix(".json").read_text()), stored.with_suffix(".html")))
        if time.monotonic() - said > SAY_EVERY_S or number == len(bags):
            said = time.monotonic()
            report(f"screened {number} of {len(bags)}" + _left(said - started, judged - 1, len(bags) - number))
    tally: dict[str, Any] = {name: sum(row["decision"] == name for row, _ in rows) for name in DECISIONS}
    tally["nothing_judged"] = sum(row["decision"] == "CLEAR" and row.get("n_regions") == 0 for row, _ in rows)
    tally["half_judged"] = sum(0 < sum(view["n_regions"] > 0 for view in row["views"].values()) < len(row["views"]) for row, _ in rows)
    (out / "findings.json").write_text(json.dumps([row for row, _ in rows], indent=1))
    (out / "findings.coco.json").write_text(json.dumps(coco_of_rows([row for row, _ in rows])))
    _write_page(out / "report.html", rows, tally, screeners)
    shutil.rmtree(partial)
    errors = {row["path"]: row["error"] for row, _ in rows if row.get("error")}
    for row, _ in rows:
        if row["decision"] == "REVIEW":
            report(f"REVIEW: {row.get('error') or '; '.join([str(row['path']), *row['reasons']])}")
    used_ids = sorted({row["model_id"] for row, _ in rows if row.get("model_id")})
    return tally | {"one_view": lone, "passed_over": dict(unknown), "errors": errors, "scans": len(bags), "model_ids": used_ids, "runtime": screeners[0].runtime, "out": str(out)}


def _left(elapsed_s: float, done: int, to_do: int) -> str:
    return f", {elapsed_s / done * to_do:.0f} s left" if done > 0 and to_do else ""


def _judge(screeners: Sequence[Screener], files: Mapping[str, Path], stored: Path) -> None:
    """Judge one bag and keep its row; the row is written last, so that it stands for all of it."""
    judged = judge_files(screeners, files)
    if judged.scan is None or judged.report is None:
        section = error_section(str(next(iter(files.values()))), judged.row["error"])
    else:
        section = report_section(judged.report, judged.scan, files.values())
    stored.with_suffix(".html").write_text(section, errors="backslashreplace")
    write_whole(stored.with_suffix(".json"), json.dumps(judged.row))


def _write_page(path: Path, rows: list[tuple[dict[str, Any], Path]], tally: dict[str, Any], screeners: Sequence[Screener]) -> None:
    """The page: alarms first, then what needs a person for other reasons, then what is clear."""
    used = {row.get("model_id") for row, _ in rows}
    told = [_about(screener) for screener in screeners if screener.model.id in used] or [_about(screeners[0])]
    order = sorted(rows, key=lambda item: DECISIONS.index(item[0]["decision"]))
    sections = (section.read_text() for _, section in order[:MOST_IN_PAGE])
    with path.open("w") as page:
        page.writelines(render_page(sections, min(len(rows), MOST_IN_PAGE), len(rows), tally, told))


def _about(screener: Screener) -> str:
    point, channels = screener.point, screener.model.config.input.channels
    level = "scans" if "per scan" in point.criterion else "segments"
    return (
        f"Model {screener.model.id} for {', '.join(channels)} · threshold {point.threshold:.4f} · {point.criterion}; "
        f"on {point.chosen_on_split}: {100 * point.expected_fpr:.2f} % of benign {level} · judged by {screener.runtime}"
    )
