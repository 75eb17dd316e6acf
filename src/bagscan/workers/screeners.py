"""The models of a worker process: loaded once, tried out on a drawn scan before they count as ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bagscan.core import Report, Scan, View
from bagscan.core.errors import BagscanError, ModelChangedError

MOST = 8  # thresholds come and go
_screeners: dict[tuple[str, float | None, str | None], Any] = {}


def screener(folder: str, threshold: float | None = None, runtime: str | None = None) -> Any:
    """The screener of a model folder, which is named by its hash, at a threshold; loaded once.

    Args:
        runtime: as of :func:`bagscan.runtime.load.load_model`.

    Raises:
        ModelError: as :meth:`bagscan.screening.Screener.load`.
    """
    from bagscan.screening import Screener

    key = (folder, threshold, runtime)
    if key not in _screeners:
        if len(_screeners) >= MOST:
            _screeners.pop(next(iter(_screeners)))
        loaded = next(
            (
                known.model
                for (of, _, by), known in _screeners.items()
                if (of, by) == (folder, runtime)
            ),
            None,
        )
        _screeners[key] = (
            Screener(loaded, threshold)
            if loaded is not None
            else Screener.load(folder, threshold, runtime)
        )
    return _screeners[key]


def pinned(
    folder: str, identity: str | None, threshold: float | None = None, runtime: str | None = None
) -> Any:
    """The screener of a model folder, which must be the one of a hash.

    Args:
        identity: of the model; None for whichever lies there. threshold, runtime: as of :func:`screener`.

    Raises:
        ModelChangedError: another model lies there. ModelError: as :func:`screener`.
    """
    found = screener(folder, threshold, runtime)
    if identity not in (None, found.model.id):
        raise ModelChangedError(f"{folder}: model {found.model.id} lies there, not {identity}")
    return found


def try_out(one: Any) -> None:
    """Have a screener judge a drawn scan.

    Raises:
        BagscanError: it does not.
    """
    scan, model = drawn_scan(one.model.config.input), one.model
    report = one.screen(scan)
    if report.reasons:
        raise BagscanError(
            f"model {model.id} failed its warm-up inference on a synthetic scan: {'; '.join(report.reasons)}"
        )
    with model.judging():  # where no item is found the scan says nothing of what judges
        _, scores = model.everywhere().examine(scan.views)[0]
    if not len(scores) or not np.isfinite(scores).all():
        raise BagscanError(
            f"model {model.id} failed its warm-up inference on a synthetic scan: {len(scores)} scores, some are NaN"
        )


def drawn_scan(expected: Any, height: int = 96, width: int = 128, seed: int = 0) -> Scan:
    """A small bag with two blocks in it, of the channels that a model takes."""
    rng = np.random.default_rng(seed)
    depth = np.zeros((height, width), np.float32)
    depth[height // 6 : height - height // 6, width // 8 : width - width // 8] += 0.3
    depth[height // 3 : height * 7 // 12, width * 5 // 16 : width * 9 // 16] += 0.8
    depth = depth + rng.normal(0, 0.01, depth.shape).astype(np.float32)
    absorbed = {
        "low": 1.3,
        "red": 0.8,
        "blue": 1.6,
    }  # colours as of organic matter; 1 for all others
    planes = {"zeff": 7 + 6 * depth} | {
        name: np.exp(-absorbed.get(name, 1.0) * depth.clip(0))
        for name in expected.channels
        if name != "zeff"
    }
    pixels = np.stack([planes[name] for name in expected.channels]).astype(np.float32)
    pixels = pixels if "zeff" in expected.channels else pixels.clip(0, 1)
    return Scan("drawn", (View(pixels, tuple(expected.channels), expected.quantity),))


def top_score(report: Report | None) -> float | None:
    """The highest score of any region of any view; None where nothing was scored."""
    scores: Sequence[np.ndarray] = (
        [s for s in report.scores.values() if len(s)] if report is not None else []
    )
    return float(max(s.max() for s in scores)) if scores else None
