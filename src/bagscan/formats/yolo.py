"""YOLO text labels: ``class x_centre y_centre width height``, or a class and a polygon's x and y in turn, as shares of the image."""

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
    """Read ``classes.txt``: one name per line, in the order of their numbers."""
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "class list"):
        # Not splitlines(), which also breaks at form feeds and other signs that may stand within a name.
        names = [line.strip() for line in LINE_END.split(path.read_text(encoding="utf-8-sig"))]
        while names and not names[-1]:
            names.pop()
        if "" in names or len(set(names)) < len(names):
            raise ReadError(
                f"{path}: a line without a name in the middle, or a name twice: the numbers of labels would mean other classes"
            )
        if odd := [name for name in names if not name.isprintable()]:
            raise ReadError(
                f"{path}: the name {odd[0]!r} holds a control character: two names on one line, perhaps"
            )
        return names


def read_yolo(
    path: str | Path, classes: Sequence[str], height: int, width: int
) -> list[Annotation]:
    """Read one image's boxes, scaled to its ``height`` and ``width`` in pixels.

    An empty file is an image without annotations.

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
            f"{path}: expected a class and 4 numbers of a box, or 6 and more of a polygon, in a line, got {line[:60]!r}"
        )
    number = float(fields[0])  # some tools write 0.0
    if number not in range(len(classes)):
        raise ReadError(
            f"{path}: class {fields[0][:30]}, but there are {len(classes)}, numbered from 0"
        )
    index = int(number)
    shares = [float(field) for field in fields[1:]]
    if not all(-0.01 <= share <= 1.01 for share in shares):
        raise ReadError(
            f"{path}: {line[:60]!r}: numbers must be shares of the picture, 0 to 1, and not pixels"
        )
    if is_polygon:
        return _polygon(classes[index], shares, height, width)
    x, y, w, h = shares
    box = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    found = Annotation(classes[index], box)
    check_on_picture(found, height, width)
    return found


def _polygon(label: str, shares: Sequence[float], height: int, width: int) -> Annotation:
    xs, ys = [x * width for x in shares[::2]], [y * height for y in shares[1::2]]
    mask = read_mask(
        [[value for point in zip(xs, ys, strict=True) for value in point]], height, width
    )
    found = Annotation(label, (min(xs), min(ys), max(xs), max(ys)), mask)
    check_on_picture(found, height, width)
    return found


def write_yolo(
    path: str | Path,
    annotations: Sequence[Annotation],
    classes: Sequence[str],
    height: int,
    width: int,
) -> None:
    """Write one image's boxes.

    Raises:
        ValueError: a label that ``classes`` does not hold.
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
