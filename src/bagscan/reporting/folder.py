"""Screen many scans into a folder: findings.json, findings.coco.json, report.html (and report_images/), dicos/.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bagscan.core.errors import ConfigError, ReadError
from bagscan.core.extras import required
from bagscan.core.files import atomic_write_text, held, refuse_file
from bagscan.formats import find_scans
from bagscan.formats.scans import (
    VIEWS,
    expected_of,
    group_views,
    no_scans,
    stamp_of,
    told_types,
    views_made,
)
from bagscan.kernel_cache import is_empty
from bagscan.reporting.bags import judge_files
from bagscan.reporting.dicos import write_threat_reports
from bagscan.reporting.findings import coco_of_rows
from bagscan.reporting.html import error_section, render_page, report_section, summary_row
from bagscan.reporting.pictures import Pictures
from bagscan.reporting.truth import compared, hidden_in, tally_of
from bagscan.screening import Screener

MAX_IN_PAGE = 500  # a page of thousands of bags is no page; JSON and COCO hold all
MAX_IN_ONE_FILE = 50  # bags; of more, pictures lie beside the page and are loaded as one scrolls
IMAGES = "report_images"
MAX_SAID = 10  # alarms that the command names
SAY_EVERY_S = 5
FIRST_RUN = "; the first takes up to a minute, since code is compiled once on every machine"
DECISIONS = ("ALARM", "REVIEW", "CLEAR")  # as a person wants to see them


@dataclass(frozen=True)
class Shown:
    """A bag as the page shows it. Attributes: row: of findings.json. picture: address of its surest finding's close-up. section: file of its part of the page."""

    row: dict[str, Any]
    picture: str
    section: Path


def screen_folder(
    paths: Sequence[Path],
    models: Sequence[Path],
    out: Path,
    report: Callable[[str], None] = print,
    views: Sequence[str] = VIEWS,
    scanner_views: Sequence[str] = (),
    dicos: bool = False,
    runtime: str | None = None,
) -> dict[str, Any]:
    """Screen every scan found; one that cannot be read becomes an error row of decision REVIEW.

    Args:
        models: each scan is judged by the first of them that takes its channels.
        views: files whose names end in these, and are alike before, are views of one bag with one decision.
        scanner_views: that the scanner makes of every bag; empty for those that any bag here has.
        dicos: write a DICOS threat detection report of every bag, too, into ``dicos/``.
        runtime: as of :func:`bagscan.runtime.load.load_model`.

    Returns:
        Counts of each decision, of ``reasons`` by code, ``errors`` by path, and how the verdicts compare with the ``truth`` of simulated scans.

    Raises:
        ReadError: a path that does not exist, or nothing to screen. DataError: ``out`` is a file, or another run is at work there.
        ConfigError: ``out`` holds the results of other scans. BagscanError: ``dicos`` without pydicom.
    """
    if dicos:
        required("pydicom")
    unknown = Counter[str]()
    bags = group_views(find_scans(paths, unknown), views)
    if not bags:
        raise ReadError(no_scans(paths, unknown))
    refuse_file(out)
    out.mkdir(parents=True, exist_ok=True)
    screeners = [Screener.load(model, runtime=runtime, late=len(models) > 1) for model in models]
    with held(out, report):
        _refuse_others(out, bags)
        tally, rows = _screen_into(out, bags, screeners, views, scanner_views, unknown, report)
        if dicos:
            write_threat_reports(out / "dicos", rows)
        return tally


def _refuse_others(out: Path, bags: Sequence[Mapping[str, Path]]) -> None:
    """A folder that holds the results of other files keeps them.

    Raises:
        ConfigError: it does.
    """
    try:
        there = {row.get("path") for row in json.loads((out / "findings.json").read_text())}
    except (OSError, ValueError, AttributeError):  # none, or of no run that ended
        return
    if there and there.isdisjoint(str(path) for files in bags for path in files.values()):
        raise ConfigError(
            f"{out} holds the results of other scans ({sorted(map(str, there))[0]} ...): give another --out, or delete it"
        )


