"""Run the comparison on kinds left out: each costs a training of its own, since the encoder must not see the kind either."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bagscan.benchmark.cells import OURS, TABLE_2, Cell, model_and_training, names_with
from bagscan.benchmark.place import Place, is_result_of, samples_of, test_items, trainable
from bagscan.benchmark.run import make_sets
from bagscan.benchmark.unseen import ALONE, SETTINGS, TINY, compare, describe_tests, scorers_of, without
from bagscan.core.errors import BagscanError, ConfigError
from bagscan.evaluation.results import make_record, read_record, write_record
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.registry import part
from bagscan.scorers.fitted import Told
from bagscan.simulate.anomalies import KINDS
from bagscan.training.data import load_records, obtain_split, part_records
from bagscan.training.experiment import Experiment, read_experiment
from bagscan.training.joint import JointTask
from bagscan.training.joint_config import JointConfig
from bagscan.training.loop import run
from bagscan.training.one_class import Descriptions, describe_samples, load_descriptions, save_descriptions
from bagscan.training.samples import Sample, load_samples, spread

Report = Callable[[str], None]
DESCRIBED = {"train": 500, "val": 150}  # samples that scorers are fitted to, and brought to one scale by
FITTED = (*ALONE.values(), "bigan")
LEAST_OBJECTS = 8  # of a kind in the test part: fewer say nothing
REAL = Path("configs/xray_joint.yaml")


@dataclass(frozen=True)
class Material:
    """What a data set gives: samples by part, the model before training, its training, and settings of the scorers."""

    parts: dict[str, list[Sample]]
    model: ModelConfig
    training: JointConfig
    fitted: dict[str, dict[str, Any]]

    def settings(self, kind: str) -> str:
        """Hash of all that a result depends on but the code."""
        ids = {name: [s.record.id for s in samples] for name, samples in self.parts.items()}
        scorers = {name: dataclasses.asdict(part("scorers", name).Config()) for name in FITTED}
        told = [kind, dataclasses.asdict(self.model), dataclasses.asdict(self.training), ids, self.fitted, DESCRIBED, scorers]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def run_unseen(place: Place, dataset: str, only: Sequence[str] = (), report: Report = print, workers: int = 1) -> int:
    """Every kind of a data set left out in turn, seeds last; what is there already is not run again. Returns how many failed.

    Args:
        place: of paper A's benchmark, whose scale and sets it shares. only: words that ``KIND_seedN`` must hold.
        workers: processes that simulate what is missing.

    Raises:
        ConfigError: no such data set, or no such kind.
    """
    if dataset not in ("simulated", "real"):
        raise ConfigError(f"no dataset {dataset!r}: simulated or real")
    if dataset == "simulated":  # before hours of simulation
        names_with([_name(kind, seed) for seed in place.scale.seeds for kind in sorted(KINDS)], only)
    steps = max(1, place.scale.steps // 4)  # eight kinds are eight trainings
    material = _simulated(place, workers, report) if dataset == "simulated" else _real(place, report)
    loop = dataclasses.replace(material.training.loop, steps=steps, warmup=min(50, steps), validate_every=max(1, steps // 2), checkpoint_every=max(1, steps // 4))
    there = objects_by_kind(material.parts["test"])
    least = 1 if place.scale.tiny_networks else LEAST_OBJECTS
    kinds = [kind for kind in sorted(there) if there[kind] >= least]
    if len(kinds) < len(there):
        report(f"not left out, fewer than {least} objects in the test part: {', '.join(f'{k} ({there[k]})' for k in sorted(there) if k not in kinds)}")
    every = {_name(kind, seed): (kind, seed) for seed in place.scale.seeds for kind in kinds}
    failed = 0
    for name in names_with(list(every), only):
        kind, seed = every[name]
        own = dataclasses.replace(material, training=dataclasses.replace(material.training, loop=dataclasses.replace(loop, seed=seed)))
        settings, result = own.settings(kind), place.results / place.scale.name / dataset / f"{name}.json"
        if is_result_of(result, settings):
            report(f"{name}: there already")
            continue
        try:
            spent = run_left_out(own, kind, place.runs / place.scale.name / "unseen" / dataset / f"{name}_{settings[:8]}", result, dataset, place.scale.name, report)
            report(f"{name}: {spent / 60:.1f} min")
        except BagscanError as error:
            report(f"{name} failed: {error}")
            failed += 1
    return failed


def _name(kind: str, seed: int) -> str:
    return f"{kind.replace(' ', '_')}_seed{seed}"


def run_left_out(material: Material, left_out: str, folder: Path, result: Path, data: str, scale: str, report: Report = print) -> float:
    """Train without one kind, describe, compare, write the record; resumed from what is there. Returns seconds."""
    started, seed = time.monotonic(), material.training.loop.seed
    parts = {name: samples if name == "test" else without(samples, left_out) for name, samples in material.parts.items()}
    torch.manual_seed(seed)
    model = Model(material.model)
    if not (folder / "done").exists():

        def keep(_: dict[str, float]) -> None:
            model.save(folder / "model")

        run(JointTask(model, parts["train"], parts["val"], material.training), material.training.loop, folder, keep, lambda text: report(f"[without {left_out}] {text}"))
        (folder / "done").touch()
    model = Model.load(folder / "model")
    described = {name: _described(model, spread(parts[name], most), folder / f"descriptions_{name}.safetensors", report) for name, most in DESCRIBED.items()}
    told = Told(lambda text: report(f"[without {left_out}] {text}"))
    scorers = scorers_of(model, described["train"], described["val"], left_out, seed, told, material.fitted)
    results: dict[str, Any] = {"left_out": left_out, "scorers": compare(scorers, describe_tests(model, parts["test"]), left_out, seed), "told": told}
    identity = hashlib.sha256(",".join(s.record.id for s in parts["train"]).encode()).hexdigest()
    record = make_record(
        f"unseen-{left_out}-{scale}",
        results,
        data={"name": data, "hash": identity, "counts": {name: len(samples) for name, samples in parts.items()}},
        config={"scale": scale, "settings": material.settings(left_out), "model": dataclasses.asdict(model.config), "training": dataclasses.asdict(material.training)},
        seeds=[seed],
    )
    write_record(result, record)
    return time.monotonic() - started


def _fitted(place: Place) -> dict[str, dict[str, Any]]:
    return TINY if place.scale.tiny_networks else SETTINGS


def objects_by_kind(samples: Sequence[Sample]) -> Counter[str]:
    """How many there are of every kind: simulated anomalies by the sample, real objects by the box."""
    found: Counter[str] = Counter()
    for sample in samples:
        kind = sample.record.about.get("kind")
        found.update([kind] if kind and sample.annotations else [a.label for a in sample.annotations])
    return found


def _folded(sample: Sample) -> Sample:
    """Labels in lower case: of two data sets one has ``Knife``, the other ``knife``, and a kind must be left out of both."""
    return dataclasses.replace(sample, annotations=tuple(dataclasses.replace(a, label=a.label.lower()) for a in sample.annotations))


def _described(model: Model, samples: Sequence[Sample], path: Path, report: Report) -> Descriptions:
    if not path.exists():
        save_descriptions(describe_samples(model, samples, report), path)
    return load_descriptions(path)


def read_unseen(folder: Path) -> list[dict[str, Any]]:
    """Records of the kinds that are done."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def _simulated(place: Place, workers: int, report: Report) -> Material:
    make_sets(place, workers, report)
    cell = Cell(TABLE_2, "high + low + Z", OURS)
    config, training = model_and_training(cell, place.scale)
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for one in place.scale.train_on:
        parts["train"] += trainable(samples_of(place, one, "train", cell.data))
        parts["val"] += samples_of(place, one, "val", cell.data)
        parts["test"] += test_items(place, one, cell.data)
    # Projected threats are of every kind, and would show the kind that is left out.
    return Material(parts, config, dataclasses.replace(training, augment=dataclasses.replace(training.augment, threats=0.0)), _fitted(place))


def _real(place: Place, report: Report) -> Material:
    tiny = ["model.input.working_side_px=96", "model.encoder={name: pooled, backbone: test_resnet, dim: 8}", "training.batch_size=2", "training.augment.crop_px=64"]
    experiment = read_experiment(REAL, tiny if place.scale.tiny_networks else [])
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{REAL} must be of kind joint")
    model = Model(experiment.model)
    records = load_records(experiment.data, report)
    split = obtain_split(experiment.data, records, place.runs / place.scale.name / "unseen" / "real", report)
    parts = {name: [_folded(s) for s in load_samples(part_records(experiment.data, records, split, name), model, report, split.sha256)] for name in ("train", "val", "test")}
    return Material(parts, model.config, experiment.training, _fitted(place))
