"""COCO JSON: boxes as x, y, width, height; masks as polygons or run lengths."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from bagscan.core import Annotation, RunLengths
from bagscan.core.checks import is_number
from bagscan.core.errors import ReadError
from bagscan.formats.limits import MAX_TEXT_BYTES, check_pixels, check_size, naming
from bagscan.formats.truth import check_on_picture, read_mask


@dataclass(frozen=True)
class CocoImage:
    """One image of a COCO file with its annotations; ``score`` per annotation for detections."""

    file_name: str
    height: int
    width: int
    annotations: tuple[Annotation, ...] = ()
    scores: tuple[float, ...] = ()


def read_coco(path: str | Path, bad: dict[str, str] | None = None) -> list[CocoImage]:
    """Read every image of a COCO file, those without annotations too.

    Args:
        bad: where given, an image with a wrong entry or annotation is left out and its reason put here, by
            file name, instead of an error.

    Raises:
        ReadError: not COCO JSON, nested too deeply, or an annotation of an unknown image or class.
    """
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    wrong: dict[str, str] = {}
    with naming(path, "COCO file"):
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(data, dict) or not isinstance(data.get("images"), list):
            raise ReadError(f"{path}: not a COCO file (no 'images')")
        images = _images(path, data, wrong)
    if bad is not None:
        bad |= wrong
    elif wrong:
        name, reason = next(iter(wrong.items()))
        raise ReadError(f"{path}: {name}: {reason}")
    return images


def _images(path: Path, data: dict[str, Any], wrong: dict[str, str]) -> list[CocoImage]:
    """Every image whose entry and annotations are right; what is wrong with the others, by name."""
    entries = _listed(data.get("annotations"), "annotation", wrong)
    listed = _listed(data["images"], "image", wrong)
    names = _names(_listed(data.get("categories"), "category", wrong), wrong)
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for entry in entries:
        by_image.setdefault(_id(entry.get("image_id")), []).append(entry)
    known, files, twice = (
        _repeated(map(_id, values))
        for values in (
            (i.get("id") for i in listed),
            (i.get("file_name") for i in listed),
            (e.get("id") for e in entries),
        )
    )
    images = []
    for image in listed:
        name = str(image.get("file_name", image.get("id")))
        try:
            number = _id(image["id"])
            if number is None:
                raise ReadError(
                    f"an image's id must be a number or a name, got {image['id']!r:.40}"
                )
            if number in known:
                raise ReadError(f"image id {number} is given to several images")
            if image.get("file_name") in files:
                raise ReadError("the picture is listed several times")
            own = by_image.get(number, [])
            if again := [entry.get("id") for entry in own if _id(entry.get("id")) in twice]:
                raise ReadError(f"annotation id {again[0]} is given to several annotations")
            images.append(_image(path, image, own, names))
        except Exception as error:  # whatever a field of any type leads to
            wrong[name] = reason_in_words(error)
    for lost in by_image.keys() - {_id(image.get("id")) for image in listed}:
        wrong[f"annotation of image {lost}"] = (
            f"{len(by_image[lost])} annotations are of image {lost}, which is not listed"
        )
    return images


def _listed(entries: Any, what: str, wrong: dict[str, str]) -> list[dict[str, Any]]:
    """The entries of one of COCO's lists that are entries at all."""
    if not isinstance(entries or [], list):
        wrong[f"list of {what} entries"] = f"expected a list, got {type(entries).__name__}"
        return []
    for k, entry in enumerate(entries or []):
        if not isinstance(entry, dict):
            wrong[f"{what} entry {k}"] = f"expected fields and their values, got {entry!r:.40}"
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def _names(categories: list[dict[str, Any]], wrong: dict[str, str]) -> dict[Any, str]:
    """Name of every category by its id; of an id that is given to several, none: labels would mean other classes."""
    twice = _repeated(_id(category.get("id")) for category in categories)
    names = {}
    for category in categories:
        number, name = _id(category.get("id")), category.get("name")
        if number is None or number in twice or not isinstance(name, str) or not name.strip():
            reason = (
                "its id is given to several categories"
                if number in twice
                else f"expected an id and a name, got {number!r} and {name!r:.40}"
            )
            wrong[f"category {number}"] = reason
        else:
            names[number] = name.strip()
    return names


def _id(value: Any) -> int | str | None:
    """An id as it can be looked up; None for what is none."""
    return value if isinstance(value, int | str) else None


def reason_in_words(error: Exception) -> str:
    """What is wrong with an entry, for people: a missing field is more than its name in quotes."""
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return (
        str(error)
        if isinstance(error, ReadError | ValueError)
        else f"{type(error).__name__}: {error}"
    )


