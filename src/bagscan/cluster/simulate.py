"""Scans simulated by the nodes of a Ray cluster, in the place of worker processes of one machine.

A scan follows from the recipe and its number alone, and is written whole or not at all: which node makes it, or makes it again after
another has died, leaves no trace in the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayError
from threadpoolctl import threadpool_limits

from bagscan.cluster.connection import LOCAL, connect
from bagscan.core.errors import BagscanError
from bagscan.simulate.dataset import Job, make_scan

TRIES = 3


def _made(job: Job, index: int) -> int:
    with threadpool_limits(1):  # matrix products of several threads round differently
        return make_scan(job, index)


class RaySpread:
    """As :func:`bagscan.simulate.dataset.make_all`, over a Ray cluster. The data set's folder must lie where every node sees it.

    Args:
        address: as :func:`bagscan.cluster.connection.connect`.
    """

    def __init__(self, address: str = LOCAL) -> None:
        connect(address)

    def __call__(self, job: Job, todo: list[int], workers: int) -> Iterator[int]:
        """Make scans side by side; their numbers, as they are done."""
        make: Any = ray.remote(num_cpus=1, max_retries=TRIES)(_made)
        waiting = iter(todo)
        # As many at a time as there are workers: a million tasks at once would fill the head's memory.
        flying = [
            make.remote(job, index) for _, index in zip(range(workers), waiting, strict=False)
        ]
        while flying:
            done, flying = ray.wait(flying, num_returns=1)
            for reference in done:
                try:
                    yield ray.get(reference)
                except RayError as error:
                    raise BagscanError(
                        f"a scan could not be made on the cluster: {error}"
                    ) from error
                following = next(waiting, None)
                if following is not None:
                    flying.append(make.remote(job, following))
