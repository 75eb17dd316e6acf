"""Service time, which does not follow jumps of the machine's clock.

:meth:`Clock.now` measures sessions, claims, lock-outs and leases of jobs. It starts with the
machine's clock, advances by the time since the machine booted, and follows small corrections of the
clock. A large step is ignored until a person confirms the clock (``bagscan store clock``). The
service time is stored in a file, so that a restart does not adopt a wrong clock.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from pathlib import Path

from bagscan.core.files import atomic_write_text

# Larger jumps must be confirmed before images are removed by age.
FORWARD_S, BACK_S = 7 * 86_400.0, 3_600.0
FOLLOW_S = 5.0  # largest step of the machine's clock that is followed; time servers make such steps
KEEP_S = 10.0  # between two writes of the file
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Service time in seconds since 1970, stored across restarts.

    Args:
        folder: folder of the service. Its file ``last_time`` holds the service time, the seconds
            since boot, and the id of the boot.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last_time"
        self.boot = _boot()
        self._lock = threading.Lock()
        self._text = self._read()
        self._written_at = -KEEP_S
        self._is_off = False
        self._base = self._restore(self._text, time.time()) - _elapsed()

    def now(self) -> float:
        """Return the service time, in seconds since 1970."""
        return self._base + _elapsed()

    def earliest(self) -> float:
        """Return the earlier of service time and machine time, so that no age is overestimated."""
        return min(self.now(), time.time())

    def tick(self) -> str:
        """Follow small steps of the machine's clock. Call this every few seconds.

        Returns:
            Message to log if the clock has jumped or agrees again; empty if nothing has changed.
        """
        with self._lock:
            self._adopt()
            offset = time.time() - self.now()
            was_off, self._is_off = self._is_off, abs(offset) > FOLLOW_S
            if not self._is_off:
                self._base += offset
            if _elapsed() - self._written_at >= KEEP_S:
                self._write()
        if was_off == self._is_off:
            return ""
        if not self._is_off:
            return "the machine's clock agrees again with the service time"
        return (
            f"the machine's clock is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} "
            f"the service time, which sessions and claims follow; {self._advice()}"
        )

    def doubt(self) -> str:
        """Return why the clock is too far off to remove images by age; empty if it is not."""
        with self._lock:
            self._adopt()
            wall, now = time.time(), self.now()
        if -BACK_S <= wall - now <= FORWARD_S:
            return ""
        message = f"the machine's clock shows {_day(wall)}, but the service time is {_day(now)}"
        return f"{message}: no images are removed by age; {self._advice()}"

    def keep(self) -> None:
        """Write the service time to its file. Call this when the service stops."""
        with self._lock:
            self._write()

    def believe(self) -> None:
        """Set the service time to the machine's clock, which a person has confirmed."""
        with self._lock:
            self._base = time.time() - _elapsed()
            self._write()

    def _advice(self) -> str:
        return f"check the clock, then run: bagscan store clock --folder {self.path.parent}"

    def _adopt(self) -> None:
        """Adopt a time that another process (``bagscan store clock``) has written."""
        text = self._read()
        if text and text != self._text:
            self._base = self._restore(text, time.time()) - _elapsed()
            self._text = text

    def _restore(self, text: str, wall: float) -> float:
        """Return the current service time from the file's text and the machine's clock.

        Within the same boot, add the time since the file was written. After a reboot use the
        machine's clock, unless it is behind or far ahead of the stored time.
        """
        try:
            # Earlier versions stored the time only.
            last, elapsed, boot = (*text.split(), "0", "")[:3]
            stored, since = float(last), _elapsed() - float(elapsed)
        except ValueError:
            return wall
        if not math.isfinite(stored + since):
            return wall
        if boot == self.boot != "-" and since >= 0:
            return stored + since
        return max(stored, wall) if wall - stored <= FORWARD_S else stored

    def _write(self) -> None:
        self._text = f"{self.now():.3f} {_elapsed():.3f} {self.boot}\n"
        self._written_at = _elapsed()
        with suppress(OSError):  # the time in memory continues if the disk rejects writes
            atomic_write_text(self.path, self._text)

    def _read(self) -> str:
        try:
            return self.path.read_text()
        except (OSError, ValueError):
            return ""


def _elapsed() -> float:
    """Return the seconds since the machine booted, including time asleep where available."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _boot() -> str:
    """Return the id of the current boot; ``-`` if the system has none."""
    try:
        return BOOT_ID.read_text().strip() or "-"
    except OSError:
        return "-"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
