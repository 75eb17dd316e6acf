"""Items as a detector finds them, in place of their true masks: errors of localisation told apart from those of judgement."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bagscan.benchmark.cells import ALL, COLOUR, DATA, RAW, STATISTICS
from bagscan.benchmark.scales import Scale, ScanSet
from bagscan.core import View
from bagscan.datasets.items import LEAST_VISIBLE_PX, cut, mask_annotation, match
from bagscan.datasets.record import Record
from bagscan.formats.coco import decode_mask, encode_mask
from bagscan.model import InputConfig
from bagscan.training.detection import DetectionTrainingConfig, judge_detections
from bagscan.training.experiment import DataConfig, DetectionExperiment, SourceConfig, detection_samples, train_detection
from bagscan.training.loop import LoopConfig
from bagscan.training.samples import Sample, read_view, to_counts

if TYPE_CHECKING:
    from bagscan.benchmark.run import Place

Report = Callable[[str], None]
TRAINING_VIEWS = 2000


def detector_experiment(scale: Scale, root: Path, threads: int) -> DetectionExperiment:
    """The one detector of a scale: on the stack, whose pixels are those of every other channel."""
    source = SourceConfig("simulated", str(root), images="raw", annotate="device", limit=TRAINING_VIEWS)
    stats = [STATISTICS[name] for name in RAW]
    taken = InputConfig("dual_energy", RAW, 0, mean=tuple(m for m, _ in stats), std=tuple(s for _, s in stats))
    backbone: dict[str, Any] = {"backbone": "tf_efficientnet_lite0", "pretrained": True, "stride": 4, "deepest_stride": 16}
    if scale.tiny_networks:
        backbone = {"backbone": "test_resnet", "stride": 1, "dim": 16}
    steps = scale.detector_steps
    loop = LoopConfig(steps, 1e-3, weight_decay=0.01, warmup=min(50, steps), ema=0.99 if steps > 50 else 0.0)
    loop = dataclasses.replace(loop, validate_every=max(1, steps // 3), checkpoint_every=max(1, steps // 6))
    training = DetectionTrainingConfig(batch_size=2 if scale.tiny_networks else 8, validation_scans=40, loop=loop)
    return DetectionExperiment(DataConfig((source,), fractions=(0.6, 0.1, 0.3)), taken, {"name": "mask_rcnn", **backbone}, training, threads)


def run_detector(place: Place, report: Report = print) -> Path:
    """Train the detector of a scale, and find the items of its test scans; the folder of both. Resumed after a kill."""
    scale, folder = place.scale, place.runs / place.scale.name / "detector"
    experiment = detector_experiment(scale, place.data / scale.train_on[0].name, place.threads)
    if not (folder / "scores.json").exists():
        train_detection(experiment, folder, report)
        model, samples = detection_samples(experiment, folder, "test", report)
        (folder / "scores.json").write_text(json.dumps(judge_detections(model, samples[: 2 * scale.detected_scans], report), indent=1))
    for one in scale.train_on:
        found = folder / f"found_{one.name}.json"
        if found.exists():
            continue
        source = dataclasses.replace(experiment.data.sources[0], root=str(place.data / one.name), limit=0)
        data = dataclasses.replace(experiment.data, sources=(source,), split=None)
        model, samples = detection_samples(dataclasses.replace(experiment, data=data), folder, "test", report, split_folder=folder / one.name, most=2 * scale.detected_scans)
        views = {s.record.id: [encode_mask(m) for m in model.regioner.regions(s.full_view()).labels] for s in samples}
        found.write_text(json.dumps(views))
    return folder


@lru_cache(maxsize=2)
def _found(place: Place, one: ScanSet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.runs / place.scale.name / "detector" / f"found_{one.name}.json").read_text())
    return found


def detected_items(place: Place, one: ScanSet, data: str, test: Sequence[Sample], report: Report = print) -> list[tuple[Sample, bool]]:
    """Items of the detector's views: found ones under its masks, and missed ones with False.

    A detection that is no device counts as a benign item; one that holds an anomaly of another item is left out.
    """
    channels = DATA[data]
    quantity = "pseudo_colour" if channels == COLOUR else "dual_energy"
    return [(s.select(channels, quantity) if there else s, there) for s, there in _all_channels(place, one)]


@lru_cache(maxsize=2)
def _all_channels(place: Place, one: ScanSet) -> tuple[tuple[Sample, bool], ...]:
    from bagscan.benchmark.store import load_items

    views: dict[str, list[Sample]] = {}
    for sample in load_items(place.data / one.name):
        views.setdefault(f"{sample.record.about['scan']}_{sample.record.about['view']}", []).append(sample)
    rows: list[tuple[Sample, bool]] = []
    for name, masks in _found(place, one).items():
        if name in views:
            rows += _of_view(views[name], masks)
    return tuple(rows)


def _of_view(true: list[Sample], encoded: list[dict[str, Any]]) -> list[tuple[Sample, bool]]:
    view, _ = read_view(true[0].record)
    height, width = view.shape
    found = [decode_mask(mask, height, width) for mask in encoded]
    whole = [_in_view(s.record.window, s.region, height, width) for s in true]
    anomaly = np.zeros((height, width), bool)
    for sample in true:
        for annotation in sample.annotations:
            anomaly |= _in_view(sample.record.window, annotation.mask, height, width)
    stands_for = match(found, whole)
    rows = [(sample, False) for k, sample in enumerate(true) if k not in stands_for]
    for mask, k in zip(found, stands_for, strict=True):
        base = true[k].record if k >= 0 else replace(true[0].record, about={**true[0].record.about, "layout": "none"})
        one = cut(base, mask, "found", base.item.label if base.item else "item")
        assert one.window is not None
        assert one.item is not None
        assert one.item.mask is not None
        x1, y1, x2, y2 = one.window
        shown = anomaly[y1:y2, x1:x2] & one.item.mask
        hosts = k >= 0 and bool(true[k].annotations)
        if shown.sum() > LEAST_VISIBLE_PX and not hosts:
            continue
        annotations = (mask_annotation("anomaly", shown),) if hosts and shown.any() else true[k].annotations if hosts else ()
        rows.append((_sample(replace(one, annotations=annotations), view), True))
    return rows


def _in_view(window: tuple[int, int, int, int] | None, mask: np.ndarray | None, height: int, width: int) -> np.ndarray:
    full = np.zeros((height, width), bool)
    if window is not None and mask is not None:
        x1, y1, x2, y2 = window
        full[y1:y2, x1:x2] = mask
    return full


def _sample(record: Record, view: View) -> Sample:
    assert record.window is not None
    assert record.item is not None
    x1, y1, x2, y2 = record.window
    counts, unit = to_counts(replace(view, pixels=np.ascontiguousarray(view.pixels[:, y1:y2, x1:x2])))
    bare = View(np.zeros((len(ALL), 1, 1), np.float32), ALL, "dual_energy", view_id=record.about["view"], bit_depth=16)
    return Sample(record, bare, counts, record.annotations, unit, record.item.mask)
