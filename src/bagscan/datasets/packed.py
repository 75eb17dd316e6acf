"""A simulated set packed for training a detector: raw pixels and what lies under every one, ready to be cut.

::

    packed/categories.json   names of what a pixel may belong to
    packed/00000.npy         everything of one scene, one flat uint16 array
    packed/00000.json        where in it what lies

Both scans of a scene share one picture; where they differ, the anomalous one has a patch of its own.
Labels lie on a raster of half the resolution, as numbers of sets of categories.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write, atomic_write_text
from bagscan.formats.truth import decode_mask

FOLDER = "packed"
LABEL_STRIDE = 2  # pixels of the view to one of the labels
N_CATEGORIES, IGNORED, FIRST_DEVICE, MAX_DEVICES = 112, 127, 112, 8
MAX_IN_SET = 24  # categories that one pixel belongs to
NONE = 255  # fills a set up
POINTS = 256  # kept of every anomaly and device, to draw crops around
CHANGED_COUNTS = 120  # of 60,000: a fifth of a per cent; less is scatter's far reach
CHANGED_LOG = 0.03
READ_FOR_CATEGORIES = 400  # views that are looked at for what there is


@dataclass(frozen=True)
class PackedView:
    """One view of one scene, without and with its anomaly.

    Attributes:
        pixels: (3, H, W) uint16 of low, high and effective Z, without it. patch: (3, h, w) with it, or empty.
        patch_at: row and column of the patch. labels: (2, H/2, W/2) uint16, of both: numbers of sets.
        sets: (n, 24) uint8 categories of every set, filled up with 255.
        anomaly_points: (m, 2) uint16 row and column on the labels. device_points: the same of every device.
        host: number of the device under test; -1 where it does not show. about: kind, way, visible, change and so on.
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
    """Attributes: about: part, group, device, family, kind, way. views: of the scene."""

    id: str
    about: dict[str, Any]
    views: tuple[PackedView, ...]


def categories_of(root: Path, kinds: Sequence[str]) -> tuple[str, ...]:
    """What a pixel may belong to: kinds of anomaly first, then devices, then whatever is most often there."""
    counted, devices = Counter[str](), Counter[str]()
    files = sorted((root / "truth").glob("*.json"))
    for path in files[:: max(1, len(files) // READ_FOR_CATEGORIES)]:
        for entry in json.loads(path.read_text())["annotations"]:
            if entry["role"] == "device":
                devices[entry["category"]] += 1
            elif entry["role"] in ("component", "item", "look_alike"):
                counted[entry["category"]] += 1
    names = [*kinds, *sorted(devices)]
    return tuple(
        [*names, *(name for name, _ in counted.most_common() if name not in names)][:N_CATEGORIES]
    )


def pack(
    root: Path,
    kinds: Sequence[str],
    categories: Sequence[str] | None = None,
    workers: int = 2,
    report: Callable[[str], None] = print,
) -> int:
    """Pack every scene of a set that is not packed yet; returns how many scenes lie there.

    Args:
        kinds: of anomaly. categories: those of another set that this one is trained together with.

    Raises:
        DataError: no simulated set there.
    """
    scenes = sorted((root / "scans").glob("*.json"))
    if not scenes:
        raise DataError(f"{root}: no simulated data set; bagscan simulate makes one")
    out = root / FOLDER
    out.mkdir(exist_ok=True)
    named = out / "categories.json"
    if not named.is_file():
        atomic_write_text(named, json.dumps(list(categories or categories_of(root, kinds))))
    names = json.loads(named.read_text())
    todo = [path for path in scenes if not (out / path.name).is_file()]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(partial(pack_scene, root, names), todo, chunksize=4), 1):
            if done % 100 == 0 or done == len(todo):
                report(f"packed {done} of {len(todo)} scenes")
    return len(list(out.glob("*.npy")))


def pack_scene(root: Path, categories: Sequence[str], record: Path) -> None:
    """Pack one scene, given its record; what has no anomaly is left out."""
    scans = {scan["label"]: scan for scan in json.loads(record.read_text())["scans"]}
    if "anomalous" not in scans:
        return
    arrays: list[np.ndarray] = []
    size = 0

    def keep(array: np.ndarray) -> list[Any]:
        nonlocal size
        arrays.append(np.ascontiguousarray(array, np.uint16).ravel())
        size += array.size
        return [size - array.size, *array.shape]

    views = [
        _packed_view(root, scans, name, categories, keep) for name in scans["anomalous"]["views"]
    ]
    anomalous = scans["anomalous"]
    about = {
        key: anomalous[key] for key in ("part", "group", "device", "family", "piece", "staging")
    }
    about |= {key: anomalous["anomaly"][key] for key in ("kind", "way", "visible")}
    out = root / FOLDER / record.name
    with atomic_write(out.with_suffix(".npy")) as part, part.open("wb") as file:
        np.save(file, np.concatenate(arrays))
    atomic_write_text(out, json.dumps({"id": anomalous["scene"], "about": about, "views": views}))


def _packed_view(
    root: Path,
    scans: dict[str, Any],
    name: str,
    categories: Sequence[str],
    keep: Callable[[np.ndarray], list[Any]],
) -> dict[str, Any]:
    number = {c: k for k, c in enumerate(categories)}
    result = scans["anomalous"]["views"][name]
    without, with_it = (
        tifffile.imread(root / "raw" / f"{scans[label]['id']}_{name}.tif")
        for label in ("benign", "anomalous")
    )
    shape = without.shape[1:]
    truths = [
        json.loads((root / "truth" / f"{scans[label]['id']}_{name}.json").read_text())[
            "annotations"
        ]
        for label in ("benign", "anomalous")
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
    for scan, (entries, of_entries) in enumerate(zip(truths, masks, strict=True)):
        for entry, mask in zip(entries, of_entries, strict=True):
            category = number.get(
                scans["anomalous"]["anomaly"]["kind"]
                if entry["category"] == "anomaly"
                else entry["category"]
            )
            if category is not None:
                bits[scan, category] |= mask
        for k, (_, mask) in enumerate(devices):
            bits[scan, FIRST_DEVICE + k] |= mask
    differs = np.abs(with_it.astype(np.int32) - without).max(0) > CHANGED_COUNTS
    logs = [
        np.log(np.maximum(px[0, ::LABEL_STRIDE, ::LABEL_STRIDE], 1)) for px in (without, with_it)
    ]
    bits[1, IGNORED] = (np.abs(logs[1] - logs[0]) > CHANGED_LOG) & ~_grown(hidden, 2)
    labels, sets = _as_sets(bits)
    window = _window(differs)
    rng = np.random.default_rng(len(truths[0]))
    return {
        "name": name,
        "pixels": keep(without),
        "patch": keep(with_it[:, window[0] : window[1], window[2] : window[3]]),
        "patch_at": [window[0], window[2]],
        "labels": keep(labels),
        "sets": keep(sets),
        "anomaly_points": keep(_points(hidden, rng)),
        "device_points": [keep(_points(mask, rng)) for _, mask in devices],
        "devices": [device for device, _ in devices],
        "host": hosts.index(parent) if parent in hosts[:MAX_DEVICES] else -1,
        "about": {
            key: result[key]
            for key in ("visible", "change", "area_mm2", "standing_out", "area_cnr", "ambiguous")
        },
    }


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=by))


