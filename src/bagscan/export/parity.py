"""Comparison of runtimes on views of many sizes, on batches, and on the user's scans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bagscan.core import View
from bagscan.core.errors import ModelError
from bagscan.core.extras import how_to_install
from bagscan.detector.exported import KIND
from bagscan.export.detector_parity import sum_rows, verify_detector
from bagscan.export.failures import describe, failures, named_view, readable
from bagscan.model import Model
from bagscan.model_folder import read_description
from bagscan.regions import instances
from bagscan.runtime.engines import ENGINES, installed_version, read_graphs
from bagscan.runtime.exported import ExportedModel, cutting_graphs, fill_known
from bagscan.runtime.load import RUNTIMES, TORCH, load_model
from bagscan.workers.screeners import synthetic_scan

# (H, W), with odd sides too.
SIZES = (
    (96, 128),
    (97, 131),
    (64, 64),
    (240, 320),
    (321, 243),
    (480, 640),
    (511, 389),
    (75, 410),
)
BATCH = 3
TOLERANCE = 1e-4
ALONE = "torch alone"
PIXELS = 1e-3  # share of all pixels that torch may segment differently
ITEMS = 1e-3  # difference between scores of items detected by torch and by the graph
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
    """Compare every installed runtime with torch.

    Args:
        folder: folder of an exported model.
        scans: files and folders of scans to compare besides synthetic views. Scans with other
            channels than the model's are left out.
        sizes: (H, W) of the synthetic views.

    Returns:
        - ``agree``: True if no figure exceeds its limit.
        - ``failures``: figures over their limit, see :func:`bagscan.export.failures.failures`.
        - ``tolerance`` and ``sizes``: largest allowed difference of scores, and the sizes.
        - ``left_out``: scans that were not compared, with the reason.
        - ``runtimes``: for each runtime ``views``, ``regions``, ``ms_per_view``, and figures as
          explained in ``bagscan.export.failures.MEANINGS``.
        - ``torch alone``: the same for the torch model, which also segments in torch.

    Raises:
        ModelError: if the model was never exported, or a runtime is not installed.
    """
    if read_description(folder)["model"].get("kind") == KIND:
        return verify_detector(Path(folder), scans, sizes)
    models = {name: load_model(folder, name) for name in RUNTIMES if installed_version(name)}
    reference, torch_model = models.pop(TORCH), Model.load(folder)
    if not isinstance(reference, ExportedModel):
        raise ModelError(
            f"{folder}: model was never exported; run: bagscan export onnx --model {folder}"
        )
    missing = [name for name in ENGINES if name not in models]
    if missing:
        raise ModelError(f"{', '.join(missing)} not installed: {how_to_install('export')}")
    threshold = reference.operating_point.threshold if reference.operating_point else 0.5
    views, left_out = _collect_views(reference, scans, sizes)
    views = {name: reference.config.input.working_view(view) for name, view in views.items()}
    torch_summary, failed = _verify_torch(reference, torch_model, views, threshold)
    runtimes = {}
    for name, model in models.items():
        engine = ENGINES[name](read_graphs(Path(folder)))
        same_segmentation = _compare_scores(reference, model, views, threshold)
        own_segmentation = _compare_segmentation(reference, reference.cutting_with(engine), views)
        batches = {
            f"{BATCH} of {_name_view(size)}": {
                "batch_differs": _compare_batch(reference.everywhere(), model.everywhere(), size)
            }
            for size in sizes
        }
        runtimes[name] = sum_rows([row for _, row in same_segmentation]) | {
            "cut_differs": _find_largest(own_segmentation.values(), "cut_differs"),
            "items_differ": _find_largest(own_segmentation.values(), "items_differ"),
            "batch_differs": _find_largest(batches.values(), "batch_differs"),
        }
        failed += failures(name, same_segmentation, LIMITS)
        failed += failures(name, own_segmentation.items(), LIMITS)
        failed += failures(name, batches.items(), LIMITS)
    about = {"tolerance": TOLERANCE, "sizes": [list(size) for size in sizes], "left_out": left_out}
    return {
        "agree": not failed,
        "failures": failed,
        **about,
        "runtimes": runtimes,
        ALONE: torch_summary,
    }


def _verify_torch(
    reference: ExportedModel, model: Model, views: Mapping[str, View], threshold: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Compare the torch model, which also segments in torch."""
    whole_model, whole_reference = model.everywhere(), reference.everywhere()
    rows = {
        name: _compare(whole_reference, whole_model, view, threshold)
        for name, view in views.items()
    }
    finder = model.regioner.finder
    if finder:
        for name, view in views.items():
            rows[name]["items_differ"] = _compare_items(
                reference, lambda v, _: finder.detect(v), view
            )
    summary = sum_rows(list(rows.values()))
    summary["items_differ"] = _find_largest(rows.values(), "items_differ")
    # A single view may exceed the limit of pixels; their mean over all views may not.
    failed = failures(ALONE, rows.items(), LIMITS | {"pixels_differ": 1.0})
    worst = max(rows, key=lambda name: rows[name]["pixels_differ"], default="no view")
    mean_name = f"mean of {len(rows)} views, largest on {worst}"
    failed += failures(ALONE, [(mean_name, summary)], {"pixels_differ": PIXELS})
    return summary, failed


