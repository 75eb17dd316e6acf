"""Items of a simulated set, all channels, in one file that every process maps: a cell starts at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from bagscan.benchmark.cells import ALL
from bagscan.core import View
from bagscan.core.errors import DataError
from bagscan.datasets import simulated
from bagscan.datasets.record import Record
from bagscan.training.samples import Sample, read_view, to_counts

Report = Callable[[str], None]


def load_items(root: Path, report: Report = print) -> list[Sample]:
    """Every item of a simulated set as a sample of all channels, at its own size.

    The first call writes ``items.u16`` and ``items.json`` beside the scans; later ones map them.

    Raises:
        DataError: no simulated set there, or a scan of it cannot be read.
    """
    records = simulated.load(root, "all", "both", items=True).records
    packed, index = root / "items.u16", root / "items.json"
    if not index.exists() or [entry["id"] for entry in json.loads(index.read_text())] != [r.id for r in records]:
        _pack(records, packed, index, report)
    counts = np.memmap(packed, np.uint16, "r")
    return [_sample(record, entry, counts) for record, entry in zip(records, json.loads(index.read_text()), strict=True)]


def _sample(record: Record, entry: dict[str, object], counts: np.ndarray) -> Sample:
    shape: tuple[int, ...] = tuple(entry["shape"])  # type: ignore[arg-type]
    start = int(entry["offset"])  # type: ignore[call-overload]
    view = View(np.zeros((len(ALL), 1, 1), np.float32), ALL, "dual_energy", view_id=record.about["view"], bit_depth=16)
    region = record.item.mask if record.item is not None else None
    return Sample(record, view, counts[start : start + int(np.prod(shape))].reshape(shape), record.annotations, np.array(entry["unit"], np.float32), region)


def _pack(records: Sequence[Record], packed: Path, index: Path, report: Report) -> None:
    """Write all windows behind one another; nothing is left half done under the final name."""
    entries, offset = [], 0
    part = packed.with_name(f"{packed.name}.{os.getpid()}")
    by_view: dict[Path, list[Record]] = {}
    for record in records:
        by_view.setdefault(record.path, []).append(record)
    with part.open("wb") as file, ThreadPoolExecutor(2) as pool:
        for done, (view, own) in enumerate(zip(pool.map(lambda rs: read_view(rs[0])[0], by_view.values()), by_view.values(), strict=True), 1):
            if view.channels != ALL:
                raise DataError(f"{own[0].path}: channels {', '.join(view.channels)}, expected {', '.join(ALL)}")
            for record in own:
                assert record.window is not None
                x1, y1, x2, y2 = record.window
                counts, unit = to_counts(replace(view, pixels=np.ascontiguousarray(view.pixels[:, y1:y2, x1:x2])))
                file.write(counts.tobytes())
                entries.append({"id": record.id, "offset": offset, "shape": counts.shape, "unit": [float(u) for u in unit]})
                offset += counts.size
            if done % 500 == 0:
                report(f"items of {done} of {len(by_view)} views packed")
    part.replace(packed)
    index.write_text(json.dumps(entries))
