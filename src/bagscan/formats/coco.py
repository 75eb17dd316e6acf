"""COCO JSON annotations: boxes as x, y, width, height; masks as polygons or run lengths."""

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
    """Image of a COCO file with its annotations.

    Attributes:
        file_name: path of the image file, with forward slashes.
        height: height in pixels.
        width: width in pixels.
        annotations: annotations of the image.
        scores: score of each annotation, for detections; else empty.
    """

    file_name: str
    height: int
    width: int
    annotations: tuple[Annotation, ...] = ()
    scores: tuple[float, ...] = ()


def read_coco(path: str | Path, bad: dict[str, str] | None = None) -> list[CocoImage]:
    """Read all images of a COCO file, including those without annotations.

    Args:
        path: the JSON file.
        bad: if given, invalid images are skipped and their error messages are added to it by file
            name, instead of raising an error.

    Raises:
        ReadError: not COCO JSON, nested too deeply, or an annotation of an unknown image or class.
    """
    path = Path(path)
    check_size(path, MAX_TEXT_BYTES)
    wrong: dict[str, str] = {}
    with naming(path, "COCO file"):
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(data, dict) or not isinstance(data.get("images"), list):
            raise ReadError(f"{path}: not a COCO file (list 'images' is missing)")
        images = _read_images(path, data, wrong)
    if bad is not None:
        bad |= wrong
    elif wrong:
        name, reason = next(iter(wrong.items()))
        raise ReadError(f"{path}: {name}: {reason}")
    return images


def _read_images(path: Path, data: dict[str, Any], wrong: dict[str, str]) -> list[CocoImage]:
    """Return the valid images; add the errors of the others to ``wrong`` by file name."""
    entries = _valid_entries(data.get("annotations"), "annotation", wrong)
    image_entries = _valid_entries(data["images"], "image", wrong)
    names = _category_names(_valid_entries(data.get("categories"), "category", wrong), wrong)
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for entry in entries:
        by_image.setdefault(_as_id(entry.get("image_id")), []).append(entry)
    repeated_ids = _repeated(_as_id(image.get("id")) for image in image_entries)
    repeated_files = _repeated(_as_id(image.get("file_name")) for image in image_entries)
    repeated_annotations = _repeated(_as_id(entry.get("id")) for entry in entries)
    images = []
    for image in image_entries:
        name = str(image.get("file_name", image.get("id")))
        try:
            number = _as_id(image["id"])
            if number is None:
                raise ReadError(f"image id must be a number or a string, got {image['id']!r:.40}")
            if number in repeated_ids:
                raise ReadError(f"several images have the id {number}")
            if image.get("file_name") in repeated_files:
                raise ReadError("the image is listed several times")
            annotations = by_image.get(number, [])
            ids = [entry.get("id") for entry in annotations]
            if repeated := [value for value in ids if _as_id(value) in repeated_annotations]:
                raise ReadError(f"several annotations have the id {repeated[0]}")
            images.append(_read_image(path, image, annotations, names))
        except Exception as error:  # fields of unexpected types raise any exception
            wrong[name] = error_message(error)
    for missing in by_image.keys() - {_as_id(image.get("id")) for image in image_entries}:
        wrong[f"annotation of image {missing}"] = (
            f"{len(by_image[missing])} annotations belong to image {missing}, which is not listed"
        )
    return images


def _valid_entries(entries: Any, what: str, wrong: dict[str, str]) -> list[dict[str, Any]]:
    """Return the entries of a COCO list that are dictionaries."""
    if not isinstance(entries or [], list):
        wrong[f"list of {what} entries"] = f"expected a list, got {type(entries).__name__}"
        return []
    for k, entry in enumerate(entries or []):
        if not isinstance(entry, dict):
            wrong[f"{what} entry {k}"] = f"expected an object, got {entry!r:.40}"
    return [entry for entry in entries or [] if isinstance(entry, dict)]


