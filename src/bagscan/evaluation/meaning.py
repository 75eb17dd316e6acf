"""What figures mean, in sentences: for people who read them on a terminal and have no table beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST = 30  # of a class: below, an interval spans a third of all that is possible
CHANCE = 0.5


def too_few(counts: Mapping[str, int]) -> list[str]:
    """A warning for every class with too few examples.

    Args:
        counts: examples by what they are, for example ``{"benign scans": 12}``.
    """
    return [
        f"only {n} {name}: a rate measured on fewer than {LEAST} says little"
        for name, n in counts.items()
        if n < LEAST
    ]


def no_better(
    name: str, model: float | None, control: float | None, control_name: str
) -> list[str]:
    """A warning where a model ranks no better than a control that knows nothing, or than chance; AUROC or None."""
    if model is None or model != model:
        return []
    floor, what = (
        (CHANCE, "chance") if control is None or not control > CHANCE else (control, control_name)
    )
    return (
        [f"{name}: AUROC {model:.3f} is no better than {what} ({floor:.3f})"]
        if model <= floor
        else []
    )


def of_operating_point(point: Mapping[str, Any], level: str) -> str:
    """An operating point: what is flagged, and how often it is wrong.

    Args:
        point: see :class:`bagscan.core.OperatingPoint`. level: ``segment`` or ``scan``.
    """
    low, high = point["interval"]
    alarms = "is flagged" if level == "segment" else "raises an alarm"
    return (
        f"A region is flagged from a score of {point['threshold']:.4f} on. Then a benign {level} {alarms} in about {100 * point['expected_fpr']:.2g} % of cases "
        f"(95 % interval {100 * low:.2g} to {100 * high:.2g} %, from the {point['chosen_on_split']} part)."
    )


def of_screening(counts: Mapping[str, Any]) -> str:
    """What came of bags that were screened.

    Args:
        counts: by decision.
    """
    bags = sum(counts[decision] for decision in ("ALARM", "REVIEW", "CLEAR"))
    sentence = f"In short: {counts['ALARM']:,} of {bags:,} bag{'s' * (bags != 1)} raise{'s' * (bags == 1)} an alarm"
    return (
        f"{sentence}, and {counts['REVIEW']:,} need a person since a verdict would mean nothing."
        if counts["REVIEW"]
        else f"{sentence}; all could be judged."
    )


def of_levels(results: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A model's results by scan: one sentence, and warnings. See :func:`bagscan.evaluation.levels.evaluate_levels`."""
    scans, within = results["per_scan"], results["within_bag"]["all"]
    counts = scans["confusion"]
    anomalous, benign = counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]
    sentence = f"In short: {counts['tp']} of {anomalous} anomalous scans raise an alarm, and {counts['fp']} of {benign} benign ones."
    warnings = too_few({"anomalous scans": anomalous, "benign scans": benign})
    warnings += no_better(
        "scans",
        scans["auroc"],
        results["per_scan"]["trivial_baseline"]["auroc"],
        "image statistics",
    )
    warnings += no_better(
        "regions within a scan",
        within["model"]["auroc"],
        within["darkness"]["auroc"],
        "darkness alone",
    )
    return sentence, warnings


def of_detector(figures: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A detector's figures: one sentence, and warnings. See :func:`bagscan.detector.measures.measure`."""
    anomalous, benign = figures["anomalous"], figures["bags"] - figures["anomalous"]
    sentence = (
        f"In short: {100 * figures['bag_tp']:.0f} % of {anomalous} anomalous bags raise an alarm, {100 * figures['on_the_anomaly']:.0f} % at the right place, "
        f"and {100 * figures['bag_fp']:.0f} % of {benign} benign ones."
    )
    warnings = too_few({"anomalous bags": anomalous, "benign bags": benign})
    warnings += no_better("devices over both views", figures["device_auroc"], None, "")
    warnings += no_better(
        "regions of devices",
        figures.get("segment_auroc"),
        figures.get("segment_darkness"),
        "darkness alone",
    )
    return sentence, warnings
