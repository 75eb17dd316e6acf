"""YOLO text labels.

A line is ``class x_centre y_centre width height`` (box) or ``class x y x y ...`` (polygon).
Coordinates are fractions of the image size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bagscan.core import Annotation
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import check_on_picture, read_mask

LINE_END = re.compile(r"\r\n|\r|\n")


def read_classes(path: str | Path) -> list[str]:
    """Read ``classes.txt``: one name per line, in the order of the class numbers.

    Raises:
        ReadError: a name is empty, repeated, or contains control characters.
    """
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "class list"):
        # splitlines() also splits at form feeds and other characters that a name can contain.
        names = [line.strip() for line in LINE_END.split(path.read_text(encoding="utf-8-sig"))]
        while names and not names[-1]:
            names.pop()
        if "" in names or len(set(names)) < len(names):
            raise ReadError(
                f"{path}: an empty line or a repeated name; "
                "write each class name once, in the order of the class numbers"
            )
        if unprintable := [name for name in names if not name.isprintable()]:
            raise ReadError(
                f"{path}: name {unprintable[0]!r} contains a control character; "
                "write one name per line"
            )
        return names


def read_yolo(
    path: str | Path, classes: Sequence[str], height: int, width: int
) -> list[Annotation]:
    """Read the boxes and polygons of one image.

    An empty file is an image without annotations.

    Args:
        path: the label file.
        classes: class names in the order of their numbers.
        height, width: size of the image in pixels.

    Raises:
        ReadError: a line that is neither a box nor a polygon, an unknown class, or an empty box.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size == 0:
        return []
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "YOLO label file"):
        lines = [
            line for line in LINE_END.split(path.read_text(encoding="utf-8-sig")) if line.strip()
        ]
        return [_annotation(path, line, classes, height, width) for line in lines]


def _annotation(
    path: Path, line: str, classes: Sequence[str], height: int, width: int
) -> Annotation:
    fields = line.split()
    is_polygon = len(fields) >= 7 and len(fields) % 2 == 1
    if len(fields) != 5 and not is_polygon:
        raise ReadError(
            f"{path}: got line {line[:60]!r}; "
            "expected a class and 4 numbers (box) or 6 or more numbers (polygon)"
        )
    number = float(fields[0])  # some tools write 0.0
    if number not in range(len(classes)):
        raise ReadError(
            f"{path}: class {fields[0][:30]} is out of range; "
            f"there are {len(classes)} classes, numbered from 0"
        )
    index = int(number)
    fractions = [float(field) for field in fields[1:]]
    if not all(-0.01 <= fraction <= 1.01 for fraction in fractions):
        raise ReadError(
            f"{path}: {line[:60]!r}: coordinates must be fractions of the image, 0 to 1, not pixels"
        )
    if is_polygon:
        return _polygon_annotation(classes[index], fractions, height, width)
    x, y, w, h = fractions
    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    annotation = Annotation(classes[index], box)
    check_on_picture(annotation, height, width)
    return annotation


def _polygon_annotation(
    label: str, fractions: Sequence[float], height: int, width: int
) -> Annotation:
    xs, ys = [x * width for x in fractions[::2]], [y * height for y in fractions[1::2]]
    points = [value for point in zip(xs, ys, strict=True) for value in point]
    mask = read_mask([points], height, width)
    annotation = Annotation(label, (min(xs), min(ys), max(xs), max(ys)), mask)
    check_on_picture(annotation, height, width)
    return annotation


def write_yolo(
    path: str | Path,
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    height: int,
    width: int,
) -> None:
    """Write the boxes of one image. Masks are not written.

    Args:
        path: the label file.
        annotations: annotations of the image.
        classes: class names in the order of their numbers.
        height, width: size of the image in pixels.

    Raises:
        ValueError: a label is not in ``classes``.
    """
    lines = []
    for annotation in annotations:
        x1, y1, x2, y2 = annotation.box_xyxy
        numbers = (
            (x1 + x2) / 2 / width,
            (y1 + y2) / 2 / height,
            (x2 - x1) / width,
            (y2 - y1) / height,
        )
        lines.append(
            f"{list(classes).index(annotation.label)} " + " ".join(f"{n:.8f}" for n in numbers)
        )
    Path(path).write_text("".join(f"{line}\n" for line in lines))
