"""Contact sheet of a dataset: some of its scans with the boxes of their annotations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from bagscan.core.annotation import Annotation
from bagscan.core.errors import ReadError
from bagscan.datasets.record import Collection, Record
from bagscan.formats import read_scan
from bagscan.imaging.contact_sheet import draw_contact_sheet
from bagscan.reporting.pictures import displayable

log = logging.getLogger(__name__)

COLUMNS, MAX_SCANS, CELL_PX, MAX_CAPTION = 4, 16, 360, 54
# Dark colours that stand out from pseudo-colour, for the classes in order of their names.
COLOURS = ("#d0006f", "#7a00c8", "#c00000", "#006a8e", "#5a4a00", "#000000", "#a04000", "#004d00")


def write_annotation_sheet(collection: Collection, path: Path) -> int:
    """Draw up to 16 annotated scans of a dataset, at even steps, into a PNG file.

    Scans that cannot be read are left out.

    Returns:
        The number of scans drawn.
    """
    annotated = [record for record in collection.records if record.annotations]
    chosen = annotated[:: max(1, -(-len(annotated) // MAX_SCANS))]
    labels = sorted({a.label for record in annotated for a in record.annotations})
    cells = [cell for record in chosen if (cell := _draw_record(record, labels)) is not None]
    draw_contact_sheet(cells, COLUMNS, (CELL_PX, CELL_PX)).save(path)
    return len(cells)


def _draw_record(record: Record, labels: Sequence[str]) -> tuple[Image.Image, str] | None:
    try:
        view = read_scan(record.path).views[0]
    except ReadError as error:
        log.warning(f"left out of the pictures: {error}")
        return None
    picture = Image.fromarray(displayable(view))
    if record.window is not None:  # a single item; its boxes are relative to the window
        picture = picture.crop(record.window)
    full_width = picture.width
    picture.thumbnail((CELL_PX - 8, CELL_PX - 4), Image.Resampling.LANCZOS)
    draw, scale = ImageDraw.Draw(picture), picture.width / full_width
    for annotation in record.annotations:
        _draw_box(draw, annotation, scale, COLOURS[labels.index(annotation.label) % len(COLOURS)])
    return picture, record.id[-MAX_CAPTION:]


def _draw_box(draw: ImageDraw.ImageDraw, annotation: Annotation, scale: float, colour: str) -> None:
    x1, y1, x2, y2 = (value * scale for value in annotation.box_xyxy)
    draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=2)
    text = (x1 + 3, y1 - 13 if y1 > 14 else y2 + 2)
    draw.rectangle(draw.textbbox(text, annotation.label), fill="white")
    draw.text(text, annotation.label, fill=colour)
