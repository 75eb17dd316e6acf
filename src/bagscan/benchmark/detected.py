"""Items as a detector finds them, in place of their true masks: errors of localisation told apart from those of judgement."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.benchmark.cells import DATA, RAW, STATISTICS, quantity_of_row
from bagscan.benchmark.place import Place, judged_scans, test_items
from bagscan.benchmark.scales import Scale, ScanSet
from bagscan.benchmark.store import as_sample, shrunk
from bagscan.core import Annotation, View
from bagscan.core.files import write_whole
from bagscan.datasets.items import LEAST_VISIBLE_PX, cut, mask_annotation, match
from bagscan.datasets.record import Record
from bagscan.evaluation.results import make_record, write_record
from bagscan.formats.coco import decode_mask, encode_mask
from bagscan.formats.scans import RECIPE
from bagscan.model import Model
from bagscan.model_config import InputConfig
from bagscan.training.data import DataConfig, SourceConfig, load_records
from bagscan.training.detection import DetectionTrainingConfig, judge_detections
from bagscan.training.experiment import DetectionExperiment, load_regioner, train_detection
from bagscan.training.loop import LoopConfig
from bagscan.training.samples import Sample, load_samples, read_view, spread

Report = Callable[[str], None]
TRAINING_VIEWS = 2000
TEST_VIEWS = 300  # of a set, that the detector itself is judged on
NO_DEVICE = "none"
TRUE_ID = "true_id"  # of a found item's record: the item that it stands for


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


def detector_folder(place: Place) -> Path:
    """Of other settings of training there is another folder, as of cells."""
    experiment = detector_experiment(place.scale, Path(place.scale.train_on[0].name), 1)
    told = json.dumps([dataclasses.asdict(experiment), dataclasses.asdict(place.scale.train_on[0])], sort_keys=True)
    return place.runs / place.scale.name / f"detector_{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def run_detector(place: Place, report: Report = print) -> Path:
    """Train the detector of a scale, judge it, and find the items of its test scans; the folder of it all. Resumed after a kill."""
    scale, folder = place.scale, detector_folder(place)
    experiment = detector_experiment(scale, place.data / scale.train_on[0].name, place.threads)
    record, scores = place.results / scale.name / "detector.json", {one.name: folder / f"scores_{one.name}.json" for one in scale.train_on}
    if not scores[scale.train_on[0].name].exists():
        train_detection(experiment, folder, report)
        for stale in (record, *scores.values(), *folder.glob("found_*.jsonl")):  # of another detector
            stale.unlink(missing_ok=True)
    for one in scale.train_on:
        if not scores[one.name].exists():
            report(f"judging the detector on {one.name}")
            write_whole(scores[one.name], json.dumps(_judge(_trained(experiment, folder), place, one, report), indent=1))
    if not record.exists():
        _write_record(record, place, experiment, {name: json.loads(path.read_text()) for name, path in scores.items()})
    for one in scale.train_on:
        found = _found_path(place, one)
        known = _found(found)
        missing = {view: records[0] for view, records in _test_views(place, one).items() if view not in known}
        if missing:
            _find(_trained(experiment, folder), missing, found)
            report(f"items found in {len(missing)} views of {one.name}")
    return folder


def _trained(experiment: DetectionExperiment, folder: Path) -> Model:
    model = experiment.model()
    load_regioner(model, folder / "regioner.safetensors")
    return model


def _judge(model: Model, place: Place, one: ScanSet, report: Report) -> dict[str, Any]:
    """Box and mask AP on test views of a set, evenly through it, and how many they are; the detector learnt from those of the first set."""
    records = load_records(detector_experiment(place.scale, place.data / one.name, place.threads).data, report)
    samples = load_samples(spread([r for r in records if r.part == "test"], TEST_VIEWS), model, report)
    return judge_detections(model, samples, report) | {"views": len(samples)}


def _found_path(place: Place, one: ScanSet) -> Path:
    return detector_folder(place) / f"found_{one.name}.jsonl"


def _find(model: Model, views: dict[str, Record], path: Path) -> None:
    """Add a line for every view as soon as it is searched, so that a kill loses one at most."""
    with path.open("a") as file:
        for view, record in views.items():
            # Undilated: what is cut out around a found mask is what is cut out around a true one.
            file.write(json.dumps({"view": view, "masks": [encode_mask(m) for m in _sure(model, record)]}) + "\n")
            file.flush()


def _found(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Encoded masks by view; a last line that a kill cut off is taken out of the file, so that the next begins a line of its own."""
    if not path.exists():
        return {}
    text = path.read_text()
    kept = text[: text.rfind("\n") + 1]
    if kept != text:
        write_whole(path, kept)
    return {row["view"]: row["masks"] for row in map(json.loads, kept.splitlines())}


