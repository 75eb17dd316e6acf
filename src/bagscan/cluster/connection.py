"""Connection to a Ray cluster."""

from __future__ import annotations

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics leave the machine

import ray

LOCAL = "local"


def connect(address: str = LOCAL) -> None:
    """Connect this process to a Ray cluster, unless it is connected already.

    Args:
        address: address of a running cluster, as Ray takes it; ``local`` starts a cluster on this
            machine.
    """
    if not ray.is_initialized():
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            include_dashboard=False,
            configure_logging=False,
        )
