"""Batches of a run, drawn while the ones before them are learnt from: by one thread, or by processes where an accelerator would wait for it."""

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
MAX_LOADERS = 8  # a network that keeps more of them busy is rare
SHARED = "/dev/shm"  # where batches of processes lie, two ahead of each
ROOM_BYTES = 4 << 30  # for eight processes with batches of whole items, the largest there are
STALLED_S = 600

Draw = Callable[[np.random.Generator], Any]


def generator_of(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """Of every random draw of one step of one process: the same whoever draws, and after a kill."""
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(0, step, *[rank] * bool(rank)))
    )


def loaders(device: torch.device) -> int:
    """Processes that draw batches: ``BAGSCAN_LOADERS``, or what is best.

    That is none on a processor, which they would take from the network. On an accelerator it is one a core of this process's share, 8 at most,
    where there is shared memory enough for their batches (a container often has 64 MB).

    Raises:
        ConfigError: it is not a number, or processes are asked for where they cannot be forked.
    """
    wanted = os.environ.get(LOADERS, "auto")
    if wanted == "auto":
        cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return (
            max(1, min(cores, MAX_LOADERS))
            if device.type == "cuda"
            and sys.platform == "linux"
            and _free_bytes(SHARED) >= ROOM_BYTES
            else 0
        )
    if not wanted.isdecimal():
        raise ConfigError(f"{LOADERS} must be auto or a number of processes, got {wanted!r}")
    if int(wanted) and sys.platform != "linux":
        raise ConfigError(
            f"{LOADERS}={wanted}: batches are drawn by processes on Linux alone; 0 draws them in a thread"
        )
    return int(wanted)


def _free_bytes(folder: str) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def drawn_ahead(
    draw: Draw, seed: int, steps: range, rank: int = 0, processes: int = 0
) -> Generator[Any, None, None]:
    """The batches of steps in their order.

    Args:
        draw: makes a batch from a generator; must touch no accelerator. processes: that draw; 0 for a thread of this one.

    Raises:
        TrainingError: processes draw nothing for ten minutes. Whatever ``draw`` raises.
    """
    if processes and len(steps):
        yield from _by_processes(_Steps(draw, seed, rank), steps, processes)
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


def _by_processes(of: _Steps, steps: range, processes: int) -> Generator[Any, None, None]:
    # Forked: they share the samples in memory. A step goes to them by its number, so that their count changes nothing.
    batches = iter(
        DataLoader(
            of,
            None,
            sampler=steps,
            num_workers=processes,
            collate_fn=_as_it_is,
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
                f"the processes that draw batches draw no more ({error}): perhaps {SHARED} or memory is full; {LOADERS}=0 draws in a thread"
            ) from error
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Steps(Dataset[Any]):
    """Batches by the number of their step; an error is handed over as it is, not as the text of a trace."""

    def __init__(self, draw: Draw, seed: int, rank: int) -> None:
        self.draw, self.seed, self.rank = draw, seed, rank

    def __getitem__(self, step: int) -> Any:
        try:
            return self.draw(generator_of(self.seed, step, self.rank))
        except Exception as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch
