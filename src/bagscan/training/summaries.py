"""Tables of evaluation results for people."""

from __future__ import annotations

from typing import Any

COLUMNS = (
    "tp_percent",
    "fp_percent",
    "accuracy",
    "precision",
    "f1",
    "auroc",
    "average_precision",
    "fpr_at_95_tpr",
)
N_PERCENT = 2  # the first columns are percentages


def detection_summary(record: dict[str, Any]) -> str:
    """Format COCO scores as a table."""
    rows = [f"{'':6s}  AP     AP50   AP75   small  medium large"]
    for kind, scores in record["results"].items():
        cells = ["-     " if value is None else f"{value:<6.3f}" for value in scores.values()]
        rows.append(f"{kind:6s}  " + " ".join(cells))
    return "\n".join(rows)


def summary(record: dict[str, Any]) -> str:
    """Format a result record as a table."""
    results = record["results"]
    lines = [f"{'':28s}  n      TP%    FP%    A      P      F1     AUROC  AP     FPR@95"]
    for level in ("per_segment", "per_object", "per_scan"):
        row = results[level]
        cells = [_cell(row[name], i < N_PERCENT) for i, name in enumerate(COLUMNS)]
        lines.append(f"{level:28s}  {row['n']:<6d} " + " ".join(cells))
    lines.append(f"pixel IoU of scans with objects: {results['per_pixel']['iou'] or 0:.3f}")
    if "classes" in results:
        lines += _classes_summary(results["classes"])
    if "simulated" in results:
        lines += _simulated_summary(results["simulated"])
    baseline = results["per_scan"]["trivial_baseline"]["auroc"]
    value = "- (undefined: every scan has an object)" if baseline is None else f"{baseline:.3f}"
    lines.append(f"trivial image statistics per scan: AUROC {value}")
    return "\n".join(lines + _within_bag_summary(results["within_bag"]))


def _cell(value: float | None, is_percent: bool) -> str:
    if value is None:
        return "-     "
    return f"{value:<6.1f}" if is_percent else f"{value:<6.3f}"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _classes_summary(results: dict[str, Any]) -> list[str]:
    low, high = results["map_interval"]
    line = (
        f"\nclasses of whole images: mAP {_number(results['map'])} "
        f"({_number(low)}-{_number(high)}), micro F1 {_number(results['micro_f1'])}, "
        f"macro F1 {_number(results['macro_f1'])}"
    )
    return [line, *(f"  AP {name:20s} {_number(value)}" for name, value in results["ap"].items())]


def _simulated_summary(results: dict[str, Any]) -> list[str]:
    level = results["per_scan"]
    views = [f"{name} {_number(value)}" for name, value in results["views"].items()]
    lines = [
        f"\nscans, views fused by their maximum: n {level['n']}, "
        f"TP {_number(level['tp_percent'], 1)} %, FP {_number(level['fp_percent'], 1)} %, "
        f"AUROC {_number(level['auroc'])}",
        "AUROC by view: " + ", ".join(views),
    ]
    for name, row in results["strata"].items():
        low, high = row["tp"]["interval"]
        lines.append(
            f"  area CNR {name:12s}  n {row['tp']['n']:<5d} "
            f"TP {_number(row['tp']['percent'], 1)} % ({low:.0f}-{high:.0f})  "
            f"AUROC {_number(row['auroc'])}"
        )
    for name, row in results["groups"].items():
        lines.append(
            f"  {name:44s}  TP {_number(row['tp']['percent'], 1)} %  "
            f"FP {_number(row['fp']['percent'], 1)} %  AUROC {_number(row['auroc'])}"
        )
    return lines


def _within_bag_summary(results: dict[str, Any]) -> list[str]:
    """Return lines with the control, attenuation alone, in brackets."""
    lines = [
        f"\n{'within bag':28s}  AUROC (attenuation)  AP (attenuation)  hit@1 (attenuation)  "
        "hit@5   objects"
    ]
    for name, row in results.items():
        model, control = row["model"], row["darkness"]
        auroc, precision, hit = (
            f"{_number(model[key]):5s} ({_number(control[key]):5s})"
            for key in ("auroc", "average_precision", "hit_at_1")
        )
        lines.append(
            f"{name:28s}  {auroc:21s}{precision:18s}{hit:21s}"
            f"{_number(model['hit_at_5']):5s}   {model['objects']:.0f}"
        )
    return lines
