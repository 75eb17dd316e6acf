"""Figures by which runtimes are compared, and those over their limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core import View
from bagscan.core.errors import ModelError, ReadError
from bagscan.core.scan import Scan
from bagscan.formats import find_scans, read_scan

MEANINGS = {
    "scores_differ": "largest difference between scores of the same regions",
    "flipped": "regions on the other side of the threshold",
    "pixels_differ": "share of pixels in another region",
    "batch_differs": "largest difference between scores of views in a batch",
    "cut_differs": "share of pixels that the runtime segments differently with its own networks",
    "items_differ": "difference between the items that the runtime detects; 1 if numbers differ",
}


def failures(
    runtime: str, rows: Iterable[tuple[str, Mapping[str, float]]], limits: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the figures that exceed their limits.

    Args:
        runtime: name of the runtime.
        rows: name of each view, and its figures.
        limits: largest allowed value of each figure.

    Returns:
        ``runtime``, ``figure``, ``value``, ``allowed`` and ``view`` of each failure.
    """
    return [
        {"runtime": runtime, "figure": name, "value": row[name], "allowed": allowed, "view": view}
        for view, row in rows
        for name, allowed in limits.items()
        if name in row and not row[name] <= allowed  # NaN fails
    ]


def describe(failure: Mapping[str, Any]) -> str:
    """Format a failure as a line of text."""
    value = f"{failure['value']:.3g}, allowed {failure['allowed']:g}"
    place = f"{failure['runtime']}, {failure['view']}"
    return f"{place}: {failure['figure']} {value} ({MEANINGS[failure['figure']]})"


def readable(scans: Sequence[Path], select: Any) -> tuple[list[tuple[str, Scan]], list[str]]:
    """Read the scans that a model accepts.

    Args:
        scans: files and folders.
        select: called with each :class:`View`; raises ModelError if the model does not accept it.

    Returns:
        Path and scan of each accepted scan, and a reason for each other scan.
    """
    read, left_out = [], []
    for path in find_scans(scans) if scans else []:
        try:
            scan = read_scan(path)
            for view in scan.views:
                select(view)
        except (ModelError, ReadError) as error:
            left_out.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        read.append((str(path), scan))
    return read, left_out


def named_view(path: str, view: View, several: bool) -> str:
    """Return a name for a view of a scan, with the view's id if the scan has several views."""
    return f"{path} {view.view_id}" if several else path
