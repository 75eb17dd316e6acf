"""The service's own time, which neither jumps nor goes back, whatever the machine's clock does.

Sessions, claims, lock-outs and leases of jobs are measured by :meth:`Clock.now`. It begins with the
machine's clock, goes on by the seconds since the machine booted, and follows small corrections of
the clock; over a large one it goes on as before, until a person says that the clock is right. What
it last was is kept in a file, so that a restart does not help a wrong clock either.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from pathlib import Path

from bagscan.core.files import atomic_write_text

FORWARD_S, BACK_S = (
    7 * 86_400.0,
    3_600.0,
)  # jumps beyond these need a person before images are removed
FOLLOW_S = 5.0  # steps of the machine's clock that are followed, as time servers make them
KEEP_S = 10.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """Time in seconds since 1970 that only goes forward, kept over restarts.

    Args:
        folder: of the service; the file is ``last_time``: the time, seconds since boot, name of the boot.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "last_time"
        self.boot = _boot()
        self._lock = threading.Lock()
        self._text = self._read()
        self._kept_at = -KEEP_S
        self._held = False
        self._base = self._of_file(self._text, time.time()) - _elapsed()

    def now(self) -> float:
        """The service's time, in seconds since 1970."""
        return self._base + _elapsed()

    def earliest(self) -> float:
        """The earlier of the service's time and the machine's: nothing is older than by this one."""
        return min(self.now(), time.time())

    def tick(self) -> str:
        """Follow the machine's clock by small steps; to be called every few seconds.

        Returns:
            What to log: that the clock jumped, or agrees again; empty where nothing changed.
        """
        with self._lock:
            self._adopt()
            apart = time.time() - self.now()
            held, self._held = self._held, abs(apart) > FOLLOW_S
            if not self._held:
                self._base += apart
            if _elapsed() - self._kept_at >= KEEP_S:
                self._write()
        if held == self._held:
            return ""
        if not self._held:
            return "the machine's clock agrees again with the service's"
        way = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the service's time"
        return f"the machine's clock is {way}: sessions and claims go on by the latter; {self._what_to_do()}"

    def doubt(self) -> str:
        """Why the machine's clock is too far off to remove images by age; empty where it is not."""
        with self._lock:
            self._adopt()
            now, last = time.time(), self.now()
        if -BACK_S <= now - last <= FORWARD_S:
            return ""
        message = f"the clock says {_day(now)}, and the service's own time is {_day(last)}"
        return f"{message}: no image is removed by age; {self._what_to_do()}"

    def keep(self) -> None:
        """Write the service's time to its file, as a service does when it stops."""
        with self._lock:
            self._write()

    def believe(self) -> None:
        """Set the service's time to the machine's clock, on a person's word."""
        with self._lock:
            self._base = time.time() - _elapsed()
            self._write()

    def _what_to_do(self) -> str:
        return f"look at the clock, then run: bagscan store clock --folder {self.path.parent}"

    def _adopt(self) -> None:
        """Take over what another process wrote: ``bagscan store clock``."""
        text = self._read()
        if text and text != self._text:
            self._base = self._of_file(text, time.time()) - _elapsed()
            self._text = text

    def _of_file(self, text: str, wall: float) -> float:
        """The time now, by what was kept and the machine's clock.

        Within one boot the seconds since then are known. After another boot the clock is taken,
        unless it went back or is far ahead of what was kept.
        """
        try:
            last, elapsed, boot = (*text.split(), "0", "")[
                :3
            ]  # earlier versions kept the time alone
            kept, since = float(last), _elapsed() - float(elapsed)
        except ValueError:
            return wall
        if not math.isfinite(kept + since):
            return wall
        if boot == self.boot != "-" and since >= 0:
            return kept + since
        return max(kept, wall) if wall - kept <= FORWARD_S else kept

    def _write(self) -> None:
        self._text = f"{self.now():.3f} {_elapsed():.3f} {self.boot}\n"
        self._kept_at = _elapsed()
        with suppress(OSError):  # on a disk that refuses writes the time in memory goes on
            atomic_write_text(self.path, self._text)

    def _read(self) -> str:
        try:
            return self.path.read_text()
        except (OSError, ValueError):
            return ""


def _elapsed() -> float:
    """Seconds since the machine booted, those that it slept among them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _boot() -> str:
    """Name of this boot of the machine; ``-`` where the system gives none."""
    try:
        return BOOT_ID.read_text().strip() or "-"
    except OSError:
        return "-"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
