"""What a training runs on: this machine's accelerator where there is one, alone or as one of several processes that train one model.

Several processes, on one machine or many, are started by ``torchrun``, which tells each its number in the environment. Each draws
batches of its own, and gradients are averaged: the sum over modules that :class:`torch.nn.parallel.DistributedDataParallel`
would need one forward pass for, where losses here call parts of a model one by one.
"""

from __future__ import annotations

import atexit
import dataclasses
import importlib
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bagscan.core.errors import ConfigError, TrainingError

DEVICE = "BAGSCAN_DEVICE"
LONGEST_VALIDATION = timedelta(hours=12)  # for which the others wait for the first process


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
        """Give every process the mean of all gradients; a process that has none counts as zero, and where nobody has one there is none."""
        if self.count == 1:
            return
        parameters = list(parameters)
        somebody = torch.tensor(
            [p.grad is not None for p in parameters], dtype=torch.int32, device=self.device
        )
        distributed.all_reduce(somebody)
        moved_by = [
            p for p, has in zip(parameters, somebody.tolist(), strict=True) if has
        ]  # of others a weight decay would move zeros
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in moved_by]
        )
        distributed.all_reduce(flat)
        for parameter, mean in zip(
            moved_by, (flat / self.count).split([p.numel() for p in moved_by]), strict=True
        ):
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

    def start_alike(self, modules: Mapping[str, nn.Module], step: int) -> None:
        """Give every process the weights of the first.

        Raises:
            TrainingError: they would go on from different steps, since they do not see the same run folder.
        """
        if self.count == 1:
            return
        first = torch.tensor([step], device=self.device)
        distributed.broadcast(first, 0)
        apart = torch.tensor([int(first.item() != step)], device=self.device)
        distributed.all_reduce(apart)
        if apart.item():
            raise TrainingError(
                f"process {self.rank} would go on at step {step}, the first one at {int(first.item())}: the run folder must be one that all processes see"
            )
        for module in modules.values():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def broadcast_from_rank0(self, value: bool) -> bool:
        """What process 0 has decided; all must call it."""
        if self.count == 1:
            return value
        result = torch.tensor([value], dtype=torch.uint8, device=self.device)
        distributed.broadcast(result, 0)
        return bool(result.item())


@lru_cache(maxsize=1)
def compute() -> Compute:
    """Of this process: ``BAGSCAN_DEVICE`` (auto, cpu, cuda, cuda:1 ...) and what ``torchrun`` told.

    Raises:
        ConfigError: no such device.
    """
    rank, count, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = device_named(os.environ.get(DEVICE, "auto"), local if count > 1 else None)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count > 1 and not distributed.is_initialized():
        # Its functions take the group of their import for a default, for ever: imported later, as optimizers do, it would keep the group's threads.
        importlib.import_module("torch.distributed.nn.functional")
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_VALIDATION
        )
        # While the interpreter still stands: Gloo's threads that find it gone abort a process that has done its work.
        atexit.register(distributed.destroy_process_group)
    return Compute(device, rank, count)


def device_named(name: str, number: int | None = None) -> torch.device:
    """A device by name; ``auto`` is an accelerator where there is one.

    Args:
        number: of this process among several on a machine, each of which takes the accelerator of its own number.

    Raises:
        ConfigError: there is no such device, or several processes were told to share it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda:") and number is not None:
        raise ConfigError(
            f"device {name!r} is one for several processes: --device cuda gives each its own"
        )
    if name == "cuda":
        name = f"cuda:{number or 0}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        message = str(error).strip().splitlines()[0]
        why = (
            "there is no such kind" if "Expected one of" in message else message
        )  # followed by two dozen that nobody has
        raise ConfigError(
            f"device {name!r} cannot be used: {why}; auto takes what there is"
        ) from error
    return device


def autocast_bf16(device: torch.device, wanted: bool) -> torch.autocast:
    """Autocast to bfloat16 where it is wanted and the device has it: a processor that has to emulate it takes ten times as long as in 32 bits."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))


@lru_cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself; of other kinds than CUDA and CPU it is taken for granted."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    if platform.machine().lower() in ("x86_64", "amd64"):
        return (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )  # nothing public tells it
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def moved(batch: Any, device: torch.device) -> Any:
    """A batch of tensors, however nested, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(moved(each, device) for each in batch)
    if isinstance(batch, dict):
        return {key: moved(each, device) for key, each in batch.items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(
            batch,
            **{f.name: moved(getattr(batch, f.name), device) for f in dataclasses.fields(batch)},
        )
    return batch
