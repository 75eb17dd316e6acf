"""Every row of the ablation is a valid training, and changes one thing."""

from pathlib import Path

import pytest

from bagscan.training.experiment import read_experiment
from experiments.ablation import CHANGES, configuration, rows


def read(name):
    return read_experiment(*configuration(Path("set"), CHANGES[name], steps=100, batch=8, seed=0))


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "everything"])
def test_each_change_differs_from_everything_in_one_thing(name):
    everything, changed = read("everything"), read(name)
    assert changed.training != everything.training
    assert changed.sets == everything.sets
    assert changed.loop.steps == everything.loop.steps == 100
    assert changed.loop.cooldown == 50


def test_the_first_row_has_several_seeds_and_every_row_names_its_dataset():
    runs = rows({"everything": Path("sets/a"), "plain bags": Path("sets/b")}, steps=100, seeds=2)
    assert [tuple(run.settings.values()) for run in runs] == [
        ("everything", "a", 100, 0),
        ("plain bags", "b", 100, 0),
        ("everything", "a", 100, 1),
    ]
