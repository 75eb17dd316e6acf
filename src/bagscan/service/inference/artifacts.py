"""Artifacts of a screened scan for the review page: pixels at full depth, label maps and scores.

An artifact is gzipped: ``BSP1``, the length of the header as uint32, a JSON header, and a body. All
numbers are little-endian.
"""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np

from bagscan.core import Report, Scan, View
from bagscan.formats.quantities import counts_from_view, transmission_of
from bagscan.service.store.files import Files

MAGIC = b"BSP1"


def keep_artifacts(files: Files, scan: Scan, report: Report | None) -> dict[str, Any]:
    """Store the pixels and regions of every view.

    Returns:
        By view: ``pixels`` and ``regions`` (SHA-256), ``height``, ``width`` and ``channels``.
    """
    artifacts: dict[str, Any] = {}
    for view in scan.views:
        artifacts[view.view_id] = {
            "pixels": files.put(packed_pixels(view)),
            "height": view.shape[0],
            "width": view.shape[1],
            "channels": list(view.channels),
        }
        if report is not None and view.view_id in report.regions:
            artifacts[view.view_id]["regions"] = files.put(
                packed_regions(report.regions[view.view_id], report.scores[view.view_id])
            )
    return artifacts


def packed_pixels(view: View) -> bytes:
    """Pack a view as (C, H, W) uint8 or uint16 counts, proportional to the transmission."""
    counts = counts_from_view(transmission_of(view))  # the page computes their logarithm
    bits = counts.dtype.itemsize * 8
    head = {
        "channels": list(view.channels),
        "height": view.shape[0],
        "width": view.shape[1],
        "bits": bits,
        "quantity": view.quantity,
    }
    return _packed(head, np.ascontiguousarray(counts, counts.dtype.newbyteorder("<")).tobytes())


def packed_regions(labels: np.ndarray, scores: np.ndarray) -> bytes:
    """Pack a label map and the scores of its regions.

    Args:
        labels: (H, W) int, region of each pixel; negative outside regions.
        scores: (n,) float, scores of the regions.

    Returns:
        An artifact of (H, W) uint16 labels, 65535 outside regions, and (n,) float32 scores.
    """
    head = {"height": labels.shape[0], "width": labels.shape[1], "n": len(scores)}
    plain = np.where(labels < 0, 65535, labels).astype("<u2")
    return _packed(head, plain.tobytes() + np.asarray(scores, "<f4").tobytes())


def unpack_artifact(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and body of an artifact.

    Raises:
        ValueError: ``content`` is not an artifact.
    """
    plain = gzip.decompress(content)
    if plain[:4] != MAGIC:
        raise ValueError("not an artifact: expected packed pixels or regions")
    (length,) = struct.unpack("<I", plain[4:8])
    return json.loads(plain[8 : 8 + length]), plain[8 + length :]


def _packed(head: dict[str, Any], body: bytes) -> bytes:
    header = json.dumps(head).encode()
    # JavaScript's typed arrays need the body to start at a multiple of four.
    header += b" " * (-(8 + len(header)) % 4)
    return gzip.compress(MAGIC + struct.pack("<I", len(header)) + header + body, 1, mtime=0)
