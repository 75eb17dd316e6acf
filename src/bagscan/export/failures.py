"""The figures by which runtimes may differ, and which of them fail on which view."""

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
    "batch_differs": "largest difference between scores of views that come together",
    "cut_differs": "share of pixels that the runtime segments otherwise by itself",
    "items_differ": "difference between the items that the runtime finds; 1 where their number differs",
}


def failures(
    runtime: str, rows: Iterable[tuple[str, Mapping[str, float]]], limits: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Every figure that is over its limit.

    Args:
        rows: name of a view, and its figures. limits: the largest value of a figure that is allowed.

    Returns:
        ``runtime``, ``figure``, ``value``, ``allowed`` and ``view`` of each.
    """
    return [
        {"runtime": runtime, "figure": name, "value": row[name], "allowed": allowed, "view": view}
        for view, row in rows
        for name, allowed in limits.items()
        if name in row and not row[name] <= allowed  # NaN fails
    ]


def describe(failure: Mapping[str, Any]) -> str:
    """One failure as a line for people."""
    value = f"{failure['value']:.3g}, allowed {failure['allowed']:g}"
    place = f"{failure['runtime']}, {failure['view']}"
    return f"{place}: {failure['figure']} {value} ({MEANINGS[failure['figure']]})"


def readable(scans: Sequence[Path], select: Any) -> tuple[list[tuple[str, Scan]], list[str]]:
    """Scans that a model takes, by path, and why others are left out.

    Args:
        select: called with each :class:`View`; raises where the model does not take it.
    """
    read, left_out = [], []
    for path in find_scans(scans) if scans else []:
        try:
            scan = read_scan(path)
            for view in scan.views:
                select(view)
        except (ModelError, ReadError) as error:  # of other channels, or torn
            left_out.append(str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        read.append((str(path), scan))
    return read, left_out


def named_view(path: str, view: View, several: bool) -> str:
    """A name for a view of a scan, with its own where the scan has several."""
    return f"{path} {view.view_id}" if several else path
