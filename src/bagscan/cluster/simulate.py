"""Simulation of scans on the nodes of a Ray cluster.

A scan depends only on the recipe and its number, and is written atomically. Its bytes are therefore
the same on every node, and after a restart on another node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError
from threadpoolctl import threadpool_limits

from bagscan.cluster.connection import LOCAL, connect
from bagscan.core.errors import BagscanError
from bagscan.simulate.dataset import Job, make_scene

TRIES = 3  # restarts of a task whose node is lost


def _make_scan(job: Job, index: int) -> int:
    with threadpool_limits(1):  # rounding of matrix products depends on the number of threads
        return make_scene(job, index)


class RaySimulator:
    """Variant of :func:`bagscan.simulate.dataset.make_all` that runs on a Ray cluster.

    All nodes must be able to write to the directory of the dataset.

    Args:
        address: as in :func:`bagscan.cluster.connection.connect`.
    """

    def __init__(self, address: str = LOCAL) -> None:
        connect(address)

    def __call__(self, job: Job, todo: list[int], workers: int) -> Iterator[int]:
        """Simulate scans in parallel and yield the number of each finished scan.

        Args:
            job: recipe and directory.
            todo: numbers of the scans.
            workers: number of scans in progress at a time.

        Raises:
            BagscanError: a scan failed on the cluster.
        """
        make: Any = ray.remote(num_cpus=1, max_retries=TRIES)(_make_scan)
        waiting = iter(todo)
        # A million tasks at once would fill the memory of the head node.
        running = [
            make.remote(job, index) for _, index in zip(range(workers), waiting, strict=False)
        ]
        while running:
            done, running = ray.wait(running, num_returns=1)
            for reference in done:
                try:
                    yield ray.get(reference)
                except RayError as error:
                    raise BagscanError(f"a simulation failed on the cluster: {error}") from error
                following = next(waiting, None)
                if following is not None:
                    running.append(make.remote(job, following))
