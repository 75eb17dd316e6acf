"""Places of prohibited items in packed views, as centres of crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bagscan.datasets.packed import LABEL_STRIDE, PackedView


class ProhibitedPlaces:
    """Random points on prohibited items; all classes are equally frequent.

    Args:
        views: packed views.
        categories: numbers of the classes of prohibited items among the categories.
    """

    def __init__(self, views: Sequence[PackedView], categories: Sequence[int]) -> None:
        self._views: dict[int, list[PackedView]] = {}
        for view in views:
            for category in np.intersect1d(view.sets, categories).tolist():
                self._views.setdefault(category, []).append(view)

    def __len__(self) -> int:
        """Return the number of classes that occur."""
        return len(self._views)

    def draw(self, rng: np.random.Generator) -> tuple[PackedView, np.ndarray]:
        """Draw a view, and the row and column of a point in it, in pixels."""
        category = list(self._views)[int(rng.integers(len(self._views)))]
        views = self._views[category]
        view = views[int(rng.integers(len(views)))]
        rows, columns = np.nonzero((view.sets == category).any(1)[view.labels[0]])
        if not len(rows):  # behind an anomaly, the class can occur in the other scan alone
            return view, rng.random(2) * view.pixels.shape[1:]
        k = int(rng.integers(len(rows)))
        return view, np.array([rows[k], columns[k]], float) * LABEL_STRIDE
