"""Batches are equal for any number of loader processes; errors of loaders are reported."""

import multiprocessing
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bagscan.core.errors import ConfigError, DataError, TrainingError
from bagscan.model import Model
from bagscan.training.drawing import LOADERS, MAX_LOADERS, generator_of, loaders, prefetch_batches
from bagscan.training.loop import LoopConfig, run

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes draw on Linux alone")


def numbers(rng: np.random.Generator) -> tuple[torch.Tensor, np.ndarray, float]:
    return torch.from_numpy(rng.standard_normal(3)), rng.standard_normal(2), rng.random()


@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=forks)])
@pytest.mark.parametrize("rank", [0, 2])
def test_the_batches_of_a_run_do_not_depend_on_who_draws_them(processes, rank):
    found = list(prefetch_batches(numbers, 7, range(4, 13), rank, processes))
    expected = [
        numbers(
            np.random.default_rng(
                np.random.SeedSequence(7, spawn_key=(0, step) if rank == 0 else (0, step, rank))
            )
        )
        for step in range(4, 13)
    ]
    assert len(found) == 9
    for drawn, result in zip(found, expected, strict=True):
        assert [type(part) for part in drawn] == [type(part) for part in result], (
            "nothing is converted on the way"
        )
        assert all(np.array_equal(a, b) for a, b in zip(drawn, result, strict=True))


@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=forks)])
def test_a_run_that_is_at_its_end_draws_nothing(processes):
    def never(rng: np.random.Generator) -> None:
        raise AssertionError("drawn")

    assert list(prefetch_batches(never, 0, range(5, 5), 0, processes)) == []


def test_a_thread_draws_one_batch_ahead_and_none_beyond_the_last():
    drawn: list[float] = []
    batches = prefetch_batches(lambda rng: drawn.append(rng.random()), 1, range(3))
    for _ in batches:
        pass
    assert drawn == [generator_of(1, step).random() for step in range(3)]


@forks
def test_processes_are_others_and_gone_when_the_run_stops():
    batches = prefetch_batches(lambda rng: os.getpid(), 0, range(100), 0, 2)
    first = [next(batches) for _ in range(4)]
    assert len(set(first)) == 2
    assert os.getpid() not in first
    batches.close()
    assert not [child for child in multiprocessing.active_children() if child.pid in first]


@pytest.mark.parametrize("processes", [0, pytest.param(1, marks=forks)])
def test_an_error_while_drawing_reaches_the_run(processes):
    def torn(rng: np.random.Generator) -> None:
        raise DataError("a torn scan")

    with pytest.raises(DataError) as raised:
        list(prefetch_batches(torn, 0, range(2), 0, processes))
    assert str(raised.value) == "a torn scan"


@forks
def test_processes_that_die_or_stall_are_told_with_what_helps(monkeypatch):
    with pytest.raises(TrainingError, match=f"{LOADERS}=0"):
        list(prefetch_batches(lambda rng: os._exit(9), 0, range(2), 0, 1))
    monkeypatch.setattr("bagscan.training.drawing.STALLED_S", 2)
    with pytest.raises(TrainingError, match="/dev/shm"):  # an unsent batch does not arrive
        list(prefetch_batches(lambda rng: lambda: None, 0, range(2), 0, 1))


def test_on_a_processor_nobody_else_draws_and_on_an_accelerator_the_cores_do(monkeypatch):
    monkeypatch.delenv(LOADERS, raising=False)
    monkeypatch.setattr("bagscan.training.drawing.usable_cores", lambda: 6)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("bagscan.training.drawing._free_bytes", lambda folder: 1 << 40)
    assert (loaders(torch.device("cpu")), loaders(torch.device("cuda", 0))) == (0, 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loaders(torch.device("cuda", 0)) == 1, "four processes share the cores"
    monkeypatch.setattr("bagscan.training.drawing.usable_cores", lambda: 640)
    assert loaders(torch.device("cuda", 0)) == MAX_LOADERS
    monkeypatch.setattr("bagscan.training.drawing._free_bytes", lambda folder: 64 << 20)
    assert loaders(torch.device("cuda", 0)) == 0, (
        "a container's shared memory has no room for batches"
    )
    monkeypatch.setenv(LOADERS, "3")
    assert loaders(torch.device("cpu")) == 3
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match=LOADERS):
        loaders(torch.device("cpu"))
    for wrong in ("many", "-1", "²"):
        monkeypatch.setenv(LOADERS, wrong)
        with pytest.raises(ConfigError, match=f"{LOADERS}.*'{wrong}'"):
            loaders(torch.device("cpu"))


@forks
@pytest.mark.parametrize("apart", [True, False])
def test_what_needs_the_accelerator_is_drawn_in_the_process_that_trains(
    tmp_path, monkeypatch, apart
):
    drawn_by: set[int] = set()

    class Line:
        def __init__(self):
            self.modules = {"net": torch.nn.Linear(1, 1)}
            self.can_draw_in_processes = apart

        def batch(self, rng: np.random.Generator) -> tuple[int, torch.Tensor]:
            return os.getpid(), torch.ones(1, 1)

        def loss(self, batch: tuple[int, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
            drawn_by.add(batch[0])
            return self.modules["net"](batch[1]).square().mean(), {}

        def validate(self) -> dict[str, float]:
            return {"monitor": 0.0}

    monkeypatch.setenv(LOADERS, "1")
    run(
        Line(),
        LoopConfig(steps=2, validate_every=2),
        tmp_path,
        lambda scores: None,
    )
    assert (drawn_by == {os.getpid()}) is not apart


def test_regions_that_a_network_cuts_while_drawing_are_not_cut_apart(tiny_config):
    from bagscan.training.experiment import read_experiment
    from bagscan.training.joint import JointTask

    for regioner, apart in (
        ("{name: grid, n_superpixels: 9}", True),
        ("{name: mask_rcnn, backbone: test_resnet, pretrained: false}", False),
    ):
        experiment = read_experiment(
            tiny_config, ["training.mode=two_stage", f"model.regioner={regioner}"]
        )
        model = Model(experiment.model)
        sample = SimpleNamespace(
            region=None, annotations=("marked",), record=SimpleNamespace(origin="")
        )
        assert (
            JointTask(model, [sample], [sample], experiment.training).can_draw_in_processes is apart
        ), regioner
