"""Screener: the one path from a scan to a report. Training, evaluation, command line and service call it."""

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
from bagscan.examining import UsableModel
from bagscan.plausibility import MIN_SIDE_PX, unfit
from bagscan.runtime.load import load_model, runtime_of

DETECTOR = "detector"  # a model of one pass, as its description calls it
ERRORS = (
    BagscanError,
    ValueError,
    RuntimeError,
    MemoryError,
)  # of a scan's own faults and of what they do to a runtime


class Screener:
    """A model with an operating point, ready to judge scans.

    Args:
        threshold: in place of the operating point's own; what is expected of that one does not hold for it.

    Raises:
        ModelError: the model has no operating point yet.
    """

    def __init__(self, model: UsableModel, threshold: float | None = None) -> None:
        if model.operating_point is None:
            raise ModelError(
                "the model has no operating point: choose one with bagscan calibrate CONFIG --model FOLDER --max-fpr 0.05"
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
        late: bool = False,
    ) -> Screener:
        """A screener from a model folder. Arguments and errors as :func:`bagscan.runtime.load.load_model`."""
        return cls(load_model(folder, runtime, late), threshold)

    @property
    def runtime(self) -> str:
        """Name and version of what runs the model."""
        return runtime_of(self.model)

    def takes(self, scan: Scan) -> bool:
        """Whether the model knows what to do with the scan's channels."""
        try:
            self.model.config.input.select(scan.views[0])
        except ModelError:
            return False
        return True

    def screen(self, scan: Scan) -> Report:
        """Judge every view of a scan.

        Returns:
            ``ALARM`` with findings, ``CLEAR`` without, or ``REVIEW`` with the reason when a view
            cannot be judged; never an exception for a scan's own faults, never ``CLEAR`` for them.
        """
        with self.model.judging():
            return self._screen(scan)

    def _screen(self, scan: Scan) -> Report:
        started = time.perf_counter()
        findings: list[Finding] = []
        scores: dict[str, np.ndarray] = {}
        labels: dict[str, np.ndarray] = {}
        reasons: list[Reason] = []
        notes: list[str] = []
        fit = []
        for view in scan.views:
            wrong = unfit(view) or self._cannot_be_shown(view)
            reasons += wrong
            if not wrong:
                fit.append(view)
        for view, own_labels, own_scores in self._examined(fit, reasons, notes):
            labels[view.view_id], scores[view.view_id] = own_labels, own_scores
            findings += self._findings(view, own_labels, own_scores)
        findings.sort(key=lambda finding: -finding.score)
        decision = Decision.REVIEW if reasons else Decision.ALARM if findings else Decision.CLEAR
        timings = {"total_s": time.perf_counter() - started}
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

    def _cannot_be_shown(self, view: View) -> list[Reason]:
        """Why the model cannot look at a view: its channels, or what is left of it at the size that the model works at."""
        try:
            self.model.config.input.select(view)
        except ModelError as error:
            return [Reason(ReasonCode.WRONG_CHANNELS, in_view(view.view_id, str(error)))]
        expected = self.model.config.input
        height, width = expected.working_size(view.shape, view.shape)
        if min(height, width) < min(MIN_SIDE_PX, expected.working_side_px or MIN_SIDE_PX):
            return [
                Reason(
                    ReasonCode.TOO_SMALL,
                    in_view(
                        view.view_id,
                        f"the model would see {width}x{height} pixels of it, too few to judge",
                    ),
                )
            ]
        return []

    def _examined(
        self, views: list[View], reasons: list[Reason], notes: list[str]
    ) -> list[tuple[View, np.ndarray, np.ndarray]]:
        """Views of one bag with regions and scores; those that were not examined leave a reason."""
        found = []
        for view, labels, scores in self._judged(views, self.model, reasons):
            if not len(scores):  # no item was found: nothing has been looked at yet
                for again in self._judged([view], self.model.everywhere(), reasons):
                    labels, scores = again[1:]
                notes.append(
                    in_view(view.view_id, "no item was found, and the whole view was examined")
                )
            elif (
                len(scores) == 1 and self.model.config.regioner["name"] == DETECTOR
            ):  # all that lies on no device is one region
                notes.append(
                    in_view(
                        view.view_id,
                        "no device was found, and all of it was judged by the map alone",
                    )
                )
            if not len(scores):
                reasons.append(
                    Reason(
                        ReasonCode.NOTHING_EXAMINED,
                        in_view(view.view_id, "the model found no item, and looks at items alone"),
                    )
                )
            elif not np.isfinite(scores).all():
                reasons.append(
                    Reason(
                        ReasonCode.MODEL_FAILED,
                        in_view(view.view_id, "the model gave scores that are not numbers"),
                    )
                )
            else:
                found.append((view, labels, scores))
        return found

    def _judged(
        self, views: list[View], model: UsableModel, reasons: list[Reason]
    ) -> list[tuple[View, np.ndarray, np.ndarray]]:
        """Views of one bag, judged together; where that fails one by one, so that one of them hides none of the others."""
        try:
            return [(view, *found) for view, found in zip(views, model.examine(views), strict=True)]
        except ERRORS as error:
            if len(views) == 1:
                reasons.append(
                    Reason(ReasonCode.MODEL_FAILED, in_view(views[0].view_id, str(error)))
                )
                return []
        return [found for view in views for found in self._judged([view], model, reasons)]

    def _findings(self, view: View, labels: np.ndarray, scores: np.ndarray) -> list[Finding]:
        found = []
        for index in np.flatnonzero(scores >= self.point.threshold):
            mask = labels == index
            if not mask.any():  # a region smaller than a pixel of the view itself
                continue
            rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = (float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1))
            score = float(scores[index])
            kind = self.model.kind
            found.append(
                Finding(
                    view.view_id,
                    mask,
                    outline(mask, box),
                    box,
                    "anomaly",
                    score,
                    self._expected_fpr(score),
                    kind,
                )
            )
        return found

    def _expected_fpr(self, score: float) -> float | None:
        """Share of benign calibration segments that score at least this much."""
        n = len(self._benign)
        return float((n - np.searchsorted(self._benign, score)) / n) if n else None


def _benign_scores(about: Mapping[str, Any]) -> np.ndarray:
    """Rising scores of benign calibration segments; empty where the model keeps none.

    Raises:
        ModelError: they are no scores.
    """
    result = about.get("benign_score_quantiles", [])
    if not isinstance(result, list) or not all(
        is_number(score) and 0 <= score <= 1 for score in result
    ):
        raise ModelError(
            f"model.json: about.benign_score_quantiles must be scores from 0 to 1, got {result!r:.60}"
        )
    return np.sort(np.asarray(result, np.float64))


def outline(mask: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """(N, 2) float xy polygon of the largest part of a mask, closed, in pixel-corner coordinates; on straight stretches their ends alone.

    Args:
        box: of the mask; only that window is searched.
    """
    x1, y1, x2, y2 = (int(v) for v in box)
    window = np.pad(mask[y1:y2, x1:x2], 1).astype(np.float32)
    longest = max(find_contours(window, 0.5), key=len)
    along = np.diff(longest, axis=0)
    turns = along[:-1, 0] * along[1:, 1] != along[:-1, 1] * along[1:, 0]
    corners = longest[np.concatenate([[True], turns, [True]])]
    # find_contours gives (row, col) of pixel centres in the padded window.
    return np.asarray(corners[:, ::-1] + [x1 - 0.5, y1 - 0.5])
