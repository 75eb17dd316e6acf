"""Packing of simulated datasets for training; :mod:`bagscan.datasets.packed` reads them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import binary_dilation

from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write, atomic_write_text
from bagscan.datasets.packed import (
    EMPTY,
    FIRST_DEVICE,
    FOLDER,
    IGNORED,
    LABEL_STRIDE,
    MAX_CATEGORIES,
    MAX_DEVICES,
    MAX_IN_SET,
)
from bagscan.formats.truth import decode_mask

log = logging.getLogger(__name__)

MAX_POINTS = 256  # per anomaly and device, from which training samples the centres of crops
CHANGED_COUNTS = 120  # of 60,000, or 0.2 %; smaller differences are attributed to scatter
CHANGED_LOG = 0.03  # minimum change of log transmission for a pixel beside the mask to be ignored
MAX_TRUTH_FILES = 400  # truth files that are read to find the most frequent categories


def categories_of(root: Path, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the categories of a dataset, at most ``MAX_CATEGORIES``.

    These are the kinds of anomaly, then the classes of device, then those of prohibited items, then
    the most frequent components, items and look-alikes.

    Args:
        root: folder of the dataset.
        kinds: kinds of anomaly.
    """
    counts, devices, prohibited = Counter[str](), set[str](), set[str]()
    files = sorted((root / "truth").glob("*.json"))
    for path in files[:: max(1, len(files) // MAX_TRUTH_FILES)]:
        for entry in json.loads(path.read_text())["annotations"]:
            if entry["role"] == "device":
                devices.add(entry["category"])
            elif entry["role"] == "prohibited":
                prohibited.add(entry["category"])
            elif entry["role"] in ("component", "item", "look_alike"):
                counts[entry["category"]] += 1
    names = [*kinds, *sorted(devices), *sorted(prohibited)]
    names += [name for name, _ in counts.most_common() if name not in names]
    return tuple(names[:MAX_CATEGORIES])


def pack(root: Path, kinds: Sequence[str], workers: int = 2) -> int:
    """Pack the scenes of a dataset that are not packed yet, with its own categories.

    Args:
        root: folder of the dataset.
        kinds: kinds of anomaly.
        workers: number of processes.

    Returns:
        The number of packed scenes in the folder.

    Raises:
        DataError: the folder is not a simulated dataset.
    """
    scenes = sorted((root / "scans").glob("*.json"))
    if not scenes:
        raise DataError(f"{root}: not a simulated dataset; create one with bagscan simulate")
    out = root / FOLDER
    out.mkdir(exist_ok=True)
    categories_file = out / "categories.json"
    if not categories_file.is_file():
        text = json.dumps(list(categories_of(root, kinds)))
        atomic_write_text(categories_file, text)
    names = json.loads(categories_file.read_text())
    todo = [path for path in scenes if not (out / path.name).is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(partial(pack_scene, root, names), todo, chunksize=4), 1):
            if done % 100 == 0 or done == len(todo):
                log.info(f"packed {done} of {len(todo)} scenes")
    return len(list(out.glob("*.npy")))


def pack_scene(root: Path, categories: Sequence[str], record: Path) -> None:
    """Pack one scene. A scene without an anomaly is skipped.

    Args:
        root: folder of the dataset.
        categories: names of the categories.
        record: JSON file of the scene.
    """
    scans = {scan["label"]: scan for scan in json.loads(record.read_text())["scans"]}
    if "anomalous" not in scans:
        return
    arrays: list[np.ndarray] = []
    size = 0

    def add(array: np.ndarray) -> list[Any]:
        """Append an array and return its offset and shape."""
        nonlocal size
        arrays.append(np.ascontiguousarray(array, np.uint16).ravel())
        size += array.size
        return [size - array.size, *array.shape]

    views = [_pack_view(root, scans, name, categories, add) for name in scans["anomalous"]["views"]]
    anomalous = scans["anomalous"]
    about = {
        key: anomalous[key] for key in ("part", "group", "device", "family", "piece", "staging")
    }
    about |= {key: anomalous["anomaly"][key] for key in ("kind", "way", "visible")}
    out = root / FOLDER / record.name
    with atomic_write(out.with_suffix(".npy")) as part, part.open("wb") as file:
        np.save(file, np.concatenate(arrays))
    atomic_write_text(out, json.dumps({"id": anomalous["scene"], "about": about, "views": views}))


def _pack_view(
    root: Path,
    scans: dict[str, Any],
    name: str,
    categories: Sequence[str],
    add: Callable[[np.ndarray], list[Any]],
) -> dict[str, Any]:
    number = {category: k for k, category in enumerate(categories)}
    result = scans["anomalous"]["views"][name]
    stems = [f"{scans[label]['id']}_{name}" for label in ("benign", "anomalous")]
    without, with_it = (tifffile.imread(root / "raw" / f"{stem}.tif") for stem in stems)
    shape = without.shape[1:]
    truths = [
        json.loads((root / "truth" / f"{stem}.json").read_text())["annotations"] for stem in stems
    ]
    masks = [
        [decode_mask(e["segmentation"], *shape)[::LABEL_STRIDE, ::LABEL_STRIDE] for e in entries]
        for entries in truths
    ]
    hidden = next(
        (m for m, e in zip(masks[1], truths[1], strict=True) if e["category"] == "anomaly"),
        np.zeros_like(masks[0][0]),
    )
    parent = next((e["parent_id"] for e in truths[1] if e["category"] == "anomaly"), None)
    hosts = [e["id"] for e in truths[1] if e["role"] == "device"]
    devices = [
        (e["category"], m)
        for m, e in zip(masks[0], truths[0], strict=True)
        if e["role"] == "device"
    ][:MAX_DEVICES]
    bits = np.zeros((2, 128, *hidden.shape), bool)
    kind = scans["anomalous"]["anomaly"]["kind"]
    for scan, (entries, entry_masks) in enumerate(zip(truths, masks, strict=True)):
        for entry, mask in zip(entries, entry_masks, strict=True):
            category = kind if entry["category"] == "anomaly" else entry["category"]
            if category in number:
                bits[scan, number[category]] |= mask
        for k, (_, mask) in enumerate(devices):
            bits[scan, FIRST_DEVICE + k] |= mask
    differs = np.abs(with_it.astype(np.int32) - without).max(0) > CHANGED_COUNTS
    logs = [
        np.log(np.maximum(px[0, ::LABEL_STRIDE, ::LABEL_STRIDE], 1)) for px in (without, with_it)
    ]
    bits[1, IGNORED] = (np.abs(logs[1] - logs[0]) > CHANGED_LOG) & ~_dilate(hidden, 2)
    labels, sets = _number_sets(bits)
    top, bottom, left, right = _window(differs)
    rng = np.random.default_rng(len(truths[0]))
    return {
        "name": name,
        "pixels": add(without),
        "patch": add(with_it[:, top:bottom, left:right]),
        "patch_at": [top, left],
        "labels": add(labels),
        "sets": add(sets),
        "anomaly_points": add(_sample_points(hidden, rng)),
        "device_points": [add(_sample_points(mask, rng)) for _, mask in devices],
        "devices": [device for device, _ in devices],
        "host": hosts.index(parent) if parent in hosts[:MAX_DEVICES] else -1,
        "about": {
            key: result[key]
            for key in ("visible", "change", "area_mm2", "standing_out", "area_cnr", "ambiguous")
        },
    }


def _dilate(mask: np.ndarray, by: int) -> np.ndarray:
    return np.asarray(binary_dilation(mask, iterations=by))


def _window(differs: np.ndarray, margin: int = 8) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of the bounding box, with a margin; zeros if empty."""
    rows, columns = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    height, width = differs.shape
    return (
        max(0, int(rows[0]) - margin),
        min(height, int(rows[-1]) + 1 + margin),
        max(0, int(columns[0]) - margin),
        min(width, int(columns[-1]) + 1 + margin),
    )


def _sample_points(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (m, 2) rows and columns of points on a mask, m at most ``MAX_POINTS``."""
    points = np.argwhere(mask)
    return (
        points[rng.integers(len(points), size=MAX_POINTS)] if len(points) > MAX_POINTS else points
    )


def _number_sets(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct sets of bits.

    Args:
        bits: (S, 128, h, w) bool.

    Returns:
        (S, h, w) number of the set of every pixel, and (n, 24) uint8 bits of each set.
    """
    packed = np.packbits(bits.transpose(0, 2, 3, 1).reshape(-1, 128), axis=1)
    unique, inverse = np.unique(
        np.ascontiguousarray(packed).view("V16").ravel(), return_inverse=True
    )
    members = np.unpackbits(unique.view(np.uint8).reshape(-1, 16), axis=1).astype(bool)
    sets = np.full((len(members), MAX_IN_SET), EMPTY, np.uint8)
    for row, is_member in zip(sets, members, strict=True):
        # Of more than 24 bits, the highest are kept: devices and ignored pixels.
        kept = np.flatnonzero(is_member)[-MAX_IN_SET:]
        row[: len(kept)] = kept
    return inverse.reshape(bits.shape[0], *bits.shape[2:]), sets
