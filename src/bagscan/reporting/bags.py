"""One bag from its files to its row: what command line and service both call, so that both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bagscan.core import Decision, Reason, ReasonCode, Report, Scan
from bagscan.formats.scans import VIEWS, read_views
from bagscan.reporting.findings import error_row, report_row
from bagscan.screening import Screener


@dataclass(frozen=True)
class Judged:
    """A bag's row, and what it was made of where its files could be read."""

    row: dict[str, Any]
    scan: Scan | None = None
    report: Report | None = None


def judge_files(
    screeners: Sequence[Screener], files: Mapping[str, Path], expected: Sequence[str] = ()
) -> Judged:
    """Judge one bag.

    Args:
        screeners: the first that takes the scan's channels judges it. files: by name of the view, one a view, or one file of all views.
        expected: views that the scanner makes of a bag; one of which a view is missing is never clear.

    Returns:
        Its row; where no file could be read an error row of decision ``REVIEW``.
    """
    scan, errors = read_views(files)
    result = "; ".join(errors.values())
    if scan is None:
        return Judged(error_row(next(iter(files.values())), result))
    report = (
        next((s for s in screeners if s.takes(scan)), None) or _nearest(screeners, scan)
    ).screen(scan)
    there = {*files, *(view.view_id for view in scan.views)}  # a file may hold several views
    if not expected and len(files) == 1 and there & set(VIEWS):
        expected = VIEWS  # a file that names its view itself, as others do in their own names
    missing = [name for name in expected if name not in there]
    reasons = [Reason(ReasonCode.UNREADABLE, error) for error in errors.values()]
    if missing:
        reasons.append(
            Reason(
                ReasonCode.MISSING_VIEW,
                f"view {' and '.join(missing)} of this bag did not come: {len(expected) - len(missing)} of {len(expected)} views were examined",
            )
        )
    if reasons:  # what can be read is judged and shown
        report = replace(report, decision=Decision.REVIEW, reasons=(*report.reasons, *reasons))
    row = report_row(report, scan, files if len(files) > 1 else None)
    return Judged(row | ({"error": result} if errors else {}), scan, report)


def _nearest(screeners: Sequence[Screener], scan: Scan) -> Screener:
    """The one that lacks the fewest channels, whose answer says what is missing."""
    there = set(scan.views[0].channels)
    return min(
        screeners, key=lambda screener: len(set(screener.model.config.input.channels) - there)
    )
