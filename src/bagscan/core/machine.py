"""Resources of the machine that are available to this process."""

from __future__ import annotations


def usable_cores() -> int:
    """Return the number of usable cores, at least 1, within cgroup limits and CPU affinity."""
    from joblib import cpu_count

    return int(cpu_count())
