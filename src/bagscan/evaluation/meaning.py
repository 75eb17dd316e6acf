"""Results as sentences, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIN_EXAMPLES = 30  # examples per class; with fewer, a 95 % interval can span a third of [0, 1]
CHANCE = 0.5


def warn_few_examples(counts: Mapping[str, int]) -> list[str]:
    """Return a warning for every class with too few examples.

    Args:
        counts: number of examples by class, for example ``{"benign scans": 12}``.
    """
    return [
        f"only {n} {name}; rates from fewer than {MIN_EXAMPLES} are unreliable"
        for name, n in counts.items()
        if n < MIN_EXAMPLES
    ]


def warn_no_better(
    name: str, model: float | None, control: float | None, control_name: str
) -> list[str]:
    """Return a warning if a model ranks no better than a control or than chance, else no warning.

    Args:
        name: scored unit, for example ``scans``.
        model: AUROC of the model; None or NaN if unknown.
        control: AUROC of the control; None if there is no control.
        control_name: name of the control.
    """
    if model is None or model != model:
        return []
    floor, floor_name = CHANCE, "chance"
    if control is not None and control > CHANCE:
        floor, floor_name = control, control_name
    if model > floor:
        return []
    return [f"{name}: AUROC {model:.3f} is no better than {floor_name} ({floor:.3f})"]


def describe_operating_point(point: Mapping[str, Any], level: str) -> str:
    """Describe an operating point: its threshold and its false-positive rate.

    Args:
        point: fields of :class:`bagscan.core.OperatingPoint`.
        level: ``segment`` or ``scan``.
    """
    low, high = point["interval"]
    alarms = "is flagged" if level == "segment" else "raises an alarm"
    return (
        f"A region is flagged if its score is {point['threshold']:.4f} or higher. A benign {level} "
        f"then {alarms} in about {100 * point['expected_fpr']:.2g} % of cases "
        f"(95 % interval {100 * low:.2g} to {100 * high:.2g} %, "
        f"from the {point['chosen_on_split']} split)."
    )


def summarise_screening(counts: Mapping[str, Any]) -> str:
    """Summarise the verdicts of screened bags.

    Args:
        counts: number of bags by verdict.
    """
    bags = sum(counts[decision] for decision in ("ALARM", "REVIEW", "CLEAR"))
    alarms = "bag raises an alarm" if bags == 1 else "bags raise an alarm"
    sentence = f"In short: {counts['ALARM']:,} of {bags:,} {alarms}"
    if not counts["REVIEW"]:
        return f"{sentence}; every bag has a verdict."
    need = "needs" if counts["REVIEW"] == 1 else "need"
    return f"{sentence}, and {counts['REVIEW']:,} {need} review, since no verdict was possible."


def summarise_levels(results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Summarise the results of a model in a sentence, with warnings.

    Args:
        results: from :func:`bagscan.evaluation.levels.evaluate_levels`.
    """
    scans, within = results["per_scan"], results["within_bag"]["all"]
    counts = scans["confusion"]
    anomalous, benign = counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]
    sentence = (
        f"In short: {counts['tp']} of {anomalous} anomalous scans raise an alarm, "
        f"and {counts['fp']} of {benign} benign scans."
    )
    warnings = warn_few_examples({"anomalous scans": anomalous, "benign scans": benign})
    warnings += warn_no_better(
        "scans",
        scans["auroc"],
        results["per_scan"]["trivial_baseline"]["auroc"],
        "image statistics",
    )
    warnings += warn_no_better(
        "regions within a scan",
        within["model"]["auroc"],
        within["darkness"]["auroc"],
        "attenuation alone",
    )
    return sentence, warnings


def of_detector(figures: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Summarise the results of a detector in a sentence, with warnings.

    Args:
        figures: from :func:`bagscan.detector.measures.measure`.
    """
    anomalous, benign = figures["anomalous"], figures["bags"] - figures["anomalous"]
    sentence = (
        f"In short: {100 * figures['bag_tp']:.0f} % of {anomalous} anomalous bags raise an alarm, "
        f"{100 * figures['on_the_anomaly']:.0f} % at the right place, "
        f"and {100 * figures['bag_fp']:.0f} % of {benign} benign bags."
    )
    warnings = warn_few_examples({"anomalous bags": anomalous, "benign bags": benign})
    warnings += warn_no_better("devices over both views", figures["device_auroc"], None, "")
    warnings += warn_no_better(
        "regions of devices",
        figures.get("segment_auroc"),
        figures.get("segment_darkness"),
        "attenuation alone",
    )
    return sentence, warnings
