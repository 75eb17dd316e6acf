"""Screening of scans, used by training, evaluation, command line and service."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import find_contours

from bagscan.core import Decision, Finding, Reason, ReasonCode, Report, Scan, View
from bagscan.core.checks import is_number
from bagscan.core.errors import BagscanError, ModelError
from bagscan.core.reasons import in_view
from bagscan.examining import ANOMALY, Examined, UsableModel
from bagscan.model_folder import warning_of
from bagscan.plausibility import MIN_SIDE_PX, unfit
from bagscan.runtime.load import load_model, runtime_of

DETECTOR = "detector"  # name of a single-pass model in its description
# Errors that a faulty scan can cause in the model or the runtime.
ERRORS = (BagscanError, ValueError, RuntimeError, MemoryError)


class Screener:
    """Model with an operating point for screening scans.

    Args:
        model: the model.
        threshold: overrides the threshold of the operating point. The operating point's
            false-positive rate then no longer applies.

    Raises:
        ModelError: the model has no operating point yet.
    """

    def __init__(self, model: UsableModel, threshold: float | None = None) -> None:
        if model.operating_point is None:
            raise ModelError(
                "the model has no operating point; "
                "run bagscan calibrate CONFIG --model DIR --level scan --max-fpr 0.1"
            )
        self.model = model
        self.point = (
            model.operating_point
            if threshold is None
            else replace(model.operating_point, threshold=threshold, criterion="set by hand")
        )
        self._benign = _benign_scores(model.about)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        threshold: float | None = None,
        runtime: str | None = None,
        lazy: bool = False,
    ) -> Screener:
        """Load a model folder. For other arguments see :func:`bagscan.runtime.load.load_model`."""
        return cls(load_model(folder, runtime, lazy), threshold)

    @property
    def warning(self) -> str:
        """What users of the model must know before they rely on it, from its card; often empty."""
        return warning_of(self.model.about)

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return runtime_of(self.model)

    def accepts(self, scan: Scan) -> bool:
        """Return True if the scan has the channels of the model."""
        try:
            self.model.config.input.select(scan.views[0])
        except ModelError:
            return False
        return True

    def screen(self, scan: Scan) -> Report:
        """Screen all views of a scan. Errors of the model become reasons, not exceptions.

        Returns:
            A report: ``REVIEW`` with the reasons if any view could not be screened, otherwise
            ``ALARM`` if there is a finding, otherwise ``CLEAR``.
        """
        with self.model.inference_mode():
            return self._screen(scan)

    def _screen(self, scan: Scan) -> Report:
        start = time.perf_counter()
        findings: list[Finding] = []
        scores: dict[str, np.ndarray] = {}
        labels: dict[str, np.ndarray] = {}
        reasons: list[Reason] = []
        notes: list[str] = []
        plausible = []
        for view in scan.views:
            problems = unfit(view) or self._check_input(view)
            reasons += problems
            if not problems:
                plausible.append(view)
        for view, examined in self._examine(plausible, reasons, notes):
            labels[view.view_id], scores[view.view_id] = examined.labels, examined.scores
            findings += self._findings(view, examined)
        findings.sort(key=lambda finding: -finding.score)
        decision = Decision.ALARM if findings else Decision.CLEAR
        if reasons:
            decision = Decision.REVIEW
        timings = {"total_s": time.perf_counter() - start}
        return Report(
            scan.id,
            decision,
            tuple(findings),
            self.model.id,
            self.point.threshold,
            tuple(reasons),
            scores,
            labels,
            timings,
            tuple(notes),
        )

    def _check_input(self, view: View) -> list[Reason]:
        """Check the channels of a view, and its size after resizing for the model."""
        try:
            self.model.config.input.select(view)
        except ModelError as error:
            return [Reason(ReasonCode.WRONG_CHANNELS, in_view(view.view_id, str(error)))]
        expected = self.model.config.input
        height, width = expected.working_size(view.shape, view.shape)
        if min(height, width) < min(MIN_SIDE_PX, expected.working_side_px or MIN_SIDE_PX):
            text = f"only {width}x{height} pixels remain at the model's working size; too few"
            return [Reason(ReasonCode.TOO_SMALL, in_view(view.view_id, text))]
        return []

    def _examine(
        self, views: list[View], reasons: list[Reason], notes: list[str]
    ) -> list[tuple[View, Examined]]:
        """Return the results of the views of one bag; add a reason for each failed view."""
        examined = []
        for view, result in self._run_model(views, self.model, reasons):
            if not len(result.scores):  # no device was found, so nothing was scored
                for _, everywhere in self._run_model([view], self.model.everywhere(), reasons):
                    result = everywhere
                note = "no device was found; the whole view was scored"
                notes.append(in_view(view.view_id, note))
            elif len(result.scores) == 1 and self.model.config.regioner["name"] == DETECTOR:
                # Without devices, the detector merges all unflagged regions into one.
                note = "no device was found; the view was scored by the anomaly map only"
                notes.append(in_view(view.view_id, note))
            if not len(result.scores):
                text = "the model found no device, and it scores devices only"
                reasons.append(Reason(ReasonCode.NOTHING_EXAMINED, in_view(view.view_id, text)))
            elif not np.isfinite(result.scores).all():
                text = "the model returned scores that are not finite"
                reasons.append(Reason(ReasonCode.MODEL_FAILED, in_view(view.view_id, text)))
            else:
                examined.append((view, result))
        return examined

    def _run_model(
        self, views: list[View], model: UsableModel, reasons: list[Reason]
    ) -> list[tuple[View, Examined]]:
        """Run the model on the views of one bag or, after an error, on one at a time."""
        try:
            return list(zip(views, model.examine(views), strict=True))
        except ERRORS as error:
            if len(views) == 1:
                reasons.append(
                    Reason(ReasonCode.MODEL_FAILED, in_view(views[0].view_id, str(error)))
                )
                return []
        return [output for view in views for output in self._run_model([view], model, reasons)]

    def _findings(self, view: View, examined: Examined) -> list[Finding]:
        findings = []
        for index in np.flatnonzero(examined.scores >= self.point.threshold):
            mask = examined.labels == index
            if not mask.any():  # the region is smaller than a pixel of the view
                continue
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = (float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1))
            score = float(examined.scores[index])
            findings.append(
                Finding(
                    view.view_id,
                    mask,
                    outline(mask, box),
                    box,
                    examined.names[index] if examined.names else ANOMALY,
                    score,
                    self._expected_fpr(score),
                    self.model.kind,
                )
            )
        return findings

    def _expected_fpr(self, score: float) -> float | None:
        """Return the share of benign calibration regions with this score or above."""
        n = len(self._benign)
        return float((n - np.searchsorted(self._benign, score)) / n) if n else None


def _benign_scores(about: Mapping[str, Any]) -> np.ndarray:
    """Return the sorted quantiles of benign calibration scores; empty if the model has none.

    Raises:
        ModelError: the values are not scores.
    """
    scores = about.get("benign_score_quantiles", [])
    if not isinstance(scores, list) or not all(
        is_number(score) and 0 <= score <= 1 for score in scores
    ):
        raise ModelError(
            "model.json: about.benign_score_quantiles must be a list of scores from 0 to 1, "
            f"got {scores!r:.60}"
        )
    return np.sort(np.asarray(scores, np.float64))


def outline(mask: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the closed outline of the largest connected piece of a mask.

    Args:
        mask: (H, W) bool mask.
        box: bounding box of the mask, half-open, in pixels; only this window is searched.

    Returns:
        (N, 2) float xy polygon in pixel-corner coordinates, without points on straight lines.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    window = np.pad(mask[y1:y2, x1:x2], 1).astype(np.float32)
    longest = max(find_contours(window, 0.5), key=len)
    steps = np.diff(longest, axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] != steps[:-1, 1] * steps[1:, 0]
    corners = longest[np.concatenate([[True], turns, [True]])]
    # find_contours returns (row, col) of pixel centres in the padded window.
    return np.asarray(corners[:, ::-1] + [x1 - 0.5, y1 - 0.5])
