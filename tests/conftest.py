"""Small made-up scans that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bagscan.core.messages import MessageRecorder, attach_handler

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)


def made_up_bag(
    rng: np.random.Generator, height: int = 96, width: int = 128
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """(3, H, W) float32 bag with clutter and one dark blue bar, and the bar's xyxy box."""
    image = np.ones((3, height, width), np.float32)
    image[:, 8:-8, 8:-8] = np.array([0.95, 0.85, 0.7], np.float32)[:, None, None]
    for _ in range(6):
        y, x = rng.integers(10, height - 30), rng.integers(10, width - 30)
        image[:, y : y + 18, x : x + 18] *= np.array([0.9, 0.8, 0.6], np.float32)[:, None, None]
    y, x = int(rng.integers(12, height - 36)), int(rng.integers(12, width - 44))
    image[:, y : y + 20, x : x + 30] = np.array([0.05, 0.15, 0.6], np.float32)[:, None, None]
    image += rng.normal(0, 0.01, image.shape).astype(np.float32)
    return image.clip(0, 1), (x, y, x + 30, y + 20)


@pytest.fixture(scope="session")
def yolo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YOLO folder of 24 made-up bags from two scanners."""
    root = tmp_path_factory.mktemp("yolo")
    (root / "images").mkdir()
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("bar\n")
    rng = np.random.default_rng(0)
    for i in range(24):
        image, (x1, y1, x2, y2) = made_up_bag(rng)
        name = f"{1 + i % 2}{i:04d}"
        Image.fromarray((image.transpose(1, 2, 0) * 255).astype(np.uint8)).save(
            root / "images" / f"{name}.png"
        )
        box = ((x1 + x2) / 256, (y1 + y2) / 192, (x2 - x1) / 128, (y2 - y1) / 96)
        (root / "labels" / f"{name}.txt").write_text(
            "0 " + " ".join(f"{v:.6f}" for v in box) + "\n"
        )
    return root


@pytest.fixture(scope="session")
def simulated_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small simulated scans, four in each part."""
    from bagscan.simulate.dataset import simulate
    from bagscan.simulate.recipe import Recipe

    root = tmp_path_factory.mktemp("simulated") / "set"
    recipe = Recipe(
        devices=("phone",),
        count=12,
        seed=5,
        profile="g640_coarse",
        parts={"train": 1, "val": 1, "test": 1},
        items=(1, 2),
        more_devices=0.0,
    )
    simulate(recipe, root)
    return root


@pytest.fixture(scope="session")
def sixray_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``sixray`` of 84 made-up images, half benign; a tenth of the list is absent."""
    data = tmp_path_factory.mktemp("data")
    root = data / "sixray"
    (root / "JPEGImage").mkdir(parents=True)
    (root / "ImageSet" / "10").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 24)):
        rows = ["name,Gun,Knife,Wrench,Pliers,Scissors"]
        for i in range(count):
            positive = i % 2 == 0
            stem = f"{'P' if positive else 'N'}{part[1:3]}{i:03d}"
            rows.append(f"{stem},{1 if positive else -1},-1,{1 if i % 6 == 0 else -1},-1,-1")
            if i % 10 != 9:
                pixels = rng.integers(120, 255, (48, 64, 3), dtype=np.uint8)
                pixels[10:30, 10:40] = 20 if positive else 200
                pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:] = (
                    255,
                    255,
                    255,
                    255,
                )  # air: an image without air is not a scan
                Image.fromarray(pixels).save(root / "JPEGImage" / f"{stem}.jpg")
        (root / "ImageSet" / "10" / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return data


TINY = """
kind: joint
data:
  sources: [{format: yolo, root: ., scanner_digits: 1}]
  fractions: [0.5, 0.25, 0.25]
model:
  input: {working_side_px: 96}
  regioner: {name: ssn, n_superpixels: 40, width: 4, n_features: 3, stride: 2}
  encoder: {name: pooled, backbone: test_resnet, dim: 8}
  scorer: {name: softmax, hidden: 8}
training:
  batch_size: 2
  validation_scans: 4
  augment: {crop_px: 64}
loop: {steps: 6, warmup: 1, validate_every: 3, checkpoint_every: 2, ema: 0.5}
"""


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The messages of bagscan during a test."""
    with attach_handler(MessageRecorder()) as recorder:
        yield recorder.messages


@pytest.fixture
def tiny_config(tmp_path: Path, yolo_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that trains in seconds on ``yolo_root``."""
    monkeypatch.setenv("BAGSCAN_DATA", str(yolo_root))
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, yolo_root: Path) -> Path:
    """A trained and calibrated tiny model folder."""
    from bagscan.core import OperatingPoint
    from bagscan.model import Model
    from bagscan.training.experiment import read_experiment, train

    folder = tmp_path_factory.mktemp("run")
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAGSCAN_DATA", str(yolo_root))
        train(
            read_experiment(
                config, ["loop.steps=60", "loop.validate_every=30", "loop.learning_rate=0.01"]
            ),
            folder / "run",
        )
    model = Model.load(folder / "run" / "model")
    model.operating_point = OperatingPoint(0.6, "by hand", "val", 0.05, (0.0, 0.1))
    model.save(folder / "run" / "model")
    return folder / "run" / "model"
