"""What a training runs on: this machine's accelerator where there is one, alone or as one of several processes that train one model.

Several processes, on one machine or many, are started by ``torchrun``, which tells each its number in the environment. Each draws
batches of its own, and gradients are averaged: the sum over modules that :class:`torch.nn.parallel.DistributedDataParallel`
would need one forward pass for, where losses here call parts of a model one by one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bagscan.core.errors import ConfigError

DEVICE = "BAGSCAN_DEVICE"


@dataclass(frozen=True)
class Compute:
    """One of ``count`` processes that train together, and the device that it computes on. Process 0 validates and writes."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process validates, keeps and logs for all."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all gradients; where a process has none for a parameter, it counts as zero."""
        if self.count == 1:
            return
        parameters = list(parameters)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters])
        distributed.all_reduce(flat)
        for parameter, mean in zip(parameters, (flat / self.count).split([p.numel() for p in parameters]), strict=True):
            parameter.grad = mean.view_as(parameter)

    def average_buffers(self, modules: Mapping[str, nn.Module]) -> None:
        """Give every process the mean of statistics that batches leave behind, as those of batch normalisation."""
        if self.count == 1:
            return
        for module in modules.values():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    distributed.all_reduce(buffer)
                    buffer /= self.count

    def told_by_first(self, value: bool) -> bool:
        """What process 0 has decided; all must call it."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.uint8, device=self.device)
        distributed.broadcast(told, 0)
        return bool(told.item())


@lru_cache(maxsize=1)
def compute() -> Compute:
    """Of this process: ``BAGSCAN_DEVICE`` (auto, cpu, cuda, cuda:1 ...) and what ``torchrun`` told.

    Raises:
        ConfigError: no such device.
    """
    rank, count, local = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    device = device_named(os.environ.get(DEVICE, "auto"), local if count > 1 else 0)
    if count > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Compute(device, rank, count)


def device_named(name: str, number: int = 0) -> torch.device:
    """A device by name; ``auto`` is the accelerator of this number where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = f"cuda:{number}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used: {str(error).strip().splitlines()[0]}; auto takes what there is") from error
    return device


def moved(batch: Any, device: torch.device) -> Any:
    """A batch of tensors, however nested, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(moved(each, device) for each in batch)
    if isinstance(batch, dict):
        return {key: moved(each, device) for key, each in batch.items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(batch, **{f.name: moved(getattr(batch, f.name), device) for f in dataclasses.fields(batch)})
    return batch
