"""The last time that the service knew, against clocks that jump: nothing is deleted by a clock that may be wrong."""

from __future__ import annotations

import time
from pathlib import Path

from bagscan.core.files import write_whole

FORWARD_S, BACK_S = 7 * 86_400.0, 3_600.0  # further than that from the last known time, a person must say that the clock is right


class Clock:
    """Keeps the last time that was seen in a file, and doubts a clock that is far from it.

    Args:
        folder: of the service; the file is ``last_time``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last_time"

    def doubt(self) -> str:
        """Why the clock is not believed; empty where it is, and then its time is kept."""
        now, last = time.time(), self._last()
        if last is not None and not -BACK_S <= now - last <= FORWARD_S:
            return (
                f"the clock says {_day(now)}, and the service last knew {_day(last)}: no image is removed by age until somebody "
                f"has looked at the clock and run: bagscan store clock --folder {self.path.parent}"
            )
        self.keep()
        return ""

    def keep(self) -> None:
        """Believe the clock as it is now."""
        write_whole(self.path, f"{time.time():.0f}\n")

    def _last(self) -> float | None:
        try:
            return float(self.path.read_text())
        except (OSError, ValueError):
            return None


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
