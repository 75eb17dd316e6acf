"""To a Ray cluster, or to one made here."""

from __future__ import annotations

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

import ray

LOCAL = "local"


def connect(address: str = LOCAL) -> None:
    """Connect this process, where it is not connected yet.

    Args:
        address: of a running cluster, as Ray takes it; ``local`` for one on this machine alone.
    """
    if not ray.is_initialized():
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            include_dashboard=False,
            configure_logging=False,
        )
