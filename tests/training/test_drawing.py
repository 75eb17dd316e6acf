"""Batches are the same whoever draws them, in their order, and what goes wrong while drawing is told."""

import multiprocessing
import os
import sys

import numpy as np
import pytest
import torch

from bagscan.core.errors import ConfigError, DataError
from bagscan.training.drawing import LOADERS, MOST_LOADERS, drawn_ahead, generator_of, loaders

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes draw on Linux alone")


def numbers(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(3))


@pytest.mark.parametrize("processes", [0, pytest.param(3, marks=forks)])
@pytest.mark.parametrize("rank", [0, 2])
def test_the_batches_of_a_run_do_not_depend_on_who_draws_them(processes, rank):
    found = list(drawn_ahead(numbers, 7, range(4, 13), rank, processes))
    expected = [numbers(np.random.default_rng(np.random.SeedSequence(7, spawn_key=(0, step) if rank == 0 else (0, step, rank)))) for step in range(4, 13)]
    assert len(found) == 9
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=forks)])
def test_a_run_that_is_at_its_end_draws_nothing(processes):
    def never(rng: np.random.Generator) -> None:
        raise AssertionError("drawn")

    assert list(drawn_ahead(never, 0, range(5, 5), 0, processes)) == []


def test_a_thread_draws_one_batch_ahead_and_none_beyond_the_last():
    drawn: list[float] = []
    batches = drawn_ahead(lambda rng: drawn.append(rng.random()), 1, range(3))
    for _ in batches:
        pass
    assert drawn == [generator_of(1, step).random() for step in range(3)]


@forks
def test_processes_are_others_and_gone_when_the_run_stops():
    batches = drawn_ahead(lambda rng: os.getpid(), 0, range(100), 0, 2)
    first = [next(batches) for _ in range(4)]
    assert len(set(first)) == 2
    assert os.getpid() not in first
    batches.close()
    assert not [child for child in multiprocessing.active_children() if child.pid in first]


@pytest.mark.parametrize("processes", [0, pytest.param(1, marks=forks)])
def test_an_error_while_drawing_reaches_the_run(processes):
    def torn(rng: np.random.Generator) -> None:
        raise DataError("a torn scan")

    with pytest.raises(DataError, match="a torn scan"):
        list(drawn_ahead(torn, 0, range(2), 0, processes))


def test_on_a_processor_nobody_else_draws_and_on_an_accelerator_the_cores_do(monkeypatch):
    monkeypatch.delenv(LOADERS, raising=False)
    monkeypatch.setattr("bagscan.training.drawing.usable_cores", lambda: 6)
    monkeypatch.setattr("sys.platform", "linux")
    assert (loaders(torch.device("cpu")), loaders(torch.device("cuda", 0))) == (0, 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loaders(torch.device("cuda", 0)) == 1, "four processes share the cores"
    monkeypatch.setattr("bagscan.training.drawing.usable_cores", lambda: 640)
    assert loaders(torch.device("cuda", 0)) == MOST_LOADERS
    monkeypatch.setenv(LOADERS, "3")
    assert loaders(torch.device("cpu")) == 3
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ConfigError, match="on Linux alone"):
        loaders(torch.device("cpu"))
    monkeypatch.setenv(LOADERS, "many")
    with pytest.raises(ConfigError, match="'many'"):
        loaders(torch.device("cpu"))