def _window(differs: np.ndarray, margin: int = 8) -> tuple[int, int, int, int]:
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


def _points(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m, 2) places on a mask."""
    where = np.argwhere(mask)
    return where[rng.integers(len(where), size=POINTS)] if len(where) > POINTS else where


def _as_sets(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, 128, h, w) bool -> (S, h, w) number of the set at every place, and (n, 24) the categories of each set."""
    packed = np.packbits(bits.transpose(0, 2, 3, 1).reshape(-1, 128), axis=1)
    unique, inverse = np.unique(
        np.ascontiguousarray(packed).view("V16").ravel(), return_inverse=True
    )
    there = np.unpackbits(unique.view(np.uint8).reshape(-1, 16), axis=1).astype(bool)
    sets = np.full((len(there), MAX_IN_SET), NONE, np.uint8)
    for row, has in zip(sets, there, strict=True):
        found = np.flatnonzero(has)
        # Of too many, devices and what is ignored stay: they have the highest numbers.
        row[: min(len(found), MAX_IN_SET)] = (
            found[-MAX_IN_SET:] if len(found) > MAX_IN_SET else found
        )
    return inverse.reshape(bits.shape[0], *bits.shape[2:]), sets


def read_packed(
    root: Path, parts: Sequence[str] = ("train", "val", "test")
) -> Iterator[PackedScene]:
    """Scenes of a packed set, mapped from disk, in order."""
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
            tuple(_view(flat, view) for view in result["views"]),
        )


def _view(flat: np.ndarray, told: dict[str, Any]) -> PackedView:
    def of(where: Sequence[int]) -> np.ndarray:
        at, *shape = where
        return flat[at : at + int(np.prod(shape))].reshape(shape)

    return PackedView(
        told["name"],
        of(told["pixels"]),
        of(told["patch"]),
        (told["patch_at"][0], told["patch_at"][1]),
        of(told["labels"]),
        np.array(of(told["sets"]), np.uint8),
        np.array(of(told["anomaly_points"])),
        tuple(np.array(of(points)) for points in told["device_points"]),
        tuple(told["devices"]),
        told["host"],
        told["about"],
    )


def packed_categories(root: Path) -> tuple[str, ...]:
    """Names of what a pixel of a packed set may belong to."""
    return tuple(json.loads((root / FOLDER / "categories.json").read_text()))
