"""Every change of the ablation is a valid configuration, and changes something."""

from pathlib import Path

import pytest

from bagscan.training.experiment import read_experiment
from experiments.ablation import CHANGES, configuration


def read(name):
    return read_experiment(*configuration(Path("set"), CHANGES[name], steps=100, batch=8, seed=0))


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "everything"])
def test_each_change_differs_from_everything_in_one_thing(name):
    everything, changed = read("everything"), read(name)
    assert changed.training != everything.training
    assert changed.sets == everything.sets
    assert changed.loop.steps == everything.loop.steps == 100
    assert changed.loop.cooldown == 50
