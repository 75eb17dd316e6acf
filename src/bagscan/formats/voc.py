"""PASCAL VOC XML annotations. Corners are 1-based and inclusive; SIXray writes them as floats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import defusedxml.ElementTree

from bagscan.core import Annotation
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_TEXT_BYTES, check_size, naming
from bagscan.formats.truth import check_image_size, check_on_picture


def read_voc(path: str | Path, seen: tuple[int, int] | None = None) -> list[Annotation]:
    """Read the boxes of one image.

    Args:
        path: the XML file.
        seen: (height, width) of the image in pixels; if given, the size in the file must be the
            same, and every box must lie on the image.

    Raises:
        ReadError: not a VOC file, a wrong box or size, or XML with a DTD or entities.
    """
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    with naming(path, "VOC annotation"):
        root = defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot()
        if root is None or root.tag != "annotation":
            raise ReadError(f"{path}: the root element must be <annotation>")
        annotations = [_annotation(path, element) for element in root.iter("object")]
        size = tuple(int(float(root.findtext(f"size/{name}", "0"))) for name in ("height", "width"))
        if seen is not None:
            if min(size):
                check_image_size((size[0], size[1]), seen)
            for annotation in annotations:
                check_on_picture(annotation, *seen)
        return annotations


def _annotation(path: Path, element: ElementTree.Element) -> Annotation:
    boxes = element.findall("bndbox")
    if len(boxes) != 1:
        raise ReadError(f"{path}: an <object> has {len(boxes)} <bndbox> elements; expected 1")
    box = boxes[0]
    x1, y1, x2, y2 = (float(box.findtext(name, "nan")) for name in ("xmin", "ymin", "xmax", "ymax"))
    return Annotation(element.findtext("name", "").strip(), (x1 - 1, y1 - 1, x2, y2))


def write_voc(
    path: str | Path, annotations: Sequence[Annotation], file_name: str, height: int, width: int
) -> None:
    """Write the boxes of one image. An image without annotations gets a file, too."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = file_name
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    for annotation in annotations:
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = annotation.label
        box = ElementTree.SubElement(element, "bndbox")
        x1, y1, x2, y2 = annotation.box_xyxy
        for name, corner in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
            ElementTree.SubElement(box, name).text = f"{corner:.3f}"
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