def _compare_scores(
    reference: ExportedModel, model: Any, views: Mapping[str, View], threshold: float
) -> list[tuple[str, dict[str, float]]]:
    """Compare scores of every view, as the model segments it and as a whole view.

    Synthetic views may contain no item, so that some models would score nothing in them.
    """
    rows = []
    for name, view in views.items():
        rows.append((name, _compare(reference, model, view, threshold)))
        rows.append((name, _compare(reference.everywhere(), model.everywhere(), view, threshold)))
    return rows


def _compare_segmentation(
    reference: ExportedModel, model: ExportedModel, views: Mapping[str, View]
) -> dict[str, dict[str, float]]:
    """Compare the regions and items of a runtime that segments with its own networks."""
    whole_reference, whole_model = reference.everywhere(), model.everywhere()
    return {
        name: {
            "cut_differs": cut_differently(
                whole_reference.regions(view).labels, whole_model.regions(view).labels
            ),
            "items_differ": _compare_items(reference, model.detect, view),
        }
        for name, view in views.items()
    }


def _find_largest(rows: Iterable[Mapping[str, float]], figure: str) -> float:
    return max((row.get(figure, 0.0) for row in rows), default=0.0)


def _compare_items(
    reference: ExportedModel, detect: Callable[[View, Any], list[dict[str, Any]]], view: View
) -> float:
    """Return the largest difference between items; 1 if their numbers differ.

    The difference of two items is that of their scores plus the share of pixels in which their
    masks differ.
    """
    settings = reference.config.regioner.get("items", reference.config.regioner)
    if "items" not in cutting_graphs(reference.config.regioner):
        return 0.0
    config = fill_known(instances.Config, settings)
    expected, items = reference.detect(view, config), detect(view, config)
    if len(expected) != len(items):
        return 1.0
    differences = [
        abs(a["score"] - b["score"]) + float((a["mask"] != b["mask"]).mean())
        for a, b in zip(expected, items, strict=True)
    ]
    return max(differences, default=0.0)


def _collect_views(
    model: ExportedModel, scans: Sequence[Path], sizes: Sequence[tuple[int, int]]
) -> tuple[dict[str, View], list[str]]:
    """Return synthetic views and views of scans by name, and reasons for scans left out."""
    views = {_name_view(size): synthetic_scan(model.config.input, *size).views[0] for size in sizes}
    read, left_out = readable(scans, model.config.input.select)
    for path, scan in read:
        for view in scan.views:
            name = named_view(path, view, len(scan.views) > 1)
            views[name] = model.config.input.select(view)
    return views, left_out


