"""Models of a worker process, loaded once and tested on a synthetic scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.core import Report, Scan, View
from bagscan.core.errors import BagscanError, ModelChangedError

MAX_SCREENERS = 8  # screeners kept; a changed threshold needs another one
_screeners: dict[tuple[str, float | None, str | None], Any] = {}


def screener(folder: str, threshold: float | None = None, runtime: str | None = None) -> Any:
    """Return the screener of a model folder, from a cache.

    Screeners of the same model with different thresholds share the loaded model.

    Args:
        folder: path of the model folder, whose content must not change.
        threshold: score in (0, 1); None for the model's own threshold.
        runtime: as in :func:`bagscan.runtime.load.load_model`.

    Raises:
        ModelError: as :meth:`bagscan.screening.Screener.load`.
    """
    from bagscan.screening import Screener

    key = (folder, threshold, runtime)
    if key not in _screeners:
        if len(_screeners) >= MAX_SCREENERS:
            _screeners.pop(next(iter(_screeners)))
        model = _find_model(folder, runtime)
        if model is None:
            _screeners[key] = Screener.load(folder, threshold, runtime)
        else:
            _screeners[key] = Screener(model, threshold)
    return _screeners[key]


def _find_model(folder: str, runtime: str | None) -> Any:
    for (known_folder, _, known_runtime), known in _screeners.items():
        if (known_folder, known_runtime) == (folder, runtime):
            return known.model
    return None


def get_screener(
    folder: str, identity: str | None, threshold: float | None = None, runtime: str | None = None
) -> Any:
    """Return the screener of a model folder, after checking the model's id.

    Args:
        folder: path of the model folder.
        identity: expected id of the model; None for any.
        threshold: as in :func:`screener`.
        runtime: as in :func:`screener`.

    Raises:
        ModelChangedError: the folder holds another model.
        ModelError: as :func:`screener`.
    """
    found = screener(folder, threshold, runtime)
    if identity not in (None, found.model.id):
        raise ModelChangedError(f"{folder} holds model {found.model.id}; expected model {identity}")
    return found


def try_out(screener: Any) -> None:
    """Test a screener on a synthetic scan.

    Raises:
        BagscanError: the screener gives a reason for REVIEW, no scores, or scores that are not
            finite.
    """
    model = screener.model
    scan = synthetic_scan(model.config.input)
    report = screener.screen(scan)
    if report.reasons:
        raise BagscanError(
            f"model {model.id} failed its warm-up inference on a synthetic scan: "
            f"{'; '.join(report.reasons)}"
        )
    # A model that scores only devices may find none in this scan; score the whole view as well.
    with model.inference_mode():
        scores = model.everywhere().examine(scan.views)[0].scores
    if not len(scores) or not np.isfinite(scores).all():
        raise BagscanError(
            f"model {model.id} failed its warm-up inference on a synthetic scan: "
            f"{len(scores)} scores; expected at least one, all finite"
        )


def synthetic_scan(expected: Any, height: int = 96, width: int = 128, seed: int = 0) -> Scan:
    """Build a synthetic scan of a bag with two blocks.

    Args:
        expected: input configuration of a model, with ``channels`` and ``quantity``.
        height: of the view, in pixels.
        width: of the view, in pixels.
        seed: of the noise.

    Returns:
        A scan of one view, (C, height, width) float32, in the channels that the model takes.
    """
    rng = np.random.default_rng(seed)
    depth = np.zeros((height, width), np.float32)
    depth[height // 6 : height - height // 6, width // 8 : width - width // 8] += 0.3
    depth[height // 3 : height * 7 // 12, width * 5 // 16 : width * 9 // 16] += 0.8
    depth = depth + rng.normal(0, 0.01, depth.shape).astype(np.float32)
    # Relative attenuation, 1 for other channels; the colours are those of organic matter.
    attenuation = {"low": 1.3, "red": 0.8, "blue": 1.6}
    planes = {"zeff": 7 + 6 * depth} | {
        name: np.exp(-attenuation.get(name, 1.0) * depth.clip(0))
        for name in expected.channels
        if name != "zeff"
    }
    pixels = np.stack([planes[name] for name in expected.channels]).astype(np.float32)
    pixels = pixels if "zeff" in expected.channels else pixels.clip(0, 1)
    return Scan("drawn", (View(pixels, tuple(expected.channels), expected.quantity),))


def top_score(report: Report | None) -> float | None:
    """Return the highest score of any region, in [0, 1]; None if nothing was scored."""
    scores: Sequence[np.ndarray] = (
        [s for s in report.scores.values() if len(s)] if report is not None else []
    )
    return float(max(s.max() for s in scores)) if scores else None