def _category_names(categories: list[dict[str, Any]], wrong: dict[str, str]) -> dict[Any, str]:
    """Return category names by id, without ids of several categories, which are ambiguous."""
    repeated = _repeated(_as_id(category.get("id")) for category in categories)
    names = {}
    for category in categories:
        number, name = _as_id(category.get("id")), category.get("name")
        if number in repeated:
            wrong[f"category {number}"] = "several categories have this id"
        elif number is None or not isinstance(name, str) or not name.strip():
            reason = f"expected an id and a name, got {number!r} and {name!r:.40}"
            wrong[f"category {number}"] = reason
        else:
            names[number] = name.strip()
    return names


def _as_id(value: Any) -> int | str | None:
    return value if isinstance(value, int | str) else None


def error_message(error: Exception) -> str:
    """Return the message of an error in an entry. A KeyError becomes "'x' is missing"."""
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return (
        str(error)
        if isinstance(error, ReadError | ValueError)
        else f"{type(error).__name__}: {error}"
    )


def _read_image(
    path: Path, image: dict[str, Any], entries: list[dict[str, Any]], names: dict[Any, str]
) -> CocoImage:
    height, width = (_read_size(image, name) for name in ("height", "width"))
    check_pixels(path, height, width)
    annotations = tuple(_annotation(entry, names, height, width) for entry in entries)
    scores = tuple(float(e["score"]) for e in entries if "score" in e)
    name = image["file_name"]
    if not isinstance(name, str) or not name:
        raise ReadError(f"file_name must be a non-empty string, got {name!r}")
    return CocoImage(name.replace("\\", "/"), height, width, annotations, scores)


def _read_size(image: dict[str, Any], name: str) -> int:
    """Return the height or width. Some tools write it as a string or as a float."""
    value = image[name]
    try:
        size = float(value)
    except (TypeError, ValueError):
        size = math.nan
    if isinstance(value, bool) or not size.is_integer():
        raise ReadError(f"{name} must be an integer number of pixels, got {value!r:.40}")
    return int(size)


def _repeated(values: Iterable[Any]) -> set[Any]:
    counts = Counter(value for value in values if value is not None)
    return {value for value, n in counts.items() if n > 1}


def _annotation(
    entry: dict[str, Any], names: dict[Any, str], height: int, width: int
) -> Annotation:
    try:
        category, box = _as_id(entry.get("category_id")), entry.get("bbox")
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
        annotation = Annotation(
            names[category],
            (x, y, x + w, y + h),
            mask,
            id=str(entry["id"]),
            parent_id=None if parent is None else str(parent),
        )
        check_on_picture(annotation, height, width)
        return annotation
    except Exception as error:
        raise ReadError(
            f"annotation {str(entry.get('id'))[:40]}: {error_message(error)}"
        ) from error


def encode_mask(mask: np.ndarray | RunLengths) -> dict[str, Any]:
    """Return the JSON-serialisable compressed run lengths of a (H, W) bool mask."""
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
    """Return a COCO annotation.

    Args:
        number: id of the annotation.
        image_id: id of its image.
        category_id: id of its category.
        box_xyxy: half-open box in pixels.
        mask: encoded mask, see :func:`encode_mask`; None for a box without a mask.
    """
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
    """Return the id of each label, numbered from 1 in order of names, and the COCO categories."""
    number = {label: i + 1 for i, label in enumerate(sorted(set(labels)))}
    return number, [{"id": i, "name": label} for label, i in number.items()]


def coco_document(images: Sequence[CocoImage]) -> dict[str, Any]:
    """Return the COCO dictionary of images. Categories are numbered from 1 in order of names."""
    number, categories = coco_categories(a.label for image in images for a in image.annotations)
    entries: list[dict[str, Any]] = []
    # Annotations are renumbered within the file; parent ids are updated to the new numbers.
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
    """Write a COCO file. Boxes and masks are preserved exactly."""
    Path(path).write_text(json.dumps(coco_document(images)))
