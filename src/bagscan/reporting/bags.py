"""Screen the files of one bag; the command line and the service both call this."""

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
class ScreenedBag:
    """Result of screening one bag.

    Attributes:
        row: the bag's row, as in ``findings.json``.
        scan: the scan; None if no file could be read.
        report: the screener's report; None if no file could be read.
    """

    row: dict[str, Any]
    scan: Scan | None = None
    report: Report | None = None


def screen_files(
    screeners: Sequence[Screener], files: Mapping[str, Path], expected: Sequence[str] = ()
) -> ScreenedBag:
    """Screen one bag.

    Args:
        screeners: the first that takes the scan's channels is used.
        files: files by view name: one per view, or a single file of all views.
        expected: views that the scanner makes of a bag; a bag that lacks one is ``REVIEW``.

    Returns:
        The bag's row, scan and report; an error row with decision ``REVIEW`` if no file could be
        read.
    """
    scan, errors = read_views(files)
    message = "; ".join(errors.values())
    if scan is None:
        return ScreenedBag(error_row(next(iter(files.values())), message))
    screener = next((s for s in screeners if s.accepts(scan)), None) or _nearest(screeners, scan)
    report = screener.screen(scan)
    present = {*files, *(view.view_id for view in scan.views)}  # a file may hold several views
    if not expected and len(files) == 1 and present & set(VIEWS):
        expected = VIEWS  # a file that names its view belongs to a scanner of these views
    missing = [name for name in expected if name not in present]
    reasons = [Reason(ReasonCode.UNREADABLE, error) for error in errors.values()]
    if missing:
        n_present = len(expected) - len(missing)
        reasons.append(
            Reason(
                ReasonCode.MISSING_VIEW,
                f"view {' and '.join(missing)} of this bag is missing: "
                f"{n_present} of {len(expected)} views were examined",
            )
        )
    if reasons:
        report = replace(report, decision=Decision.REVIEW, reasons=(*report.reasons, *reasons))
    row = report_row(report, scan, files if len(files) > 1 else None)
    return ScreenedBag(row | ({"error": message} if errors else {}), scan, report)


def _nearest(screeners: Sequence[Screener], scan: Scan) -> Screener:
    """Return the screener that lacks the fewest channels, so that its report names them."""
    present = set(scan.views[0].channels)
    return min(
        screeners, key=lambda screener: len(set(screener.model.config.input.channels) - present)
    )