def _write_record(path: Path, place: Place, experiment: DetectionExperiment, scores: dict[str, dict[str, Any]]) -> None:
    """The detector's own record: box and mask AP as COCO has them, on test views of every set that cells are trained on."""
    root = place.data / place.scale.train_on[0].name
    record = make_record(
        f"detection-{experiment.regioner['name']}-{place.scale.name}",
        {name: {k: found[k] for k in ("box", "mask")} for name, found in scores.items()},
        data={
            "name": root.name,
            "hash": hashlib.sha256((root / RECIPE).read_bytes()).hexdigest(),
            "counts": {f"test views of {name}": found["views"] for name, found in scores.items()},
        },
        config=json.loads(json.dumps(dataclasses.asdict(experiment) | {"data": root.name})),
        seeds=[experiment.training.loop.seed],
    )
    write_record(path, record)


def _sure(model: Model, record: Record) -> list[np.ndarray]:
    view = model.config.input.working_view(model.config.input.select(read_view(record)[0]))
    return [d["mask"] for d in model.regioner.detect(view) if d["score"] >= model.regioner.config.min_score]


def _test_views(place: Place, one: ScanSet) -> dict[str, list[Record]]:
    """Items of both views of the scans that are judged under detected masks too, by view."""
    chosen = {scan["id"] for scan in judged_scans(place, one, place.scale.detected_scans)}
    views: dict[str, list[Record]] = {}
    for sample in (s for s in test_items(place, one, "high + low + Z") if s.record.about["scan"] in chosen):
        views.setdefault(f"{sample.record.about['scan']}_{sample.record.about['view']}", []).append(sample.record)
    return views


def detected_items(place: Place, one: ScanSet, data: str) -> list[tuple[Sample, bool]]:
    """Items of the detector's views: found ones under its masks, and missed ones with False.

    A detection that is no device is a benign item whose layout is ``NO_DEVICE``; one that holds an anomaly of another item is left out,
    and so is a device that is neither benign nor shows its anomaly, as it is under true masks.
    """
    return [(sample.select(DATA[data], quantity_of_row(data)), found) for sample, found in _all_channels(place, one)]


@lru_cache(maxsize=2)
def _all_channels(place: Place, one: ScanSet) -> tuple[tuple[Sample, bool], ...]:
    found = _found(_found_path(place, one))
    return tuple(row for view, records in _test_views(place, one).items() for row in _of_view(records, found[view], place.scale.shrink))


def _of_view(true: list[Record], encoded: list[dict[str, Any]], shrink: int) -> list[tuple[Sample, bool]]:
    view, _ = read_view(true[0])
    height, width = view.shape
    found = [decode_mask(mask, height, width) for mask in encoded]
    anomaly = np.zeros((height, width), bool)
    for record in true:
        for annotation in record.annotations:
            anomaly |= _in_view(record.window, annotation.mask, height, width)
    stands_for = match(found, [*(_in_view(r.window, r.item.mask if r.item else None, height, width) for r in true), *_no_items(true, height, width)])
    rows = [(_sample(record, view, shrink), False) for k, record in enumerate(true) if k not in stands_for]
    for mask, k in zip(found, stands_for, strict=True):
        if k >= len(true):
            continue
        about = {**true[k].about, TRUE_ID: true[k].id} if k >= 0 else {**true[0].about, "layout": NO_DEVICE}
        base = replace(true[max(k, 0)], about=about)
        one = cut(base, mask, "found", base.item.label if base.item else "item")
        x1, y1, x2, y2 = one.window or (0, 0, width, height)
        inside = anomaly[y1:y2, x1:x2]
        shown = inside & one.item.mask if one.item is not None and one.item.mask is not None else inside
        if k >= 0 and true[k].annotations:
            if not shown.any():  # the detector cut its anomaly off: the item is anomalous, no segment of it is
                shown = np.zeros_like(inside)
                shown[0, 0] = True
            annotations: tuple[Annotation, ...] = (mask_annotation("anomaly", shown),)
        elif shown.sum() > LEAST_VISIBLE_PX:
            continue
        else:
            annotations = ()
        rows.append((_sample(replace(one, annotations=annotations), view, shrink), True))
    return rows


def _no_items(items: list[Record], height: int, width: int) -> list[np.ndarray]:
    """(H, W) masks of a view's devices that are no items of it."""
    if items[0].truth is None:
        return []
    known = {record.id.rpartition("_")[2] for record in items}
    entries = json.loads(items[0].truth.read_text())["annotations"]
    return [decode_mask(e["segmentation"], height, width) for e in entries if e["role"] == "device" and str(e["id"]) not in known and e["area"]]


def _in_view(window: tuple[int, int, int, int] | None, mask: np.ndarray | None, height: int, width: int) -> np.ndarray:
    full = np.zeros((height, width), bool)
    if window is not None and mask is not None:
        x1, y1, x2, y2 = window
        full[y1:y2, x1:x2] = mask
    return full


def _sample(record: Record, view: View, shrink: int) -> Sample:
    assert record.window is not None
    return as_sample(record, *shrunk(view, record.window, shrink), shrink)
