"""Another package adds parts and formats through entry points; they train and screen."""

import json
import subprocess
import sys
from functools import partial

import pytest

from bagscan.core.errors import ModelError
from bagscan.model import Model

REGIONER = '''
"""Columns of a view."""
from dataclasses import dataclass
import numpy as np
from bagscan.contracts import Regioner
from bagscan.core import Regions
CARD = {"paper": "-", "channels": "any", "weights": "none", "limits": "a toy"}
@dataclass(frozen=True)
class Config:
    width_px: int = 16
class Columns(Regioner):
    kind = "superpixel"
    def __init__(self, config):
        super().__init__()
        self.config = config
    def regions(self, view, n_superpixels=None):
        columns = np.arange(view.shape[1]) // self.config.width_px
        return Regions.from_labels(np.broadcast_to(columns, view.shape).copy(), self.kind)
build, tiny = Columns, Config
'''
ENCODER = '''
"""Mean colours of regions."""
from dataclasses import dataclass
import torch
from bagscan.association import hard_labels
from bagscan.contracts import MapEncoder
CARD = {"paper": "-", "channels": "any", "weights": "none", "limits": "a toy"}
@dataclass(frozen=True)
class Config:
    channels: int = 3
class Means(MapEncoder):
    def __init__(self, config):
        super().__init__()
        self.config, self.dim = config, config.channels
        self.scale = torch.nn.Parameter(torch.ones(()))
    is_exportable = True
    def maps(self, image):
        return self.scale * image
    def describe_maps(self, maps, regions, chosen):
        labels = hard_labels(*regions) if isinstance(regions, tuple) else regions
        rows = [maps[i][:, labels[i] == k].mean(1) for i, k in chosen.tolist()]
        return torch.stack(rows) if rows else maps.new_zeros(0, self.dim)
    def describe_means(self, means):
        return means
    def forward(self, image, regions, chosen):
        return self.describe_maps(self.maps(image), regions, chosen)
build, tiny = Means, Config
'''
SCORER = '''
"""A plane."""
from dataclasses import dataclass
import torch
from bagscan.contracts import OddsScorer
CARD = {"paper": "-", "channels": "any", "weights": "none", "limits": "a toy"}
@dataclass(frozen=True)
class Config:
    dim: int = 3
    classes: tuple[str, ...] = ("anomaly",)
class Plane(OddsScorer):
    is_exportable = True
    def __init__(self, config):
        super().__init__()
        self.config, self.line = config, torch.nn.Linear(config.dim, 2)
    def forward(self, embeddings):
        return self.line(embeddings)
    def log_odds(self, embeddings):
        return self(embeddings)[:, 1] - self(embeddings)[:, 0]
    def score(self, embeddings):
        return self.log_odds(embeddings).sigmoid()
build, tiny = Plane, Config
'''
DATASET = '''
"""Scans of a folder, those called odd with an object in the middle."""
from dataclasses import dataclass
from bagscan.core import Annotation
from bagscan.datasets.record import Collection, Record
from bagscan.datasets.source import Source
@dataclass(frozen=True, kw_only=True)
class Config(Source):
    odd: str = "odd"
    def load(self):
        records = []
        for path in sorted(self.folder.glob("*.toy")):
            found = (Annotation("gun", (16.0, 16.0, 40.0, 40.0)),) if self.odd in path.stem else ()
            records.append(Record(path.stem, path, found))
        return Collection("toys", tuple(records))
'''
FORMAT = """
import numpy as np
from bagscan.core import View
def read(path):
    pixels = np.load(path.open("rb")).astype(np.float32)
    return View(pixels, ("red", "green", "blue"), "pseudo_colour")
"""
DEVICE = '''
"""A tube that is open at both ends."""
LAYOUTS = ("short", "long", "thick")
DIMENSIONS = {"radius_mm": (12.0, 19.0), "length_mm": (90.0, 160.0)} | {
    f"unused_{k}_mm": (1.0, 2.0) for k in range(8)
}
def build(b, d, layout):
    with b.frame((0, 0, d.radius_mm), axis="x"), b.part("tube"):
        b.cylinder("aluminium", d.radius_mm, d.length_mm, (0, 0, 0))
'''
RECIPE = """count: 2
profile: g640_coarse
devices: [tube]
parts: {train: 1}
groups: {new_stagings: 1}
items: [0, 1]
bags: {tray: 1}
ways: [taped_outside]
"""
ENTRIES = """[bagscan.devices]
tube = toy.tube
[bagscan.regions]
columns = toy.columns
[bagscan.encoders]
means = toy.means
[bagscan.scorers]
plane = toy.plane
[bagscan.datasets]
toys = toy.toys
[bagscan.formats]
toy = toy.reader:read
"""
CONFIG = """kind: joint
data: {sources: [{format: toys, root: toys, odd: odd}], fractions: [0.5, 0.25, 0.25]}
model:
  input: {working_side_px: 0}
  regioner: {name: columns, width_px: 8}
  encoder: {name: means}
  scorer: {name: plane}
training: {mode: two_stage, batch_size: 2, validation_scans: 4, augment: {crop_px: 48}}
loop: {steps: 4, warmup: 1, validate_every: 2}
"""
CHECK = """
from pathlib import Path
import toy.columns, toy.means, toy.plane, toy.reader, toy.toys
from bagscan import testing
for check, module in (
    (testing.check_regioner, toy.columns),
    (testing.check_encoder, toy.means),
    (testing.check_scorer, toy.plane),
):
    check(module)
    testing.check_part(module)
testing.check_dataset(toy.toys.Config(format="toys", root="toys"))
testing.check_format(toy.reader.read, Path("data/toys/even0.toy"))
testing.check_device("tube")
"""


