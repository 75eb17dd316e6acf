"""Several processes train one model as a single process would on all their batches."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bagscan.core.errors import ConfigError
from bagscan.training import compute as compute_module
from bagscan.training.compute import autocast_bf16, compute, find_device, move_batch, set_up
from bagscan.training.loop import LoopConfig, learning_rate_at

# A line fitted to points that each process samples: plain gradient descent has a closed form.
TWO = """
import atexit
import os
import sys
import time
import numpy as np
import torch
from pathlib import Path
from bagscan.training.compute import compute
from bagscan.training.loop import LoopConfig, run

class Line:
    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Linear(2, 1)
        self.unused, self.idle = torch.nn.Linear(1, 1), torch.nn.Linear(3, 3)
        self.norm = torch.nn.BatchNorm1d(2, affine=False)
        self.modules = {
            "net": self.net, "unused": self.unused, "norm": self.norm, "idle": self.idle
        }
        self.validated = 0
    def batch(self, rng):
        return torch.from_numpy(rng.standard_normal((4, 2)).astype(np.float32))
    def loss(self, x):
        self.norm(x)
        # Only one process has a gradient for this parameter.
        extra = self.unused(x[:, :1]).mean() if compute().rank else 0.0
        return (self.net(x) - 1).square().mean() + extra, {}
    def validate(self):
        self.validated += 1
        return {"monitor": -float(self.net.weight.detach().square().sum())}

task, out = Line(), Path(sys.argv[1])
# Registered first, so called last: list the threads that remain when the interpreter ends.
def names():
    tasks = Path("/proc/self/task")
    return [(tasks / thread / "comm").read_text().strip() for thread in os.listdir(tasks)]
def write_left():
    end = time.monotonic() + 5  # a thread that has ended can still be listed for a moment
    while (left := " ".join(name for name in names() if "gloo" in name)):
        if time.monotonic() > end:
            break
        time.sleep(0.01)
    (out / f"left{os.environ['RANK']}").write_text(left)
if sys.platform == "linux":
    atexit.register(write_left)
config = LoopConfig(
    steps=3,
    learning_rate=0.1,
    optimizer=sys.argv[2],
    warmup=0,
    weight_decay=float(sys.argv[3]),
    clip_norm=1e9,
    validate_every=3,
    checkpoint_every=2,
)
run(task, config, out, lambda s: None)
states = {name: module.state_dict() for name, module in task.modules.items()}
torch.save({**states, "validated": task.validated}, out / f"rank{compute().rank}.pt")
"""


def start(*command: str) -> None:
    """Two processes on this machine, as ``torchrun`` starts them."""
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *command,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_step_by_the_mean_of_their_gradients(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    start(str(tmp_path / "two.py"), str(tmp_path), "sgd", "0.0")
    first, second = (torch.load(tmp_path / f"rank{k}.pt", weights_only=True) for k in (0, 1))
    for part in ("net", "unused", "norm"):
        assert all(torch.equal(first[part][k], second[part][k]) for k in first[part]), part
    assert (first["validated"], second["validated"]) == (1, 0), "process 0 validates for all"
    if sys.platform == "linux":
        assert [(tmp_path / f"left{k}").read_text() for k in (0, 1)] == ["", ""], (
            "threads that find the interpreter gone abort a process that has done its work"
        )
    # The same by hand: one process that sees both batches of every step.
    torch.manual_seed(0)
    net, unused = torch.nn.Linear(2, 1), torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD([*net.parameters(), *unused.parameters()], lr=0.1, momentum=0.9)
    config = LoopConfig(steps=3, learning_rate=0.1, warmup=0)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = learning_rate_at(step, config)
        draws = [
            torch.from_numpy(
                np.random.default_rng(np.random.SeedSequence(0, spawn_key=key))
                .standard_normal((4, 2))
                .astype(np.float32)
            )
            for key in ((0, step), (0, step, 1))
        ]
        optimizer.zero_grad()
        loss = (
            sum((net(x) - 1).square().mean() for x in draws) / 2
            + unused(draws[1][:, :1]).mean() / 2
        )
        loss.backward()
        optimizer.step()
    assert torch.allclose(first["net"]["weight"], net.weight, atol=1e-6)
    assert torch.allclose(first["unused"]["weight"], unused.weight, atol=1e-6)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4, (
        "three steps and a validation, written once"
    )


@pytest.mark.slow
def test_what_no_process_has_a_gradient_for_stands_still(tmp_path):
    (tmp_path / "two.py").write_text(TWO)
    start(str(tmp_path / "two.py"), str(tmp_path), "adamw", "0.5")
    found = torch.load(tmp_path / "rank0.pt", weights_only=True)
    torch.manual_seed(0)
    _, unused, idle = torch.nn.Linear(2, 1), torch.nn.Linear(1, 1), torch.nn.Linear(3, 3)
    assert torch.equal(found["idle"]["weight"], idle.weight), "a weight decay moved it"
    assert not torch.equal(found["unused"]["weight"], unused.weight)


@pytest.mark.weekly
def test_two_processes_that_were_stopped_go_on_to_the_same_weights(tiny_config, tmp_path):
    command = [
        "--no-python",
        str(Path(sys.executable).with_name("bagscan")),
        "train",
        str(tiny_config),
        "--set",
        "loop.checkpoint_every=2",
    ]
    start(*command, "--out", str(tmp_path / "whole"), "--set", "loop.steps=4")
    whole = load_file(tmp_path / "whole" / "checkpoint.safetensors")
    # Stopped by a signal, not by fewer steps: the learning rate depends on the step count.
    stop = tmp_path / "stop.py"
    stop.write_text(
        "import os, sys, bagscan.training.loop as loop\n"
        "save = loop._save\n"
        "def save_and_stop(where, *rest):\n"
        "    save(where, *rest)\n"
        "    where.broadcast_from_rank0(True)\n"
        "    os._exit(0)\n"
        "loop._save = save_and_stop\n"
        "from bagscan.cli import main\nmain()\n"
    )
    start(str(stop), *command[2:], "--out", str(tmp_path / "cut"), "--set", "loop.steps=4")
    assert load_file(tmp_path / "cut" / "checkpoint.safetensors").keys() == whole.keys()
    start(*command, "--out", str(tmp_path / "cut"), "--set", "loop.steps=4")
    cut = load_file(tmp_path / "cut" / "checkpoint.safetensors")
    assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(steps)
    assert steps[-1] == 4


@dataclass(frozen=True)
class Nested:
    pixels: torch.Tensor
    labels: torch.Tensor | None
    about: tuple


def test_batches_go_to_a_device_however_they_are_nested():
    x = torch.zeros(2)
    found = move_batch(Nested(x, None, (x, {"boxes": [x, 3]})), torch.device("meta"))
    there = [found.pixels, found.about[0], found.about[1]["boxes"][0]]
    assert all(each.is_meta for each in there)
    assert (found.labels, found.about[1]["boxes"][1]) == (None, 3)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="warp"):
        find_device("warp")
    with pytest.raises(ConfigError, match="cuda"):
        find_device("cuda:1", number=0)
    if not torch.cuda.is_available():
        assert find_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="cuda:3"):
            find_device("cuda:3")
    assert set_up("cpu") is compute()
    assert (compute().device.type, compute().rank, compute().count) == ("cpu", 0, 1)


@pytest.mark.parametrize("has", [True, False])
def test_16_bits_are_taken_only_where_the_device_has_them(monkeypatch, has):
    """Emulated, they would take ten times as long as 32."""
    monkeypatch.setattr(compute_module, "has_bfloat16", lambda device: has)
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with autocast_bf16(torch.device("cpu")):
        assert (layer(x).dtype == torch.bfloat16) == has
