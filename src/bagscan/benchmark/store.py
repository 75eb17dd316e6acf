"""Items of a simulated set, all channels, in few files that every process maps: a cell starts at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.benchmark.cells import ALL
from bagscan.core import View
from bagscan.core.errors import DataError
from bagscan.core.files import whole, write_whole
from bagscan.core.machine import usable_cores
from bagscan.datasets import simulated
from bagscan.datasets.items import mask_annotation
from bagscan.datasets.record import Record
from bagscan.training.samples import Sample, read_view, to_counts

Report = Callable[[str], None]
VIEWS_A_PIECE = 100  # of some 7 MB each: no more are in memory at once, or lost by a kill


def load_items(root: Path, shrink: int = 1, report: Report = print) -> list[Sample]:
    """Every item of a simulated set as a sample of all channels.

    The first call writes pieces, ``items_N/00000.u16`` and ``.json`` and so on, beside the scans; later ones map them. One
    that is killed goes on with the piece that it was at.

    Args:
        shrink: N, pixels of the scan that one pixel is the mean of, along each side.

    Raises:
        DataError: no simulated set there, or a scan of it cannot be read.
    """
    by_view: dict[Path, list[Record]] = {}
    for record in simulated.load(root, "all", "both", items=True).records:
        by_view.setdefault(record.path, []).append(record)
    views, samples = list(by_view.values()), []
    for number, first in enumerate(range(0, len(views), VIEWS_A_PIECE)):
        some = views[first : first + VIEWS_A_PIECE]
        packed, kept = _piece(root / f"items_{shrink}" / f"{number:05d}", some, shrink)
        samples += kept
        if packed:
            report(f"items of {first + len(some)} of {len(views)} views packed")
    return samples


def _piece(path: Path, views: Sequence[Sequence[Record]], shrink: int) -> tuple[bool, list[Sample]]:
    """Samples of some views, from their piece, and whether that had to be made."""
    pixels, index = path.with_suffix(".u16"), path.with_suffix(".json")
    records = [record for own in views for record in own]
    # Windows and scans that the piece was made of: of others it is made anew.
    made_of = [[record.id, record.window and list(record.window), record.path.stat().st_mtime_ns] for record in records]
    kept = json.loads(index.read_text()) if index.exists() else {}
    missing = kept.get("made_of") != made_of
    if missing:
        path.parent.mkdir(exist_ok=True)
        kept = {"made_of": made_of, "entries": _pack(views, pixels, shrink)}
        write_whole(index, json.dumps(kept))
    counts = np.memmap(pixels, np.uint16, "r")
    return missing, [_sample(record, entry, counts, shrink) for record, entry in zip(records, kept["entries"], strict=True)]


def _sample(record: Record, entry: dict[str, Any], counts: np.ndarray, shrink: int) -> Sample:
    shape = tuple(entry["shape"])
    start = entry["offset"]
    return as_sample(record, counts[start : start + int(np.prod(shape))].reshape(shape), np.array(entry["unit"], np.float32), shrink)


def as_sample(record: Record, counts: np.ndarray, unit: np.ndarray, shrink: int) -> Sample:
    """A sample of all channels whose counts were shrunk already; its masks are here."""
    view = View(np.zeros((len(ALL), 1, 1), np.float32), ALL, "dual_energy", view_id=record.about["view"], bit_depth=16)
    region = shrunk_mask(record.item.mask, shrink) if record.item is not None and record.item.mask is not None else None
    annotations = tuple(mask_annotation(a.label, shrunk_mask(a.mask, shrink)) for a in record.annotations if a.mask is not None)
    return Sample(record, view, counts, annotations, unit, region)


def shrunk(view: View, window: tuple[int, int, int, int], shrink: int) -> tuple[np.ndarray, np.ndarray]:
    """(C, h, w) counts of a window, means of ``shrink`` pixels a side, and the value of one."""
    x1, y1, x2, y2 = window
    pixels = view.pixels[:, y1:y2, x1:x2]
    if shrink > 1:
        h, w = -(-pixels.shape[1] // shrink), -(-pixels.shape[2] // shrink)
        padded = np.pad(pixels, ((0, 0), (0, h * shrink - pixels.shape[1]), (0, w * shrink - pixels.shape[2])), mode="edge")
        pixels = padded.reshape(len(pixels), h, shrink, w, shrink).mean((2, 4), dtype=np.float32)
    return to_counts(replace(view, pixels=np.ascontiguousarray(pixels)))


def shrunk_mask(mask: np.ndarray, shrink: int) -> np.ndarray:
    """(H, W) bool mask -> (h, w), true where any of its pixels is: what is thin stays."""
    if shrink == 1:
        return mask
    h, w = -(-mask.shape[0] // shrink), -(-mask.shape[1] // shrink)
    padded = np.pad(mask, ((0, h * shrink - mask.shape[0]), (0, w * shrink - mask.shape[1])))
    return np.asarray(padded.reshape(h, shrink, w, shrink).any((1, 3)))


def _pack(views: Sequence[Sequence[Record]], packed: Path, shrink: int) -> list[dict[str, Any]]:
    """Write all windows behind one another; nothing is left half done under the final name."""
    entries, offset = [], 0
    with whole(packed, several=True) as part, part.open("wb") as file, ThreadPoolExecutor(usable_cores()) as pool:
        for view, own in zip(pool.map(lambda rs: read_view(rs[0])[0], views), views, strict=True):
            if view.channels != ALL:
                raise DataError(f"{own[0].path}: channels {', '.join(view.channels)}, expected {', '.join(ALL)}")
            for record in own:
                assert record.window is not None
                counts, unit = shrunk(view, record.window, shrink)
                file.write(counts.tobytes())
                entries.append({"id": record.id, "offset": offset, "shape": counts.shape, "unit": [float(u) for u in unit]})
                offset += counts.size
    return entries
