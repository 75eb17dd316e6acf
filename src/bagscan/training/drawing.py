"""Batches of a run, drawn while the ones before them are learnt from: by one thread, or by processes where an accelerator would wait for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bagscan.core.errors import ConfigError
from bagscan.core.machine import usable_cores

LOADERS = "BAGSCAN_LOADERS"
MOST_LOADERS = 8  # a network that keeps more of them busy is rare, and each has some hundred MB of its own

Draw = Callable[[np.random.Generator], Any]


def generator_of(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Of every random draw of one step of one process: the same whoever draws, and after a kill."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, step, *[rank] * bool(rank))))


def loaders(device: torch.device) -> int:
    """Processes that draw batches: ``BAGSCAN_LOADERS``, else none on a processor, which they would take from the network, and on an accelerator one a core, 8 at most.

    Raises:
        ConfigError: it is no number, or processes are asked for where they cannot be forked.
    """
    told = os.environ.get(LOADERS, "auto")
    if told == "auto":
        cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return max(1, min(cores, MOST_LOADERS)) if device.type == "cuda" and sys.platform == "linux" else 0
    if not told.isdigit():
        raise ConfigError(f"{LOADERS} must be auto or a number of processes, got {told!r}")
    if int(told) and sys.platform != "linux":
        raise ConfigError(f"{LOADERS}={told}: batches are drawn by processes on Linux alone; 0 draws them in a thread")
    return int(told)


def drawn_ahead(draw: Draw, seed: int, steps: range, rank: int = 0, processes: int = 0) -> Generator[Any, None, None]:
    """The batches of steps in their order.

    Args:
        draw: makes a batch from a generator; must touch no accelerator. processes: that draw; 0 for a thread of this one.
    """
    if processes and len(steps):
        # Forked: they share the samples in memory. A step goes to them by its number, so that their count changes nothing.
        yield from DataLoader(_Steps(draw, seed, rank), None, sampler=steps, num_workers=processes, multiprocessing_context="fork", prefetch_factor=2)
        return
    with ThreadPoolExecutor(1) as thread:
        of = lambda step: thread.submit(draw, generator_of(seed, step, rank))  # noqa: E731
        upcoming = [of(step) for step in steps[:1]]
        for step in steps:
            batch = upcoming.pop().result()
            upcoming += [of(following) for following in range(step + 1, min(step + 2, steps.stop))]
            yield batch


class _Steps(Dataset[Any]):
    """Batches by the number of their step."""

    def __init__(self, draw: Draw, seed: int, rank: int) -> None:
        self.draw, self.seed, self.rank = draw, seed, rank

    def __getitem__(self, step: int) -> Any:
        return self.draw(generator_of(self.seed, step, self.rank))
