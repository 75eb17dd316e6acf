"""Progress messages of an archive."""

from __future__ import annotations

import logging
import time
from typing import Any

log = logging.getLogger(__name__)

REPORT_INTERVAL_S, MAX_ERRORS = 5.0, 10


class Progress:
    """Counter of screened bags that reports every few seconds.

    Args:
        total: number of bags of the archive.
        started: start of the run, from ``time.monotonic``.

    Attributes:
        done: number of bags that have a row.
    """

    def __init__(self, total: int, started: float) -> None:
        self.total, self.started = total, started
        self.done, self._screened, self._errors, self._reported_at = 0, 0, 0, started

    def known(self, count: int) -> None:
        """Count bags that an earlier run has screened."""
        self.done += count

    def count(self, row: dict[str, Any]) -> None:
        """Count a bag of this run, and report its error if it has one."""
        self.done += 1
        self._screened += 1
        if row["error"]:
            self._report_error(row)
        now = time.monotonic()
        if now - self._reported_at > REPORT_INTERVAL_S or self.done == self.total:
            self._reported_at = now
            rate = self._screened / (now - self.started)
            left = _duration((self.total - self.done) / rate)
            log.info(f"{self.done:,} of {self.total:,} bags, {rate:.1f} a second{left}")

    def _report_error(self, row: dict[str, Any]) -> None:
        self._errors += 1
        if self._errors <= MAX_ERRORS:
            last = self._errors == MAX_ERRORS
            note = "; further errors are in the column error alone" if last else ""
            log.info(f"REVIEW: {row['path']}: {row['error']}{note}")


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    return f", {seconds:.0f} s left" if seconds < 120 else f", {seconds / 60:.0f} min left"
