"""What the review page needs of a judged scan: pixels at full depth, label maps and scores, as plain little-endian bytes."""

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
    """Keep every view's pixels and regions; their hashes by view."""
    kept: dict[str, Any] = {}
    for view in scan.views:
        kept[view.view_id] = {
            "pixels": files.put(packed_pixels(view)),
            "height": view.shape[0],
            "width": view.shape[1],
            "channels": list(view.channels),
        }
        if report is not None and view.view_id in report.regions:
            kept[view.view_id]["regions"] = files.put(
                packed_regions(report.regions[view.view_id], report.scores[view.view_id])
            )
    return kept


def packed_pixels(view: View) -> bytes:
    """``BSP1``, length of a JSON header, the header, then (C, H, W) uint8 or uint16 counts; gzipped."""
    counts = counts_from_view(
        transmission_of(view)
    )  # which the page's console takes the logarithm of
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
    """As :func:`packed_pixels`, of the (H, W) region of each pixel as uint16 (65535: none), then n float32 scores."""
    head = {"height": labels.shape[0], "width": labels.shape[1], "n": len(scores)}
    plain = np.where(labels < 0, 65535, labels).astype("<u2")
    return _packed(head, plain.tobytes() + np.asarray(scores, "<f4").tobytes())


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of what :func:`packed_pixels` or :func:`packed_regions` made."""
    plain = gzip.decompress(content)
    if plain[:4] != MAGIC:
        raise ValueError("not packed pixels or regions")
    (length,) = struct.unpack("<I", plain[4:8])
    return json.loads(plain[8 : 8 + length]), plain[8 + length :]


def _packed(head: dict[str, Any], body: bytes) -> bytes:
    result = json.dumps(head).encode()
    result += b" " * (
        -(8 + len(result)) % 4
    )  # the body starts at a multiple of four, as typed arrays want it
    return gzip.compress(MAGIC + struct.pack("<I", len(result)) + result + body, 1, mtime=0)
