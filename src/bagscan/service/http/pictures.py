"""Images and contours of views, for clients other than the web page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from bagscan.reporting.contours import benign_path, outline_path
from bagscan.service.inference.artifacts import unpack_artifact


def picture_png(packed: bytes) -> bytes:
    """Return an 8-bit PNG of packed pixels: pseudo-colour as is, else the first channel in grey."""
    head, body = unpack_artifact(packed)
    counts = np.frombuffer(body, "<u2" if head["bits"] == 16 else "u1").reshape(
        len(head["channels"]), head["height"], head["width"]
    )
    channels = (counts >> 8 if head["bits"] == 16 else counts).astype(np.uint8)
    has_colour = head["quantity"] == "pseudo_colour" and len(channels) == 3
    image = Image.fromarray(channels.transpose(1, 2, 0) if has_colour else channels[0])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def overlay_svg(packed: bytes, threshold: float) -> str:
    """Return an SVG with the contours of packed regions, in pixels of the view.

    Args:
        threshold: score at and above which a region is anomalous (red, dashed) rather than benign
            (green).
    """
    head, body = unpack_artifact(packed)
    height, width = head["height"], head["width"]
    size = 2 * height * width
    plain = np.frombuffer(body[:size], "<u2").reshape(height, width)
    labels = np.where(plain == 65535, -1, plain.astype(np.int32))
    # Compare in the precision of the threshold.
    scores = np.frombuffer(body[size:], "<f4").astype(np.float64)
    stroke = max(height, width) / 400
    flagged = []
    # Trace each region in its bounding box: tracing thousands in the full view is slow.
    for index, window in enumerate(ndimage.find_objects(labels + 1)):
        if window is not None and scores[index] >= threshold:
            path = outline_path(labels[window] == index)
            shift = f"translate({window[1].start} {window[0].start})"
            flagged.append(
                f'<path d="{path}" transform="{shift}" stroke="#ff4d4d" '
                f'stroke-width="{stroke:.2f}" '
                f'stroke-dasharray="{3 * stroke:.1f} {2 * stroke:.1f}"/>'
            )
    benign = benign_path(labels, scores, threshold)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="none">'
        f'<path d="{benign}" stroke="#3fbf6f" stroke-width="{stroke / 3:.2f}"/>'
        + "".join(flagged)
        + "</svg>"
    )
