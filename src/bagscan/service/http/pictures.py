"""A view's picture and contours for those who want no page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from bagscan.reporting.contours import anomalous_path, benign_path
from bagscan.service.inference.artifacts import unpacked


def picture_png(packed: bytes) -> bytes:
    """An 8-bit PNG of packed pixels: colours as they are, anything else as grey of its first channel."""
    head, body = unpacked(packed)
    counts = np.frombuffer(body, "<u2" if head["bits"] == 16 else "u1").reshape(
        len(head["channels"]), head["height"], head["width"]
    )
    shown = counts >> 8 if head["bits"] == 16 else counts
    shown = shown.astype(np.uint8)
    image = Image.fromarray(
        shown.transpose(1, 2, 0)
        if head["quantity"] == "pseudo_colour" and len(shown) == 3
        else shown[0]
    )
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def overlay_svg(packed: bytes, threshold: float) -> str:
    """Contours of packed regions, in the view's pixels."""
    head, body = unpacked(packed)
    height, width = head["height"], head["width"]
    size = 2 * height * width
    plain = np.frombuffer(body[:size], "<u2").reshape(height, width)
    labels = np.where(plain == 65535, -1, plain.astype(np.int32))
    scores = np.frombuffer(body[size:], "<f4").astype(np.float64)  # as a threshold is
    stroke = max(height, width) / 400
    flagged = []
    for index, place in enumerate(
        ndimage.find_objects(labels + 1)
    ):  # a window each: the whole picture for each of thousands of parts takes long
        if place is not None and scores[index] >= threshold:
            path = anomalous_path(labels[place] == index)
            shift = f"translate({place[1].start} {place[0].start})"
            flagged.append(
                f'<path d="{path}" transform="{shift}" stroke="#ff4d4d" stroke-width="{stroke:.2f}" stroke-dasharray="{3 * stroke:.1f} {2 * stroke:.1f}"/>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="none">'
        f'<path d="{benign_path(labels, scores, threshold)}" stroke="#3fbf6f" stroke-width="{stroke / 3:.2f}"/>'
        + "".join(flagged)
        + "</svg>"
    )
