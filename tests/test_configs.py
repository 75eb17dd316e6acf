"""Every training preset trains: one step, tiny images, its own parts."""

import pytest

from bagscan.cli.terminal import PRESETS
from bagscan.config import read_yaml
from bagscan.core.errors import ConfigError
from bagscan.model import Model
from bagscan.training.detection import DetectionExperiment
from bagscan.training.experiment import read_experiment, train
from bagscan.training.joint_experiment import JointExperiment

CONFIGS = sorted(PRESETS.glob("*.yaml"))
TINY = [
    "data.sources=[{format: yolo, root: ., scanner_digits: 1}]",
    "model.input.working_side_px=96",
    "model.encoder.pretrained=false",
    "training.batch_size=2",
    "training.segments_per_scan=2",
    "training.validation_scans=12",  # some of them annotated
    "training.augment.crop_px=64",
    "loop={steps: 1, warmup: 1, validate_every: 1}",
    "init_regioner=null",
]
JOINT = [path for path in CONFIGS if isinstance(read_experiment(path), JointExperiment)]
FAST = ("simulated_smoke", "simulated_raw", "xray_joint")


def test_there_are_configurations_of_every_kind():
    assert JOINT
    assert set(CONFIGS) - set(JOINT)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem in FAST else pytest.mark.slow)
        for path in JOINT
    ],
)
def test_configuration_trains_one_step(path, yolo_root, simulated_root, tmp_path, monkeypatch):
    monkeypatch.setenv("BAGSCAN_DATA", str(yolo_root))
    experiment = read_experiment(path)
    wanted = experiment.model
    smaller = ["model.encoder.size_px=32"] if "size_px" in wanted.encoder else []
    if wanted.regioner["name"] == "sub_components":
        smaller += [
            "model.regioner.items={name: mask_rcnn, backbone: test_resnet, dim: 8}",
            "model.regioner.parts={name: ssn, width: 4, n_features: 3, stride: 2}",
        ]
    elif wanted.regioner["name"] == "mask_rcnn":
        smaller += [
            "model.regioner={name: mask_rcnn, backbone: test_resnet, dim: 8}",
            "model.input.working_side_px=0",
        ]
    else:
        smaller.append("model.regioner.n_superpixels=16")
    source = experiment.data.sources[0]
    if source.format == "simulated":
        smaller.append(
            f"data.sources=[{{format: simulated, root: {simulated_root}, images: {source.images}, "
            f"views: below, items: {str(source.items).lower()}}}]"
        )
    train(read_experiment(path, TINY + smaller), tmp_path)
    model = Model.load(tmp_path / "model")
    assert (model.config.regioner["name"], model.config.encoder["backbone"]) == (
        wanted.regioner["name"],
        wanted.encoder["backbone"],
    )


DETECTION = [path for path in CONFIGS if isinstance(read_experiment(path), DetectionExperiment)]


@pytest.mark.parametrize("path", DETECTION, ids=lambda p: p.stem)
def test_detector_trains_one_step(path, simulated_root, tmp_path):
    images = read_experiment(path).data.sources[0].images
    settings = [
        f"data.sources=[{{format: simulated, root: {simulated_root}, images: {images}, "
        "views: below, annotate: device}]",
        "regioner.backbone=test_resnet",
        "regioner.pretrained=false",
        "regioner.deepest_stride=0",
        "regioner.stride=2",
        "training.batch_size=2",
        "training.validation_scans=12",  # some of them annotated
        "loop={steps: 1, warmup: 1, validate_every: 1}",
    ]
    train(read_experiment(path, settings), tmp_path)
    assert (tmp_path / "regioner.safetensors").is_file()


def test_a_mistyped_configuration_is_told_its_neighbour(tmp_path):
    (tmp_path / "detector.yaml").write_text("kind: detector")
    with pytest.raises(ConfigError, match=r"'detector\.yaml'"):
        read_yaml(tmp_path / "detectr.yaml")


@pytest.mark.parametrize(
    "setting", ["network.channels=3", "network.categories=[gun]", "network.two_views.width=8"]
)
def test_settings_that_follow_from_others_are_refused(setting):
    read_experiment(PRESETS / "detector.yaml")
    with pytest.raises(ConfigError, match=setting.split("=")[0].rpartition(".")[0]):
        read_experiment(PRESETS / "detector.yaml", [setting])
