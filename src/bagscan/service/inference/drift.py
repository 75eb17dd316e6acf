"""Whether the scores of late are still those of the beginning: a Kolmogorov-Smirnov test over two windows of scans."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection

from scipy.stats import ks_2samp
from sqlalchemy import Connection, select

from bagscan.service.store.tables import results, scans

MIN_P = 1e-4  # so seldom by chance that it is looked at


class Drift:
    """Top scores of scans, by model: the first ``window`` of them, and the last.

    Args:
        window: scans in each; 0 watches nothing.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._first: dict[str, list[float]] = {}
        self._last: dict[str, deque[float]] = {}
        self._p: dict[str, float] = {}
        self._lock = threading.Lock()

    def load(self, connection: Connection, model_id: str) -> None:
        """Read a model's windows from the store, after a restart."""
        if not self.window:
            return
        found = select(results.c.top_score).join(scans, scans.c.id == results.c.scan_id)
        found = found.where(
            results.c.model_id == model_id, results.c.top_score.is_not(None), scans.c.tip.is_(None)
        )
        first = list(
            connection.execute(found.order_by(results.c.created_at).limit(self.window)).scalars()
        )
        last = list(
            connection.execute(
                found.order_by(results.c.created_at.desc()).limit(self.window)
            ).scalars()
        )
        with self._lock:
            self._first[model_id] = first
            self._last[model_id] = deque(reversed(last), maxlen=self.window)
            self._test(model_id)

    def add(self, model_id: str, top_score: float) -> None:
        """One more scan."""
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
        """Why nothing of this model may be CLEAR just now, or None."""
        p = self._p.get(model_id, 1.0)
        return (
            f"scores of the last {self.window} scans differ from those of the first (p = {p:.1e}): scanner or luggage has changed"
            if p < MIN_P
            else None
        )

    def p_values(self, of: Collection[str]) -> dict[str, float]:
        """Of these models, by id, where both windows are full."""
        with self._lock:
            return {model_id: p for model_id, p in self._p.items() if model_id in of}