def _image(
    path: Path, image: dict[str, Any], entries: list[dict[str, Any]], names: dict[Any, str]
) -> CocoImage:
    height, width = (_side(image, name) for name in ("height", "width"))
    check_pixels(path, height, width)
    annotations = tuple(_annotation(entry, names, height, width) for entry in entries)
    scores = tuple(float(e["score"]) for e in entries if "score" in e)
    name = image["file_name"]
    if not isinstance(name, str) or not name:
        raise ReadError(f"file_name must be a name, got {name!r}")
    return CocoImage(name.replace("\\", "/"), height, width, annotations, scores)


def _side(image: dict[str, Any], name: str) -> int:
    """Height or width; some tools write them as text or with a fraction of zero."""
    result = image[name]
    try:
        side = float(result)
    except (TypeError, ValueError):
        side = math.nan
    if isinstance(result, bool) or not side.is_integer():
        raise ReadError(f"{name} must be a whole number of pixels, got {result!r:.40}")
    return int(side)


def _repeated(values: Iterable[Any]) -> set[Any]:
    return {
        one for one, n in Counter(value for value in values if value is not None).items() if n > 1
    }


def _annotation(
    entry: dict[str, Any], names: dict[Any, str], height: int, width: int
) -> Annotation:
    try:
        category, box = _id(entry.get("category_id")), entry.get("bbox")
        mask = (
            read_mask(entry["segmentation"], height, width) if entry.get("segmentation") else None
        )
        if category not in names:
            raise ReadError(f"category {entry.get('category_id')!r:.40} is not listed")
        if box is None and mask is not None and mask.area:
            x1, y1, x2, y2 = mask.box_xyxy
            box = [x1, y1, x2 - x1, y2 - y1]
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
            raise ReadError(f"bbox must be x, y, width and height, got {box!r:.60}")
        x, y, w, h = (float(v) for v in box)
        parent = entry.get("parent_id")
        found = Annotation(
            names[category],
            (x, y, x + w, y + h),
            mask,
            id=str(entry["id"]),
            parent_id=None if parent is None else str(parent),
        )
        check_on_picture(found, height, width)
        return found
    except Exception as error:
        raise ReadError(
            f"annotation {str(entry.get('id'))[:40]}: {reason_in_words(error)}"
        ) from error


def encode_mask(mask: np.ndarray | RunLengths) -> dict[str, Any]:
    """Compressed run lengths of a (H, W) bool mask, JSON-serialisable."""
    if isinstance(mask, RunLengths):
        encoded = rle.frPyObjects(
            {"size": list(mask.shape), "counts": mask.runs.tolist()}, *mask.shape
        )
    else:
        encoded = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def coco_entry(
    number: int,
    image_id: int,
    category_id: int,
    box_xyxy: Sequence[float],
    mask: dict[str, Any] | None,
) -> dict[str, Any]:
    """One COCO annotation; ``mask`` as :func:`encode_mask` gives it, or None for a box alone."""
    x1, y1, x2, y2 = box_xyxy
    entry: dict[str, Any] = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) if mask is None else float(rle.area(mask)),
        "iscrowd": 0,
    }
    return entry if mask is None else entry | {"segmentation": mask}


def coco_categories(labels: Iterable[str]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Number of every label, from 1 by name, and the COCO categories."""
    number = {label: i + 1 for i, label in enumerate(sorted(set(labels)))}
    return number, [{"id": i, "name": label} for label, i in number.items()]


def coco_document(images: Sequence[CocoImage]) -> dict[str, Any]:
    """The COCO dictionary of these images; categories are numbered from 1 by name."""
    number, categories = coco_categories(a.label for image in images for a in image.annotations)
    entries: list[dict[str, Any]] = []
    # Ids are numbered afresh within the file; parents follow their annotation to its new number.
    renumbered = {
        a.id: i + 1
        for i, a in enumerate(a for image in images for a in image.annotations)
        if a.id is not None
    }
    for index, image in enumerate(images):
        for k, annotation in enumerate(image.annotations):
            mask = None if annotation.mask is None else encode_mask(annotation.mask)
            entry = coco_entry(
                len(entries) + 1, index + 1, number[annotation.label], annotation.box_xyxy, mask
            )
            if annotation.parent_id is not None:
                entry["parent_id"] = renumbered.get(annotation.parent_id, annotation.parent_id)
            if image.scores:
                entry["score"] = image.scores[k]
            entries.append(entry)
    return {
        "images": [
            {"id": i + 1, "file_name": m.file_name, "height": m.height, "width": m.width}
            for i, m in enumerate(images)
        ],
        "annotations": entries,
        "categories": categories,
    }


def write_coco(path: str | Path, images: Sequence[CocoImage]) -> None:
    """Write a COCO file; boxes and masks come back exactly."""
    Path(path).write_text(json.dumps(coco_document(images)))