def _name_view(size: tuple[int, int]) -> str:
    return f"synthetic view of {size[0]} x {size[1]}"


def _compare(reference: Any, model: Any, view: View, threshold: float) -> dict[str, float]:
    with model.inference_mode(), reference.inference_mode():
        expected_regions, expected = reference.score_view(view)
        started = time.perf_counter()
        regions, scores = model.score_view(view)
        seconds = time.perf_counter() - started
        is_same = np.array_equal(regions.labels, expected_regions.labels)
        pixels = 0.0 if is_same else cut_differently(regions.labels, expected_regions.labels)
        if not is_same and isinstance(model, Model):  # scores are comparable on equal regions only
            image = model.normalise(torch.from_numpy(np.array(view.pixels))[None])
            scores = model.score_image(image, expected_regions)
    difference, flipped = 1.0, len(expected)
    if len(scores) == len(expected):
        difference = float(np.abs(scores - expected).max(initial=0))
        is_flagged, was_flagged = (
            values.astype(np.float64) >= threshold for values in (scores, expected)
        )
        flipped = int((is_flagged != was_flagged).sum())
    return {
        "regions": len(expected),
        "scores_differ": difference,
        "flipped": flipped,
        "pixels_differ": pixels,
        "seconds": seconds,
    }


def cut_differently(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of pixels that two segmentations assign differently, in [0, 1].

    Each region is matched to the region of the other map that contains most of its pixels; pixels
    outside the matched region count. The numbering of regions does not matter: rounding of a
    feature can move a pixel between two equally near regions, and so change the order in which
    regions are merged and numbered.

    Args:
        first: (H, W) labels, or (n, H, W) masks ordered by score.
        second: the same kind of array. For masks, the share of differing values is returned, since
            their order matters.

    Returns:
        The larger share of the two directions; 1 if the shapes differ.
    """
    if first.shape != second.shape:
        return 1.0
    if first.ndim == 3:
        return float((first != second).mean())
    pairs, count = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_counts=True)
    matched = []
    for labels in pairs:
        order = np.lexsort((-count, labels))
        matched.append(count[order][np.unique(labels[order], return_index=True)[1]].sum())
    return float(1 - min(matched) / first.size)


def _compare_batch(reference: ExportedModel, model: Any, size: tuple[int, int]) -> float:
    """Return the largest difference between scores in a batch, and of single views in torch."""
    views = [
        model.config.input.working_view(synthetic_scan(model.config.input, *size, seed).views[0])
        for seed in range(BATCH)
    ]
    batch = model.maps(np.stack([view.pixels for view in views]))
    differences = []
    for maps, view in zip(batch, views, strict=True):
        regions = reference.regions(view)
        if not regions.n:
            differences.append(0.0)
            continue
        scores = model.score_maps(maps, regions)
        expected = reference.score_regions(view, regions)
        differences.append(float(np.abs(scores - expected).max(initial=0)))
    return max(differences)


def table(result: dict[str, Any]) -> str:
    """Format the result of :func:`verify` as text."""
    lines = [
        "runtime       views  regions  scores differ  flipped  pixels in another region    ms/view"
    ]
    rows = dict(result["runtimes"])
    if ALONE in result:
        rows[ALONE] = result[ALONE]
    for name, row in rows.items():
        lines.append(
            f"{name:<12}{row['views']:7}{row['regions']:9}{row['scores_differ']:15.1e}"
            f"{row['flipped']:9}{row['pixels_differ']:26.1e}{row['ms_per_view']:11}"
        )
    lines += [describe(failure) for failure in result["failures"]]
    lines += [f"not compared: {reason}" for reason in result["left_out"]]
    verdict = "all runtimes agree with torch" if result["agree"] else "runtimes disagree"
    lines.append(
        f"{verdict}: within {result['tolerance']:g} on {len(result['sizes'])} sizes, one view and "
        f"{BATCH} at once ('torch alone' also segments in torch, as in training)"
    )
    return "\n".join(lines)
