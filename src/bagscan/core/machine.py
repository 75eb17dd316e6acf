"""What of a machine this process may use."""

from __future__ import annotations


def usable_cores() -> int:
    """Cores that a container's limits (cgroup) and the process's affinity leave, at least 1; a container of 2 cores on a host of 64 has 2."""
    from joblib import cpu_count

    return int(cpu_count())