@pytest.fixture
def package(tmp_path):
    import numpy as np

    folder = tmp_path / "site" / "toy"
    folder.mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "columns": REGIONER,
        "means": ENCODER,
        "plane": SCORER,
        "toys": DATASET,
        "reader": FORMAT,
        "tube": DEVICE,
    }.items():
        (folder / f"{name}.py").write_text(text)
    result = tmp_path / "site" / "toy-0.1.dist-info"
    result.mkdir()
    (result / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    (result / "entry_points.txt").write_text(ENTRIES)
    scans, rng = tmp_path / "data" / "toys", np.random.default_rng(0)
    scans.mkdir(parents=True)
    for k in range(12):
        pixels = np.full((3, 56, 64), 0.95, np.float32)
        pixels[:, 12:44, 12:52] = rng.uniform(0.3, 0.8, (3, 32, 40))
        with (scans / f"{'odd' if k % 2 else 'even'}{k}.toy").open("wb") as file:
            np.save(file, pixels)
    (tmp_path / "toy.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "check.py").write_text(CHECK)
    return tmp_path


@pytest.mark.slow
def test_parts_of_others_are_checked_trained_and_screened_with(package, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(package / "site"))
    monkeypatch.setenv("BAGSCAN_DATA", str(package / "data"))

    def python(*arguments, fails=False):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert (done.returncode != 0) is fails, done.stderr[-2000:]
        return done.stderr if fails else done.stdout

    bagscan = partial(python, "-m", "bagscan")
    python("check.py")
    assert "best model in" in bagscan("train", "toy.yaml", "--out", "run")
    bagscan("calibrate", "toy.yaml", "--model", "run/model", "--max-fpr", "0.2")
    bagscan(
        "screen", "data/toys", "--model", "run/model", "--out", "screened", "--runtime", "torch"
    )
    assert (package / "screened" / "findings.json").read_text().count('"scan_id"') >= 12
    assert json.loads((package / "run" / "model" / "model.json").read_text())["packages"] == {
        "regions": "toy 0.1",
        "encoders": "toy 0.1",
        "scorers": "toy 0.1",
    }
    with pytest.raises(ModelError, match="package toy"):  # not installed for this process
        Model.load(package / "run" / "model")
    bagscan("simulate", "--preset", "recipe.yaml", "--out", "simulated")
    assert '"tube' in (package / "simulated" / "annotations_train.json").read_text()
    # The regioner has no export; with a regioner that has one, the other two are exported.
    assert bagscan("export", "onnx", "--model", "run/model", fails=True)
    bagscan(
        "train",
        "toy.yaml",
        "--out",
        "cut",
        "--set",
        "model.regioner={name: ssn, width: 0, n_superpixels: 16}",
    )
    assert "all runtimes agree" in bagscan("export", "onnx", "--model", "cut/model", "--verify")
