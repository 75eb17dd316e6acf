"""Screen many scans into a folder: findings.json, findings.coco.json, report.html."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bagscan.core import Report
from bagscan.core.errors import BagscanError, ReadError
from bagscan.formats import find_scans, read_scan
from bagscan.reporting.findings import write_findings_coco, write_json
from bagscan.reporting.html import Screened, render_page
from bagscan.screening import Screener

MOST_IN_PAGE = 200  # a page of thousands of scans is no page; JSON and COCO hold all


def screen_folder(paths: Sequence[Path], model: Path, out: Path, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Screen every scan found; one that cannot be read becomes an error row of decision REVIEW.

    Returns:
        Counts of each decision, and ``errors``.

    Raises:
        ReadError: a path that does not exist, or nothing to screen.
    """
    files = find_scans(paths)
    if not files:
        raise ReadError(f"no scans in {', '.join(map(str, paths))}")
    screener = Screener.load(model)
    out.mkdir(parents=True, exist_ok=True)
    shown: list[Screened] = []
    reports: list[Report] = []
    names: dict[str, str] = {}
    errors: dict[str, str] = {}
    started = time.monotonic()
    for number, file in enumerate(files, 1):
        try:
            scan = read_scan(file)
        except BagscanError as error:
            errors[str(file)] = str(error)
            shown.append(Screened(str(file), None, None, str(error)))
            continue
        result = screener.screen(scan)
        reports.append(result)
        names[scan.id] = file.name
        if len(shown) < MOST_IN_PAGE:
            shown.append(Screened(f"{scan.id} ({file.name})", result, scan.views[0]))
        if number % 20 == 0 or number == len(files):
            left = (time.monotonic() - started) / number * (len(files) - number)
            report(f"screened {number} of {len(files)}, {left:.0f} s left")
    write_json(out / "findings.json", reports)
    write_findings_coco(out / "findings.coco.json", reports, names)
    point = screener.point
    about = f"{point.criterion}; on {point.chosen_on_split}: {100 * point.expected_fpr:.2f} % of benign segments"
    (out / "report.html").write_text(render_page(shown, screener.model.id, point.threshold, about))
    tally: dict[str, Any] = {name: sum(r.decision.value == name for r in reports) for name in ("ALARM", "CLEAR", "REVIEW")}
    tally["REVIEW"] += len(errors)
    return tally | {"errors": errors, "scans": len(files), "model_id": screener.model.id, "out": str(out)}
