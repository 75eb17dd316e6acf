"""Whether all runtimes agree: on many sizes, on one view and several at once, and on scans of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bagscan.core import View
from bagscan.core.errors import ModelError
from bagscan.core.extras import how_to_install
from bagscan.detector.exported import KIND
from bagscan.export.detector_parity import summed, verify_detector
from bagscan.export.failures import describe, failures, named_view, readable
from bagscan.model import Model
from bagscan.model_folder import read_description
from bagscan.regions import instances
from bagscan.runtime.engines import ENGINES, installed, read_graphs
from bagscan.runtime.exported import ExportedModel, cutting_graphs, filled
from bagscan.runtime.load import RUNTIMES, TORCH, load_model
from bagscan.workers.screeners import drawn_scan

SIZES = (
    (96, 128),
    (97, 131),
    (64, 64),
    (240, 320),
    (321, 243),
    (480, 640),
    (511, 389),
    (75, 410),
)  # (H, W), odd ones too
BATCH = 3
TOLERANCE = 1e-4
ALONE = "torch alone"
PIXELS, ITEMS = (
    1e-3,
    1e-3,
)  # share of all pixels that torch cuts otherwise; difference between scores of items found by torch and by the graph
LIMITS = {
    "scores_differ": TOLERANCE,
    "flipped": 0,
    "pixels_differ": 0,
    "batch_differs": TOLERANCE,
    "cut_differs": PIXELS,
    "items_differ": ITEMS,
}


def verify(
    folder: str | Path, scans: Sequence[Path] = (), sizes: Sequence[tuple[int, int]] = SIZES
) -> dict[str, Any]:
    """Hold every installed runtime against torch.

    Args:
        folder: an exported model. scans: judged beside the drawn ones, where the model takes their channels.

    Returns:
        ``agree``; ``failures``: each figure over its limit, with ``runtime``, ``value``, ``allowed`` and ``view``; ``left_out``:
        scans that were not compared, and why; ``runtimes``: of each ``views``, ``regions`` scored, ``scores_differ`` (largest difference), ``flipped``
        (regions on the other side of the threshold), ``pixels_differ`` (share of pixels in another region), ``batch_differs``
        (largest difference between scores of several views at once, of every size, and of torch's for each alone), ``cut_differs``
        and ``items_differ`` (as below, where the runtime cuts and finds items by itself, as in a program that reads the graphs) and
        ``ms_per_view``; ``torch alone``: the same for the network as it trains, where torch cuts too.

    Raises:
        ModelError: it was never exported.
    """
    if read_description(folder)["model"].get("kind") == KIND:
        return verify_detector(Path(folder), scans, sizes)
    models = {name: load_model(folder, name) for name in RUNTIMES if installed(name)}
    reference, plain = models.pop(TORCH), Model.load(folder)
    if not isinstance(reference, ExportedModel):
        raise ModelError(f"{folder}: was never exported")
    lacking = [name for name in ENGINES if name not in models]
    if lacking:
        raise ModelError(
            f"nothing to hold against torch: {', '.join(lacking)} not installed: {how_to_install('export')}"
        )
    threshold = reference.operating_point.threshold if reference.operating_point else 0.5
    found, left_out = _views(reference, scans, sizes)
    names, views = (
        list(found),
        [reference.config.input.working_view(view) for view in found.values()],
    )
    twice = [name for name in names for _ in range(2)]
    # On drawn views no item may be found: the superpixels of the whole view are judged too.
    result = {
        name: [
            _compared(one(reference), one(model), view, threshold)
            for view in views
            for one in (_as_it_is, _everywhere)
        ]
        for name, model in models.items()
    }
    by_torch = [
        _compared(_everywhere(reference), _everywhere(plain), view, threshold) for view in views
    ]
    finder = plain.regioner.finder
    if finder:
        for row, view in zip(by_torch, views, strict=True):
            row["items_differ"] = _items_differ(reference, lambda v, _: finder.detect(v), view)
    alone = summed(by_torch) | {"items_differ": _largest(by_torch, "items_differ")}
    alone_wrong = failures(
        ALONE, zip(names, by_torch, strict=True), LIMITS | {"pixels_differ": 1.0}
    )
    worst = (
        names[int(np.argmax([row["pixels_differ"] for row in by_torch]))] if names else "no view"
    )
    mean_of = f"mean of {len(names)} views, most on {worst}"
    alone_wrong += failures(ALONE, [(mean_of, alone)], {"pixels_differ": PIXELS})
    runtimes, wrong = {}, alone_wrong
    for name, rows in result.items():
        own = _by_itself(reference, folder, name, views)
        model = models[name].everywhere()
        together = [
            {"batch_differs": _batch(reference.everywhere(), model, size)} for size in sizes
        ]
        runtimes[name] = summed(rows) | {
            key: _largest(own, key) for key in ("cut_differs", "items_differ")
        }
        runtimes[name]["batch_differs"] = _largest(together, "batch_differs")
        wrong += failures(name, zip(twice, rows, strict=True), LIMITS)
        wrong += failures(name, zip(names, own, strict=True), LIMITS)
        wrong += failures(
            name, zip([f"{BATCH} of {_drawn(s)}" for s in sizes], together, strict=True), LIMITS
        )
    about = {"tolerance": TOLERANCE, "sizes": [list(size) for size in sizes], "left_out": left_out}
    return {"agree": not wrong, "failures": wrong, **about, "runtimes": runtimes, ALONE: alone}


def _largest(rows: Sequence[dict[str, float]], figure: str) -> float:
    return max((row.get(figure, 0.0) for row in rows), default=0.0)


def _by_itself(
    reference: ExportedModel, folder: str | Path, name: str, views: Sequence[View]
) -> list[dict[str, float]]:
    """How far, on each view, a runtime that cuts and finds items by itself is from what bagscan cuts in one of them for all."""
    whole, other = (
        reference.everywhere(),
        reference.cutting_with(ENGINES[name](read_graphs(Path(folder)))),
    )
    return [
        {
            "cut_differs": cut_differently(
                whole.regions(view).labels, other.everywhere().regions(view).labels
            ),
            "items_differ": _items_differ(reference, other.detect, view),
        }
        for view in views
    ]


def _items_differ(
    reference: ExportedModel, detect: Callable[[View, Any], list[dict[str, Any]]], view: View
) -> float:
    """Largest difference between scores of what another and the exported detector find, sure or not; 1 where they find other things."""
    settings = reference.config.regioner.get("items", reference.config.regioner)
    if "items" not in cutting_graphs(reference.config.regioner):
        return 0.0
    config = filled(instances.Config, settings)
    found, expected = reference.detect(view, config), detect(view, config)
    if len(found) != len(expected):
        return 1.0
    apart = [
        abs(a["score"] - b["score"]) + float((a["mask"] != b["mask"]).mean())
        for a, b in zip(found, expected, strict=True)
    ]
    return max(apart, default=0.0)


def _as_it_is(model: Any) -> Any:
    return model


def _everywhere(model: Any) -> Any:
    return model.everywhere()


def _views(
    model: ExportedModel, scans: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> tuple[dict[str, View], list[str]]:
    """Views by name: drawn ones, and those of one's own scans; and why other scans are left out."""
    found = {_drawn(size): drawn_scan(model.config.input, *size).views[0] for size in sizes}
    read, left_out = readable(scans, model.config.input.select)
    for path, scan in read:
        for view in scan.views:
            own = model.config.input.select(view)
            found[named_view(path, view, len(scan.views) > 1)] = own
    return found, left_out


def _drawn(size: tuple[int, int]) -> str:
    return f"drawn view of {size[0]} x {size[1]}"


def _compared(reference: Any, other: Any, view: View, threshold: float) -> dict[str, float]:
    with other.judging(), reference.judging():
        expected_regions, expected = reference.judge(view)
        started = time.perf_counter()
        regions, scores = other.judge(view)
        seconds = time.perf_counter() - started
        same = np.array_equal(regions.labels, expected_regions.labels)
        pixels = 0.0 if same else cut_differently(regions.labels, expected_regions.labels)
        if not same and isinstance(other, Model):  # how far scores of the same regions are apart
            image = other.normalise(torch.from_numpy(np.array(view.pixels))[None])
            scores = other.score_image(image, expected_regions)
        comparable = len(scores) == len(expected)
        return {
            "regions": len(expected),
            "scores_differ": float(np.abs(scores - expected).max(initial=0)) if comparable else 1.0,
            "flipped": int(
                (
                    (scores.astype(np.float64) >= threshold)
                    != (expected.astype(np.float64) >= threshold)
                ).sum()
            )
            if comparable
            else len(expected),
            "pixels_differ": pixels,
            "seconds": seconds,
        }


def cut_differently(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the pixels of two label maps that lie outside the region which most of their own lies in; numbers of regions do not count.

    A pixel as near to one region as to another may go either way by the last bit of a feature, and that may turn the order in
    which regions are joined and so numbered. Of stacks of masks, whose numbers are the order of their scores: the share of
    values that differ. 1 where shapes differ.
    """
    if one.shape != other.shape:
        return 1.0
    if one.ndim == 3:
        return float((one != other).mean())
    pairs, count = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1, return_counts=True)
    stay = []
    for side in pairs:
        order = np.lexsort((-count, side))
        stay.append(count[order][np.unique(side[order], return_index=True)[1]].sum())
    return float(1 - min(stay) / one.size)


def _batch(reference: ExportedModel, model: Any, size: tuple[int, int]) -> float:
    """Largest difference between scores of views that come together and of torch's for each alone."""
    views = [
        model.config.input.working_view(drawn_scan(model.config.input, *size, seed).views[0])
        for seed in range(BATCH)
    ]
    together = model.maps(np.stack([view.pixels for view in views]))
    apart = []
    for maps, view in zip(together, views, strict=True):
        regions = reference.regions(view)
        apart.append(
            np.abs(model.score_maps(maps, regions) - reference.score_regions(view, regions)).max(
                initial=0
            )
            if regions.n
            else 0.0
        )
    return float(max(apart))


def table(told: dict[str, Any]) -> str:
    """What :func:`verify` found, for people."""
    rows = [
        "runtime       views  regions  scores differ  flipped  pixels in another region  ms a view"
    ]
    for name, one in (
        told["runtimes"] | {k: told[k] for k in ("torch alone",) if k in told}
    ).items():
        rows.append(
            f"{name:<12}{one['views']:7}{one['regions']:9}{one['scores_differ']:15.1e}{one['flipped']:9}{one['pixels_differ']:26.1e}{one['ms_per_view']:11}"
        )
    rows += [describe(one) for one in told["failures"]]
    rows += [f"not compared: {one}" for one in told["left_out"]]
    verdict = "all runtimes agree with torch" if told["agree"] else "runtimes disagree"
    return "\n".join(
        [
            *rows,
            f"{verdict}: within {told['tolerance']:g} on {len(told['sizes'])} sizes, one view and {BATCH} at once ('torch alone' cuts by itself, as in training)",
        ]
    )
