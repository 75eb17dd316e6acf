"""Choose a model's operating point, and evaluate it on one part of an experiment's data, controls beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.contracts import ClassScorer
from bagscan.core.calibrated import UNCALIBRATED, platt
from bagscan.core.errors import BagscanError, ConfigError, DataError
from bagscan.datasets.config import DataConfig, by_whole_views, part_records
from bagscan.datasets.record import Record
from bagscan.datasets.splits import read_split
from bagscan.evaluation.baseline import image_statistics, trivial_baseline
from bagscan.evaluation.calibration import conformal_point, fit_platt
from bagscan.evaluation.items import evaluate_items, fused
from bagscan.evaluation.levels import evaluate_levels
from bagscan.evaluation.meaning import too_few
from bagscan.evaluation.multi_label import map_interval, ranking_table
from bagscan.evaluation.operating_point import choose_operating_point
from bagscan.evaluation.results import make_record, write_record
from bagscan.evaluation.within_bag import segment_arrays
from bagscan.formats import read_view
from bagscan.model import Model
from bagscan.model_folder import SHIPPED
from bagscan.training.detection import DetectionExperiment, detection_samples, judge_detections
from bagscan.training.joint_experiment import JointExperiment, judge_part
from bagscan.training.multi_label import MultiLabelExperiment, class_scores, label_matrix
from bagscan.training.one_class import OneClassExperiment
from bagscan.training.samples import Sample

LEVELS = ("segment", "scan")
Judgeable = (
    JointExperiment | OneClassExperiment | MultiLabelExperiment
)  # kinds whose result is a model of three parts


def calibrate_model(
    experiment: Judgeable,
    folder: Path,
    max_fpr: float,
    report: Callable[[str], None] = print,
    level: str = "segment",
) -> Model:
    """Calibrate scores and choose the operating point on the validation split; both are stored beside the weights.

    A calibrated score is the chance that what is judged, an item or a whole scan, is anomalous if this
    is its worst segment. Where every validation scan holds an object, nothing can be calibrated.

    Args:
        max_fpr: largest false-positive rate. level: what is counted: benign ``segment`` or, by split
            conformal, benign ``scan``; a scan is judged whole, as in use, by its worst segment in any view. The promise of
            split conformal is for scans that nothing was chosen on, and the model's best step was chosen on these: mind it where benign scans are few.

    Raises:
        ConfigError: no such level, or no such rate. DataError: too few benign ones for the rate.
    """
    if not 0 < max_fpr < 1:
        raise ConfigError(f"max_fpr must lie between 0 and 1, got {max_fpr}")
    if level not in LEVELS:
        raise ConfigError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    model = Model.load(folder)
    model.calibration, before = UNCALIBRATED, model.operating_point
    data, split_folder, same = _judged_data(experiment.data, folder, whole_views=level == "scan")
    judged = judge_part(model, data, "val", split_folder, report, same)
    # In use any region may raise the alarm, what the protocol calls background among them.
    scan_truth, scan_scores = fused(
        [dataclasses.replace(bag, foreground=np.ones_like(bag.foreground)) for bag in judged.bags]
    )
    model.calibration = fit_platt(scan_truth, scan_scores)
    truth, scores, _ = segment_arrays(judged.bags)
    # Through float32, since that is what the model gives: a threshold must not fall between the two.
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
    if len(benign):  # of which a segment's rate says nothing: a scan has hundreds
        report(
            f"of the {len(benign)} benign scans of the validation part {int((benign >= model.operating_point.threshold).sum())} raise an alarm"
        )
    for warning in too_few({"benign scans": len(benign), "anomalous scans": int(scan_truth.sum())}):
        report(f"warning: {warning}")
    if before is not None and before.threshold != model.operating_point.threshold:
        report(f"the threshold before, {before.threshold:.4f} ({before.criterion}), is replaced")
    model.about["benign_score_quantiles"] = benign_quantiles(truth, scores)
    model.save(folder)
    return model


def run_folder_of(folder: str | Path) -> Path:
    """Directory of a model's split: beside the model, or ``runs`` for bundled models, since the package is never written to."""
    folder = Path(folder)
    return (
        Path("runs") / f"shipped_{folder.name}"
        if folder.resolve().parent == SHIPPED.resolve()
        else folder.parent
    )


def _judged_data(
    data: DataConfig, folder: str | Path, whole_views: bool
) -> tuple[DataConfig, Path, bool]:
    """What a model is judged on, the folder of its split, and whether that is the model's own."""
    run_folder = run_folder_of(folder)
    return _as_screened(data, run_folder) if whole_views else (data, run_folder, True)


