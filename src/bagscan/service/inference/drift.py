"""Score drift: a Kolmogorov-Smirnov test of the latest scans against the first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection

from scipy.stats import ks_2samp
from sqlalchemy import Connection, select

from bagscan.service.store.tables import results, scans

MIN_P = 1e-4  # p value below which scores count as drifted


class Drift:
    """Top scores of each model's first and last ``window`` scans.

    Args:
        window: number of scans; 0 turns the test off.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._first: dict[str, list[float]] = {}
        self._last: dict[str, deque[float]] = {}
        self._p: dict[str, float] = {}
        self._lock = threading.Lock()

    def load(self, connection: Connection, model_id: str) -> None:
        """Read a model's windows from the store."""
        if not self.window:
            return
        scores = select(results.c.top_score).join(scans, scans.c.id == results.c.scan_id)
        scores = scores.where(
            results.c.model_id == model_id, results.c.top_score.is_not(None), scans.c.tip.is_(None)
        ).limit(self.window)
        created = results.c.created_at
        first = list(connection.execute(scores.order_by(created)).scalars())
        last = list(connection.execute(scores.order_by(created.desc())).scalars())
        with self._lock:
            self._first[model_id] = first
            self._last[model_id] = deque(reversed(last), maxlen=self.window)
            self._test(model_id)

    def add(self, model_id: str, top_score: float) -> None:
        """Add the top score of a scan."""
        if not self.window:
            return
        with self._lock:
            first = self._first.setdefault(model_id, [])
            if len(first) < self.window:
                first.append(top_score)
            last = self._last.setdefault(model_id, deque(maxlen=self.window))
            last.append(top_score)
            self._test(model_id)

    def _test(self, model_id: str) -> None:
        first, last = self._first[model_id], self._last[model_id]
        if len(first) == self.window and len(last) == self.window:
            self._p[model_id] = float(ks_2samp(first, list(last)).pvalue)

    def reason(self, model_id: str) -> str | None:
        """Return the reason to withhold CLEAR from this model's scans; None without drift."""
        p = self._p.get(model_id, 1.0)
        if p < MIN_P:
            return (
                f"scores of the last {self.window} scans differ from those of the first "
                f"(p = {p:.1e}): scanner or luggage has changed"
            )
        return None

    def p_values(self, of: Collection[str]) -> dict[str, float]:
        """Return p values in [0, 1] of the models in ``of`` whose two windows are full, by id."""
        with self._lock:
            return {model_id: p for model_id, p in self._p.items() if model_id in of}
