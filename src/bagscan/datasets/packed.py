"""Simulated datasets packed for training a detector: raw pixels, and labels of every pixel.

::

    packed/categories.json   names of the categories
    packed/00000.npy         all arrays of one scene, as one flat uint16 array
    packed/00000.json        offset and shape of each array, and metadata

The two scans of a scene share one image per view. Where they differ, a patch holds the pixels of
the anomalous scan. Labels have half the resolution of the image. A pixel can belong to several
categories. Each distinct combination has a number, and the label is this number.
:mod:`bagscan.datasets.packing` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = "packed"
LABEL_STRIDE = 2  # pixels of the view per pixel of the labels
# Bits of a label: categories are 0 to 111, devices 112 to 119, and 127 marks ignored pixels.
MAX_CATEGORIES, IGNORED, FIRST_DEVICE, MAX_DEVICES = 112, 127, 112, 8
MAX_IN_SET = 24  # bits kept per label
EMPTY = 255  # padding of a set


@dataclass(frozen=True)
class PackedView:
    """One view of a scene, without and with its anomaly.

    Attributes:
        name: name of the view.
        pixels: (3, H, W) uint16, low and high energy and effective Z, without the anomaly.
        patch: (3, h, w) uint16, the pixels that differ with the anomaly; can be empty.
        patch_at: row and column of the patch in the view.
        labels: (2, H/2, W/2) uint16, numbers of sets without and with the anomaly.
        sets: (n, 24) uint8, the bits of each set, padded with 255.
        anomaly_points: (m, 2) uint16, rows and columns of points on the anomaly, in the labels.
        device_points: the same for each device.
        devices: class of each device.
        host: index of the device that holds the anomaly; -1 if none of the first 8 devices does.
        about: metadata of the anomaly in this view: visible, change, area_mm2 and so on.
    """

    name: str
    pixels: np.ndarray
    patch: np.ndarray
    patch_at: tuple[int, int]
    labels: np.ndarray
    sets: np.ndarray
    anomaly_points: np.ndarray
    device_points: tuple[np.ndarray, ...]
    devices: tuple[str, ...]
    host: int
    about: dict[str, Any]


@dataclass(frozen=True)
class PackedScene:
    """A packed scene.

    Attributes:
        id: name of the dataset and id of the scene.
        about: part, group, device, family, piece, staging, kind, way, visible.
        views: views of the scene.
    """

    id: str
    about: dict[str, Any]
    views: tuple[PackedView, ...]


def read_packed(
    root: Path,
    parts: Sequence[str] = ("train", "val", "test"),
    categories: Sequence[str] | None = None,
) -> Iterator[PackedScene]:
    """Yield the packed scenes of a dataset in order, as memory-mapped arrays.

    Args:
        root: folder of the dataset.
        parts: splits to read.
        categories: names in the order in which the labels shall number them, so that datasets with
            other categories can be combined; others are left out. By default those of the dataset.
    """
    renumbered = _renumber(packed_categories(root), categories) if categories else None
    for path in sorted((root / FOLDER).glob("*.json")):
        if path.name == "categories.json":
            continue
        result = json.loads(path.read_text())
        if result["about"]["part"] not in parts:
            continue
        flat = np.load(path.with_suffix(".npy"), mmap_mode="r")
        yield PackedScene(
            f"{root.name}/{result['id']}",
            result["about"],
            tuple(_view(flat, view, renumbered) for view in result["views"]),
        )


def _renumber(packed: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return (256,) uint8, the wanted number of each bit of a set; ``EMPTY`` if not wanted."""
    numbers = np.arange(256, dtype=np.uint8)
    position = {name: k for k, name in enumerate(wanted)}
    numbers[: len(packed)] = [position.get(name, EMPTY) for name in packed]
    return numbers


def _view(flat: np.ndarray, entry: dict[str, Any], renumbered: np.ndarray | None) -> PackedView:
    def array_at(place: Sequence[int]) -> np.ndarray:
        offset, *shape = place
        return flat[offset : offset + int(np.prod(shape))].reshape(shape)

    sets = np.array(array_at(entry["sets"]), np.uint8)
    return PackedView(
        entry["name"],
        array_at(entry["pixels"]),
        array_at(entry["patch"]),
        (entry["patch_at"][0], entry["patch_at"][1]),
        array_at(entry["labels"]),
        sets if renumbered is None else renumbered[sets],
        np.array(array_at(entry["anomaly_points"])),
        tuple(np.array(array_at(place)) for place in entry["device_points"]),
        tuple(entry["devices"]),
        entry["host"],
        entry["about"],
    )


def packed_categories(root: Path) -> tuple[str, ...]:
    """Return the categories of a packed dataset."""
    return tuple(json.loads((root / FOLDER / "categories.json").read_text()))
