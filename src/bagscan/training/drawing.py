"""Background drawing of training batches, in a thread or in processes.

Processes are for accelerators, which would otherwise wait for their batches.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bagscan.core.errors import ConfigError, TrainingError
from bagscan.core.machine import usable_cores

LOADERS = "BAGSCAN_LOADERS"
MAX_LOADERS = 8  # few networks need more
SHARED = "/dev/shm"  # holds two batches of each process
MIN_SHARED_BYTES = 4 << 30  # for batches of whole items, the largest, of eight processes
STALLED_S = 600

Draw = Callable[[np.random.Generator], Any]


def generator_of(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Return the generator of all random draws of one step in one process.

    It depends on seed, step and rank alone, so that a resumed run draws the same batches.
    """
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(0, step, *[rank] * bool(rank)))
    )


def loaders(device: torch.device) -> int:
    """Return the number of processes that draw batches, 0 for a thread.

    The number is that of ``BAGSCAN_LOADERS``. ``auto`` means 0 on a CPU, where processes would
    compete with the network. With CUDA on Linux it means one process per core, 8 at most, if
    shared memory is large enough for their batches (a container often has 64 MB). Processes of
    ``torchrun`` share the cores.

    Raises:
        ConfigError: the value is not a number, or the system cannot fork processes.
    """
    setting = os.environ.get(LOADERS, "auto")
    if setting == "auto":
        can_fork = device.type == "cuda" and sys.platform == "linux"
        if not can_fork or _free_bytes(SHARED) < MIN_SHARED_BYTES:
            return 0
        cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return max(1, min(cores, MAX_LOADERS))
    if not setting.isdecimal():
        raise ConfigError(f"{LOADERS} must be auto or a number of processes, got {setting!r}")
    if int(setting) and sys.platform != "linux":
        raise ConfigError(
            f"{LOADERS}={setting}: processes draw batches on Linux only; use 0 for a thread"
        )
    return int(setting)


def _free_bytes(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def prefetch_batches(
    draw: Draw, seed: int, steps: range, rank: int = 0, processes: int = 0
) -> Generator[Any, None, None]:
    """Yield the batches of some steps in order, drawn before they are needed.

    Args:
        draw: makes a batch from a generator; must not use an accelerator.
        seed: seed of the run.
        steps: steps to draw batches for.
        rank: number of this process among those that train together.
        processes: number of drawing processes; 0 for a thread.

    Raises:
        TrainingError: the drawing processes deliver nothing for ten minutes.
        Exception: any exception of ``draw``.
    """
    if processes and len(steps):
        yield from _draw_in_processes(_StepDataset(draw, seed, rank), steps, processes)
        return
    with ThreadPoolExecutor(1) as thread:
        upcoming = [thread.submit(draw, generator_of(seed, step, rank)) for step in steps[:1]]
        for step in steps:
            batch = upcoming.pop().result()
            upcoming += [
                thread.submit(draw, generator_of(seed, following, rank))
                for following in range(step + 1, min(step + 2, steps.stop))
            ]
            yield batch


def _draw_in_processes(
    dataset: _StepDataset, steps: range, processes: int
) -> Generator[Any, None, None]:
    # Forked processes share the samples in memory. A batch depends on its step alone, not on the
    # number of processes.
    batches = iter(
        DataLoader(
            dataset,
            None,
            sampler=steps,
            num_workers=processes,
            collate_fn=_identity,
            multiprocessing_context="fork",
            prefetch_factor=2,
            timeout=STALLED_S,
        )
    )
    for _ in steps:
        try:
            batch = next(batches)
        except RuntimeError as error:
            raise TrainingError(
                f"drawing processes have stopped ({error}); {SHARED} or memory may be full; "
                f"set {LOADERS}=0 to draw in a thread"
            ) from error
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _StepDataset(Dataset[Any]):
    """Batches by step.

    An exception is returned as an item: raised in a worker it would arrive as text.
    """

    def __init__(self, draw: Draw, seed: int, rank: int) -> None:
        self.draw, self.seed, self.rank = draw, seed, rank

    def __getitem__(self, step: int) -> Any:
        try:
            return self.draw(generator_of(self.seed, step, self.rank))
        except Exception as error:
            return error


def _identity(batch: Any) -> Any:
    return batch
