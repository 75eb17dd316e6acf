"""Calibration of models, and evaluation on one split of an experiment's data, with controls."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.contracts import ClassScorer
from bagscan.core.calibrated import UNCALIBRATED, platt
from bagscan.core.errors import BagscanError, ConfigError, DataError
from bagscan.datasets.config import DataConfig, part_records, use_whole_views
from bagscan.datasets.record import Record
from bagscan.datasets.splits import read_split
from bagscan.evaluation.baseline import image_statistics, trivial_baseline
from bagscan.evaluation.calibration import conformal_point, fit_platt
from bagscan.evaluation.items import evaluate_items, fuse_views
from bagscan.evaluation.levels import evaluate_levels
from bagscan.evaluation.meaning import warn_few_examples
from bagscan.evaluation.multi_label import map_interval, ranking_table
from bagscan.evaluation.operating_point import choose_operating_point
from bagscan.evaluation.results import make_record, write_record
from bagscan.evaluation.within_bag import segment_arrays
from bagscan.formats import read_view
from bagscan.model import Model
from bagscan.model_folder import SHIPPED
from bagscan.training.detection import DetectionExperiment, detection_samples, evaluate_detections
from bagscan.training.joint_experiment import JointExperiment, score_split
from bagscan.training.multi_label import MultiLabelExperiment, class_scores, label_matrix
from bagscan.training.one_class import OneClassExperiment
from bagscan.training.samples import Sample

log = logging.getLogger(__name__)

LEVELS = ("segment", "scan")
# Kinds that produce a model of regioner, encoder and scorer.
ModelExperiment = JointExperiment | OneClassExperiment | MultiLabelExperiment


def calibrate_model(
    experiment: ModelExperiment,
    folder: Path,
    max_fpr: float,
    level: str = "segment",
) -> Model:
    """Calibrate scores and choose the operating point on the validation split, and save both.

    A calibrated score is the probability that an item or scan is anomalous if this is its worst
    segment. Scores stay uncalibrated if every validation scan holds an object.

    Split conformal guarantees the rate for scans that nothing was chosen on. The best step of the
    model was chosen on these scans, which matters if there are few benign ones.

    Args:
        experiment: experiment that the model was trained in.
        folder: model folder.
        max_fpr: largest false-positive rate, in (0, 1).
        level: what the rate counts: ``segment`` (benign segments) or ``scan`` (benign scans, by
            split conformal). A scan is scored as in use, by its worst segment in any view.

    Raises:
        ConfigError: ``level`` or ``max_fpr`` is invalid.
        DataError: there are too few benign segments or scans for the rate.
    """
    if not 0 < max_fpr < 1:
        raise ConfigError(f"max_fpr must lie between 0 and 1, got {max_fpr}")
    if level not in LEVELS:
        raise ConfigError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    model = Model.load(folder)
    model.calibration, previous = UNCALIBRATED, model.operating_point
    data, split_folder, is_own_split = _data_to_score(
        experiment.data, folder, whole_views=level == "scan"
    )
    scored = score_split(model, data, "val", split_folder, is_own_split)
    # In use any region can raise an alarm, even one that the protocol counts as background.
    scan_truth, scan_scores = fuse_views(
        [dataclasses.replace(bag, foreground=np.ones_like(bag.foreground)) for bag in scored.bags]
    )
    model.calibration = fit_platt(scan_truth, scan_scores)
    truth, scores, _ = segment_arrays(scored.bags)
    # Round to float32 as the model does, or the threshold could differ from a score by rounding.
    scores, scan_scores = (
        platt(s, model.calibration).astype(np.float32).astype(np.float64)
        for s in (scores, scan_scores)
    )
    benign = scan_scores[scan_truth == 0]
    model.operating_point = (
        choose_operating_point(truth, scores, max_fpr, "val")
        if level == "segment"
        else conformal_point(benign, max_fpr, "val", "scan")
    )
    if len(benign):  # a scan has hundreds of segments, so their rate says little about scans
        n_alarms = int((benign >= model.operating_point.threshold).sum())
        log.info(f"{n_alarms} of {len(benign)} benign validation scans raise an alarm")
    for warning in warn_few_examples(
        {"benign scans": len(benign), "anomalous scans": int(scan_truth.sum())}
    ):
        log.warning(warning)
    if previous is not None and previous.threshold != model.operating_point.threshold:
        log.info(f"replacing the threshold {previous.threshold:.4f} ({previous.criterion})")
    model.about["benign_score_quantiles"] = benign_quantiles(truth, scores)
    model.save(folder)
    return model


def run_folder_of(folder: str | Path) -> Path:
    """Return the directory with the split of a model.

    It is the parent of the model folder. For a bundled model it is a directory in ``runs``, since
    the package is never written to.
    """
    folder = Path(folder)
    if folder.resolve().parent == SHIPPED.resolve():
        return Path("runs") / f"shipped_{folder.name}"
    return folder.parent


def _data_to_score(
    data: DataConfig, folder: str | Path, whole_views: bool
) -> tuple[DataConfig, Path, bool]:
    """Return the same as :func:`_as_screened`, or the data as they are."""
    run_folder = run_folder_of(folder)
    return _as_screened(data, run_folder) if whole_views else (data, run_folder, True)


def benign_quantiles(truth: np.ndarray, scores: np.ndarray, n: int = 1000) -> list[float]:
    """Return up to ``n`` quantiles of benign scores.

    The model keeps them, to report the expected false-positive rate of a finding.
    """
    benign = scores[truth == 0]
    return [float(v) for v in np.quantile(benign, np.linspace(0, 1, min(n, len(benign))))]


def _as_screened(data: DataConfig, run_folder: Path) -> tuple[DataConfig, Path, bool]:
    """Return data by whole views, the directory of the split, and whether the model used it.

    Whole views are split as the simulated set is. Each part therefore has the same scans as in a
    split by items.

    Raises:
        DataError: a split file assigns items, from which the split of views does not follow.
    """
    views = use_whole_views(data)
    if views == data:
        return data, run_folder, True
    if data.split:
        raise DataError(
            f"{data.split} splits items, but whole views are scored here; "
            "train with the split of the set (data.split: null)"
        )
    return dataclasses.replace(views, split=None), run_folder / "whole_views", False


def evaluate_model(
    experiment: ModelExperiment,
    folder: Path,
    part: str,
    out: Path,
    regioner: dict[str, Any] | None = None,
    everywhere: bool = False,
    as_screened: bool = False,
) -> dict[str, Any]:
    """Evaluate a model on one split and write the result record.

    Without an operating point, the confusion is computed at 0.5, and a note states it.

    Args:
        experiment: experiment that the model was trained in.
        folder: model folder.
        part: ``train``, ``val`` or ``test``.
        out: file for the record.
        regioner: its regions are scored in place of the model's, to compare models on the same
            regions; see :meth:`Model.with_regioner`.
        everywhere: True to score the whole view; see :meth:`Model.everywhere`.
        as_screened: True to score whole views, as in screening, if the data are by items.

    Returns:
        The record.
    """
    model = Model.load(folder)
    if everywhere:
        model = model.everywhere()
    if regioner:
        model = model.with_regioner(regioner)
    data, split_folder, is_own_split = _data_to_score(experiment.data, folder, as_screened)
    scored = score_split(model, data, part, split_folder, is_own_split)
    point = model.operating_point
    threshold = point.threshold if point else 0.5
    results = evaluate_levels(scored.bags, threshold)
    if any(item.about.holds is not None for item in scored.bags):
        results["simulated"] = evaluate_items(scored.bags, threshold)
    if isinstance(model.scorer, ClassScorer) and model.config.input.square:
        results["classes"] = _classes(model, scored.samples)
    results["operating_point"] = dataclasses.asdict(point) if point else None
    results["per_scan"]["trivial_baseline"] = _score_statistics(
        *(part_records(data, scored.records, scored.split, p) for p in ("train", part))
    )
    notes = [
        "A whole-image score proves nothing unless it is well above trivial_baseline, "
        "which knows image statistics alone.",
        *scored.warnings,
    ]
    if point is None:
        notes.append("No operating point was chosen: the confusion is at 0.5.")
    record = make_record(
        f"evaluate-{folder.parent.name}-{part}{'-as-screened' if as_screened else ''}",
        results,
        data={
            "name": "+".join(s.root for s in experiment.data.sources),
            "hash": scored.split.data_hash,
            "counts": {
                "scans": len(scored.bags),
                "left_out_scanner": experiment.data.leave_out_scanner,
            },
        },
        config={"model_id": model.id, **dataclasses.asdict(model.config)},
        seeds=[experiment.seed],
        notes=notes,
    )
    write_record(out, record)
    return record


def _classes(model: Model, samples: list[Sample]) -> dict[str, Any]:
    """Return AP of each class over all images, and precision, recall and F1 at 0.5.

    Source: Dumagpi, Jung & Jeong 2020.
    """
    names = tuple(model.scorer.config.classes)
    truth = label_matrix(samples, names)
    scores = class_scores(model, samples)
    return ranking_table(truth, scores, names) | {"map_interval": map_interval(truth, scores)}


def evaluate_detection(
    experiment: DetectionExperiment,
    run_folder: Path,
    part: str,
    out: Path,
) -> dict[str, Any]:
    """Evaluate an item detector by COCO box and mask AP, and write the result record.

    Args:
        experiment: experiment of the detector.
        run_folder: run folder of ``bagscan train``.
        part: ``train``, ``val`` or ``test``.
        out: file for the record.

    Returns:
        The record.
    """
    model, samples = detection_samples(experiment, run_folder, part)
    split = read_split(
        Path(experiment.data.split) if experiment.data.split else run_folder / "split.json"
    )
    record = make_record(
        f"detection-{run_folder.name}-{part}",
        evaluate_detections(model, samples),
        data={
            "name": "+".join(s.root for s in experiment.data.sources),
            "hash": split.data_hash,
            "counts": {"scans": len(samples)},
        },
        config={"regioner": model.config.regioner, "input": dataclasses.asdict(model.config.input)},
        seeds=[experiment.seed],
    )
    write_record(out, record)
    return record


def _score_statistics(train: list[Record], test: list[Record]) -> dict[str, float]:
    if any(len({bool(r.annotations) for r in part}) < 2 for part in (train, test)):
        return {"auroc": float("nan")}  # undefined with a single class, so read no scans
    (x, y), (x_test, y_test) = _read_statistics(train), _read_statistics(test)
    return trivial_baseline(x, y, x_test, y_test)


def _read_statistics(records: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    rows, truth = [], []
    for record in records:
        try:
            rows.append(statistics_of(record))
        except BagscanError:
            continue
        truth.append(int(bool(record.annotations)))
    return np.array(rows), np.array(truth)


def statistics_of(record: Record) -> np.ndarray:
    """Return the image statistics of a record.

    For an item they are those of its window, and the area of its mask in pixels. Pseudo-colour
    counts as one grey image; other channels have statistics of their own.
    """
    view = read_view(record.path)
    pixels, area = view.pixels, []
    if record.window is not None:
        x1, y1, x2, y2 = record.window
        pixels = pixels[:, y1:y2, x1:x2]
        if record.item is not None and record.item.mask is not None:
            area = [float(record.item.mask.area)]
    images = [pixels] if view.quantity == "pseudo_colour" else [channel[None] for channel in pixels]
    return np.concatenate([*(image_statistics(image) for image in images), area])
