"""Device of a training process, and averaging over processes that train one model together.

``torchrun`` starts several processes, on one machine or many, and sets their ranks in the
environment. Each process draws its own batches, and gradients are averaged explicitly.
:class:`torch.nn.parallel.DistributedDataParallel` needs a single forward pass, but the losses here
call parts of a model separately.
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

LONGEST_VALIDATION = timedelta(hours=12)  # other processes wait so long for rank 0


@dataclass(frozen=True)
class Compute:
    """Device and rank of a process in a group that trains together.

    Attributes:
        device: device that the process computes on.
        rank: number of the process, from 0.
        count: number of processes.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """True for rank 0, which validates, saves and logs for all processes."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """All-reduce gradients to their mean.

        Processes without a gradient contribute zero. Parameters without a gradient in any process
        keep none: weight decay would change them if they got zeros.
        """
        if self.count == 1:
            return
        parameters = list(parameters)
        has_gradient = torch.tensor(
            [p.grad is not None for p in parameters], dtype=torch.int32, device=self.device
        )
        distributed.all_reduce(has_gradient)
        active = [p for p, has in zip(parameters, has_gradient.tolist(), strict=True) if has]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in active]
        )
        distributed.all_reduce(flat)
        for parameter, mean in zip(
            active, (flat / self.count).split([p.numel() for p in active]), strict=True
        ):
            parameter.grad = mean.view_as(parameter)

    def average_buffers(self, modules: Mapping[str, nn.Module]) -> None:
        """All-reduce buffers, such as batch normalisation statistics, to their mean."""
        if self.count == 1:
            return
        for module in modules.values():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    distributed.all_reduce(buffer)
                    buffer /= self.count

    def broadcast_state(self, modules: Mapping[str, nn.Module], step: int) -> None:
        """Broadcast the weights and buffers of rank 0 to all processes.

        Args:
            modules: by name.
            step: step at which this process starts.

        Raises:
            TrainingError: processes start at different steps, since they do not share a run folder.
        """
        if self.count == 1:
            return
        first = torch.tensor([step], device=self.device)
        distributed.broadcast(first, 0)
        differs = torch.tensor([int(first.item() != step)], device=self.device)
        distributed.all_reduce(differs)
        if differs.item():
            raise TrainingError(
                f"process {self.rank} starts at step {step}, but process 0 at {int(first.item())}; "
                "use a run folder that all processes share"
            )
        for module in modules.values():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)

    def broadcast_from_rank0(self, value: bool) -> bool:
        """Return the value of rank 0; all processes must call it."""
        if self.count == 1:
            return value
        result = torch.tensor([value], dtype=torch.uint8, device=self.device)
        distributed.broadcast(result, 0)
        return bool(result.item())


_process: Compute | None = None


def compute() -> Compute:
    """Return the device and rank of this process; :func:`set_up` first, on ``auto``, if needed."""
    return _process or set_up()


def set_up(device_name: str = "auto") -> Compute:
    """Choose the device of this process, and join the process group if there is one.

    ``torchrun`` sets the variables of the rank.

    Args:
        device_name: see :func:`find_device`.

    Raises:
        ConfigError: the device does not exist.
    """
    global _process
    rank, count, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = find_device(device_name, local if count > 1 else None)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count > 1 and not distributed.is_initialized():
        # Its functions bind the default group when the module is imported. Optimizers import it
        # later, which would keep the threads of the group alive.
        importlib.import_module("torch.distributed.nn.functional")
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_VALIDATION
        )
        # Threads of Gloo that outlive the interpreter abort the process.
        atexit.register(distributed.destroy_process_group)
    _process = Compute(device, rank, count)
    return _process


def find_device(name: str, number: int | None = None) -> torch.device:
    """Return a device by name; ``auto`` selects CUDA if it is available, else the CPU.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        number: local rank of this process if there are several; ``cuda`` then selects the
            accelerator of that number.

    Raises:
        ConfigError: the device cannot be used, or several processes would share it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda:") and number is not None:
        raise ConfigError(
            f"device {name!r} cannot be shared by several processes; "
            "use --device cuda, which gives each process its own"
        )
    if name == "cuda":
        name = f"cuda:{number or 0}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        message = str(error).strip().splitlines()[0]
        if "Expected one of" in message:  # a list of all device types of PyTorch follows
            message = "unknown device type"
        raise ConfigError(
            f"device {name!r} cannot be used: {message}; use auto to select an available device"
        ) from error
    return device


def autocast_bf16(device: torch.device) -> torch.autocast:
    """Return a context of autocast to bfloat16, enabled if it is native on the device.

    A CPU that emulates bfloat16 is much slower than in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))


@lru_cache
def has_bfloat16(device: torch.device) -> bool:
    """Return True if a device computes natively in bfloat16.

    Devices other than CUDA and CPU are assumed to.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    if platform.machine().lower() in ("x86_64", "amd64"):
        # PyTorch has no public function for this.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def move_batch(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a nested batch (lists, tuples, dicts, dataclasses) to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(move_batch(each, device) for each in batch)
    if isinstance(batch, dict):
        return {key: move_batch(each, device) for key, each in batch.items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return dataclasses.replace(
            batch,
            **{
                f.name: move_batch(getattr(batch, f.name), device)
                for f in dataclasses.fields(batch)
            },
        )
    return batch