def _screen_into(
    out: Path,
    bags: Sequence[Mapping[str, Path]],
    screeners: Sequence[Screener],
    views: Sequence[str],
    scanner_views: Sequence[str],
    unknown: Mapping[str, int],
    report: Callable[[str], None],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Judge what is not judged yet, and write what was found; the counts, and a row of every bag."""
    ids = " ".join(screener.model.id for screener in screeners)
    used = " ".join([ids, *(screener.runtime for screener in screeners)])
    report(
        f"{len(bags)} bag{'s' * (len(bags) != 1)}, judged by {screeners[0].runtime}{FIRST_RUN if is_empty() else ''}"
    )
    made = views_made(bags) or tuple(views)
    if unknown:
        report(told_types(unknown))
    partial = out / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    images = out / IMAGES if len(bags) > MAX_IN_ONE_FILE else None
    found, started, judged, said = [], time.monotonic(), 0, time.monotonic()
    for number, files in enumerate(bags, 1):
        expected = scanner_views or expected_of(files, made)
        stamp = " ".join(
            [
                *expected,
                *(f"{name} {file.absolute()} {stamp_of(file)}" for name, file in files.items()),
            ]
        )
        stored = (
            partial
            / hashlib.sha256(os.fsencode(f"{used} {stamp} {images is None}")).hexdigest()[:24]
        )  # a name may be no UTF-8
        if not stored.with_suffix(".json").exists():
            judged += 1
            _judge(screeners, files, expected, stored, images)
            if judged == 1:  # it waited for models to load and kernels to compile
                started = time.monotonic()
        result = json.loads(stored.with_suffix(".json").read_text())
        found.append(Shown(result["row"], result["picture"], stored.with_suffix(".html")))
        if time.monotonic() - said > SAY_EVERY_S or number == len(bags):
            said = time.monotonic()
            report(
                f"screened {number} of {len(bags)}"
                + _left(said - started, judged - 1, len(bags) - number)
            )
    rows = [one.row for one in found]
    tally: dict[str, Any] = {
        name: sum(row["decision"] == name for row in rows) for name in DECISIONS
    }
    tally["reasons"] = dict(Counter(code for row in rows for code in row.get("reason_codes", ())))
    (out / "findings.json").write_text(json.dumps(rows, indent=1))
    (out / "findings.coco.json").write_text(json.dumps(coco_of_rows(rows, out)))
    tally["truth"] = tally_of(row["truth"] for row in rows if "truth" in row)
    _write_page(out / "report.html", found, tally, screeners)
    _drop_images(out / IMAGES, {one.section.stem for one in found} if images else set())
    shutil.rmtree(partial)
    for row in rows:
        if row["decision"] == "REVIEW":
            report(f"REVIEW: {row.get('error') or '; '.join([str(row['path']), *row['reasons']])}")
    for row in sorted(
        (row for row in rows if row["decision"] == "ALARM"), key=_score, reverse=True
    )[:MAX_SAID]:
        report(
            f"ALARM: {row['scan_id']}: {len(row['findings'])} flagged, the first in view {row['findings'][0]['view_id']}, score {_score(row):.3f}"
        )
    errors = {row["path"]: row["error"] for row in rows if row.get("error")}
    used_ids = sorted({row["model_id"] for row in rows if row.get("model_id")})
    tally |= {
        "passed_over": dict(unknown),
        "errors": errors,
        "scans": len(bags),
        "model_ids": used_ids,
        "runtime": screeners[0].runtime,
        "out": str(out),
    }
    return tally, rows


def _score(row: Mapping[str, Any]) -> float:
    return max((found["score"] for found in row["findings"]), default=0.0)


def _left(elapsed_s: float, done: int, to_do: int) -> str:
    return f", {elapsed_s / done * to_do:.0f} s left" if done > 0 and to_do else ""


def _judge(
    screeners: Sequence[Screener],
    files: Mapping[str, Path],
    expected: Sequence[str],
    stored: Path,
    images: Path | None,
) -> None:
    """Judge one bag and keep its row; the row is written last, so that it stands for all of it."""
    judged = judge_files(screeners, files, expected)
    row, scan, report, picture = judged.row, judged.scan, judged.report, ""
    if scan is None or report is None:
        section = error_section(row, stored.name)
    else:
        pictures = Pictures(images, stored.name)
        hidden = hidden_in(
            next(iter(files.values())), scan.id, [view.view_id for view in scan.views]
        )
        if hidden is not None:
            row = row | {"truth": compared(row, hidden)}
        outcome = row["truth"]["outcome"] if hidden is not None else ""
        section, picture = report_section(
            report, scan, files.values(), stored.name, pictures, hidden, outcome
        )
    stored.with_suffix(".html").write_text(section, errors="backslashreplace")
    atomic_write_text(stored.with_suffix(".json"), json.dumps({"row": row, "picture": picture}))


def _write_page(
    path: Path, found: Sequence[Shown], tally: dict[str, Any], screeners: Sequence[Screener]
) -> None:
    """The page: alarms by score, then what needs a person for other reasons, then what is clear."""
    used = {one.row.get("model_id") for one in found}
    result = [_about(screener) for screener in screeners if screener.model.id in used] or [
        _about(screeners[0])
    ]
    order = sorted(found, key=lambda one: (DECISIONS.index(one.row["decision"]), -_score(one.row)))
    lines: dict[str, list[str]] = {name: [] for name in DECISIONS}
    for rank, one in enumerate(order):
        lines[one.row["decision"]].append(
            summary_row(one.row, one.section.stem, rank < MAX_IN_PAGE, one.picture)
        )
    sections = (one.section.read_text() for one in order[:MAX_IN_PAGE])
    missed = sum(
        one.row["decision"] == "CLEAR" and one.row.get("truth", {}).get("outcome") == "missed"
        for one in found
    )
    with path.open("w", errors="backslashreplace") as page:
        page.writelines(
            render_page(
                sections, lines, min(len(found), MAX_IN_PAGE), tally, result, tally["truth"], missed
            )
        )


def _drop_images(folder: Path, used: set[str]) -> None:
    """Delete the pictures of bags that the page no longer shows."""
    for path in folder.glob("*"):
        if path.suffix in (".jpg", ".svg") and path.name.partition("_")[0] not in used:
            path.unlink()


def _about(screener: Screener) -> str:
    point, channels = screener.point, screener.model.config.input.channels
    level = "bags" if "per scan" in point.criterion else "regions"
    return (
        f"Model for {', '.join(channels)} ({screener.model.id}, {screener.runtime}). Its operating point is a score of {point.threshold:.4g} ({point.criterion}), "
        f"which {100 * point.expected_fpr:.1f} % of benign {level} reached on the data that it was chosen on ({point.chosen_on_split})."
    )
