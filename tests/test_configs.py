"""Every configuration in configs/ trains: one step, tiny images, its own parts."""

from pathlib import Path

import pytest

from bagscan.model import Model
from bagscan.training.experiment import Experiment, read_experiment, train

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TINY = [
    "data.sources=[{format: yolo, root: ., scanner_digits: 1}]",
    "model.input.working_side_px=96",
    "model.regioner.n_superpixels=16",
    "model.encoder.pretrained=false",
    "training.batch_size=2",
    "training.segments_per_scan=2",
    "training.validation_scans=1",
    "training.augment.crop_px=64",
    "training.loop={steps: 1, warmup: 1, validate_every: 1}",
]
JOINT = [path for path in CONFIGS if isinstance(read_experiment(path), Experiment)]


def test_there_are_configurations_of_both_kinds():
    assert JOINT
    assert set(CONFIGS) - set(JOINT)


@pytest.mark.parametrize("path", JOINT, ids=lambda p: p.stem)
def test_configuration_trains_one_step(path, yolo_root, simulated_root, tmp_path, monkeypatch):
    monkeypatch.setenv("BAGSCAN_DATA", str(yolo_root))
    experiment = read_experiment(path)
    wanted = experiment.model
    smaller = ["model.encoder.size_px=32"] if "size_px" in wanted.encoder else []
    source = experiment.data.sources[0]
    if source.format == "simulated":
        smaller.append(f"data.sources=[{{format: simulated, root: {simulated_root}, images: {source.images}, views: below}}]")
    train(read_experiment(path, TINY + smaller), tmp_path, lambda _: None)
    model = Model.load(tmp_path / "model")
    assert (model.config.regioner["name"], model.config.encoder["backbone"]) == (wanted.regioner["name"], wanted.encoder["backbone"])