def benign_quantiles(truth: np.ndarray, scores: np.ndarray, n: int = 1000) -> list[float]:
    """Quantiles of benign scores, kept with the model so that a finding can tell its expected FPR."""
    benign = scores[truth == 0]
    return [float(v) for v in np.quantile(benign, np.linspace(0, 1, min(n, len(benign))))]


def _as_screened(data: DataConfig, run_folder: Path) -> tuple[DataConfig, Path, bool]:
    """The same data by whole views where it was by items, the folder of its split, and whether that is the model's own.

    The split by views is the simulated set's own, and so of the same scans as that by items.

    Raises:
        DataError: a split of items that somebody made: which views are whose is not told in it.
    """
    whole = by_whole_views(data)
    if whole == data:
        return data, run_folder, True
    if data.split:
        raise DataError(
            f"{data.split} splits items, and whole views are judged here: their part cannot be told from it. Train with the set's own split (data.split: null)"
        )
    return dataclasses.replace(whole, split=None), run_folder / "whole_views", False


def evaluate_model(
    experiment: Judgeable,
    folder: Path,
    part: str,
    out: Path,
    report: Callable[[str], None] = print,
    regioner: dict[str, Any] | None = None,
    everywhere: bool = False,
    as_screened: bool = False,
) -> dict[str, Any]:
    """Score a model folder and write the result record.

    Without an operating point the confusion is taken at 0.5, and the record says so.

    Args:
        regioner: regions to judge in place of the model's own, to compare with others on the same
            ones; see :meth:`Model.cut_by`. everywhere: see :meth:`Model.everywhere`.
        as_screened: whole views, as screening sees them, where the data is by items.
    """
    model = Model.load(folder)
    if everywhere:
        model = model.everywhere()
    if regioner:
        model = model.cut_by(regioner)
    data, split_folder, same = _judged_data(experiment.data, folder, as_screened)
    judged = judge_part(model, data, part, split_folder, report, same)
    point = model.operating_point
    threshold = point.threshold if point else 0.5
    results = evaluate_levels(judged.bags, threshold)
    if any(item.about.holds is not None for item in judged.bags):
        results["simulated"] = evaluate_items(judged.bags, threshold)
    if isinstance(model.scorer, ClassScorer) and model.config.input.square:
        results["classes"] = _classes(model, judged.samples)
    results["operating_point"] = dataclasses.asdict(point) if point else None
    results["per_scan"]["trivial_baseline"] = _baseline(
        *(part_records(data, judged.records, judged.split, p) for p in ("train", part))
    )
    notes = [
        "A whole-image score proves nothing unless it is well above trivial_baseline, which knows image statistics alone."
    ]
    notes += judged.warnings
    if point is None:
        notes.append("No operating point was chosen: the confusion is at 0.5.")
    record = make_record(
        f"evaluate-{folder.parent.name}-{part}{'-as-screened' if as_screened else ''}",
        results,
        data={
            "name": "+".join(s.root for s in experiment.data.sources),
            "hash": judged.split.data_hash,
            "counts": {
                "scans": len(judged.bags),
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
    """AP of every class over the ranking of all images, and precision, recall and F1 at 0.5 (report B)."""
    names = tuple(model.scorer.config.classes)
    truth = label_matrix(samples, names)
    scores = class_scores(model, samples)
    return ranking_table(truth, scores, names) | {"map_interval": map_interval(truth, scores)}


def evaluate_detection(
    experiment: DetectionExperiment,
    run_folder: Path,
    part: str,
    out: Path,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Box and mask AP of a trained item detector on one part of its data, as a result record.

    Args:
        run_folder: what ``bagscan train`` wrote.
    """
    model, samples = detection_samples(experiment, run_folder, part, report)
    split = read_split(
        Path(experiment.data.split) if experiment.data.split else run_folder / "split.json"
    )
    record = make_record(
        f"detection-{run_folder.name}-{part}",
        judge_detections(model, samples, report),
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


def detection_summary(record: dict[str, Any]) -> str:
    """COCO scores as a table for people."""
    rows = [f"{'':6s}  AP     AP50   AP75   small  medium large"]
    for kind, scores in record["results"].items():
        rows.append(
            f"{kind:6s}  "
            + " ".join("-     " if v is None else f"{v:<6.3f}" for v in scores.values())
        )
    return "\n".join(rows)


def _baseline(train: list[Record], test: list[Record]) -> dict[str, float]:
    if any(len({bool(r.annotations) for r in part}) < 2 for part in (train, test)):
        return {
            "auroc": float("nan")
        }  # one class only: undefined, and not worth reading every scan
    (x, y), (x_test, y_test) = _statistics(train), _statistics(test)
    return trivial_baseline(x, y, x_test, y_test)


def _statistics(records: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    rows, truth = [], []
    for record in records:
        try:
            rows.append(statistics_of(record))
        except BagscanError:
            continue
        truth.append(int(bool(record.annotations)))
    return np.array(rows), np.array(truth)


def statistics_of(record: Record) -> np.ndarray:
    """Image statistics of what a record shows: of an item the window around it and how many pixels it covers; colours as grey, other channels one by one."""
    view = read_view(record.path)
    pixels, covered = view.pixels, []
    if record.window is not None:
        x1, y1, x2, y2 = record.window
        pixels = pixels[:, y1:y2, x1:x2]
        covered = (
            [float(record.item.mask.area)]
            if record.item is not None and record.item.mask is not None
            else []
        )
    parts = [pixels] if view.quantity == "pseudo_colour" else [channel[None] for channel in pixels]
    return np.concatenate([*(image_statistics(part) for part in parts), covered])


def _told(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _simulated_summary(found: dict[str, Any]) -> list[str]:
    level = found["per_scan"]
    tp, fp = _told(level["tp_percent"], 1), _told(level["fp_percent"], 1)
    lines = [
        f"\nscans, views fused by their maximum: n {level['n']}, TP {tp} %, FP {fp} %, AUROC {_told(level['auroc'])}"
    ]
    lines.append(
        "AUROC by view: "
        + ", ".join(f"{name} {_told(value)}" for name, value in found["views"].items())
    )
    for name, row in found["strata"].items():
        low, high = row["tp"]["interval"]
        lines.append(
            f"  area CNR {name:12s}  n {row['tp']['n']:<5d} TP {_told(row['tp']['percent'], 1)} % ({low:.0f}-{high:.0f})  AUROC {_told(row['auroc'])}"
        )
    for name, row in found["groups"].items():
        lines.append(
            f"  {name:44s}  TP {_told(row['tp']['percent'], 1)} %  FP {_told(row['fp']['percent'], 1)} %  AUROC {_told(row['auroc'])}"
        )
    return lines


def summary(record: dict[str, Any]) -> str:
    """A result record as a table for people."""
    results = record["results"]
    lines = [f"{'':28s}  n      TP%    FP%    A      P      F1     AUROC  AP     FPR@95"]
    for level in ("per_segment", "per_object", "per_scan"):
        row = results[level]
        cells = [
            row[k]
            for k in (
                "tp_percent",
                "fp_percent",
                "accuracy",
                "precision",
                "f1",
                "auroc",
                "average_precision",
                "fpr_at_95_tpr",
            )
        ]
        lines.append(
            f"{level:28s}  {row['n']:<6d} "
            + " ".join(
                "-     " if c is None else f"{c:<6.1f}" if i < 2 else f"{c:<6.3f}"
                for i, c in enumerate(cells)
            )
        )
    lines.append(f"pixel IoU of scans with objects: {results['per_pixel']['iou'] or 0:.3f}")
    if "classes" in results:
        found = results["classes"]
        low, high = found["map_interval"]
        lines.append(
            f"\nclasses of whole images: mAP {_told(found['map'])} ({_told(low)}-{_told(high)}), micro F1 {_told(found['micro_f1'])}, macro F1 {_told(found['macro_f1'])}"
        )
        lines += [f"  AP {name:20s} {_told(value)}" for name, value in found["ap"].items()]
    if "simulated" in results:
        lines += _simulated_summary(results["simulated"])
    baseline = results["per_scan"]["trivial_baseline"]["auroc"]
    lines.append(
        f"trivial image statistics per scan: AUROC {'- (undefined: every scan here holds an object)' if baseline is None else f'{baseline:.3f}'}"
    )
    lines.append(
        f"\n{'within bag':28s}  AUROC (darkness)   AP (darkness)     hit@1 (darkness)   hit@5   objects"
    )
    for name, row in results["within_bag"].items():
        m, d = row["model"], row["darkness"]
        lines.append(
            f"{name:28s}  {_told(m['auroc']):5s} ({_told(d['auroc']):5s})     {_told(m['average_precision']):5s} ({_told(d['average_precision']):5s})    "
            f"{_told(m['hit_at_1']):5s} ({_told(d['hit_at_1']):5s})      {_told(m['hit_at_5']):5s}   {m['objects']:.0f}"
        )
    return "\n".join(lines)
