"""Kinds of anomaly that no scorer was shown: each left out in turn (methods page, 4).

The encoder is trained on the other kinds as well, so each kind left out costs a training of its own;
the scorers are then fitted to the same descriptions, and compared at equal rates of false positives.
"""

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

import numpy as np
import torch

from bagscan.benchmark.cells import OURS, TABLE_2, Cell, model_and_training
from bagscan.benchmark.place import Place, samples_of, test_items, trainable
from bagscan.benchmark.run import make_sets
from bagscan.benchmark.tables import interval, spread, table_lines
from bagscan.core.errors import BagscanError, ConfigError, TrainingError
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.results import check_record, make_record, write_record
from bagscan.model import Model, ModelConfig
from bagscan.registry import part
from bagscan.training.data import load_records, obtain_split, part_records
from bagscan.training.experiment import Experiment, read_experiment
from bagscan.training.joint import JointConfig, JointTask
from bagscan.training.loop import run
from bagscan.training.one_class import SEVERAL, Descriptions, describe_samples, kind_of, load_descriptions, save_descriptions
from bagscan.training.samples import Sample, load_samples
from bagscan.training.samples import spread as evenly

Report = Callable[[str], None]
FALSE_POSITIVES = (0.01, 0.05)
ALONE = ("gaussian", "memory", "isolation", "svm")
SETTINGS: dict[str, dict[str, Any]] = {"svm": {"errors": {"name": "bigan"}}}
BENIGN_A_SAMPLE = 40
RESAMPLED = 400
DESCRIBED = 1200  # training samples that the scorers are fitted to
LEAST_OBJECTS = 8  # of a kind in the test part: fewer say nothing
REAL = Path("configs/xray_joint.yaml")


@dataclass(frozen=True)
class Scored:
    """Regions under one scorer. Attributes: scores: (n,). truth: (n,) 1, 0, -1. scan: (n,). unseen: (samples,) bool, of the kind left out."""

    scores: np.ndarray
    truth: np.ndarray
    scan: np.ndarray
    unseen: np.ndarray


def scorers_of(model: Model, train: Descriptions, left_out: str, seed: int, report: Report) -> dict[str, Any]:
    """Every scorer to compare, fitted to what is benign and, where it takes any, to anomalies of the other kinds."""
    benign, anomalous = train.benign(BENIGN_A_SAMPLE, seed), train.anomalous([left_out])
    fitted: dict[str, Any] = {"softmax": model.scorer}
    settings = dict(model.config.scorer)
    for name in ALONE:
        torch.manual_seed(seed)
        module = part("scorers", "fused")
        unseen = {"name": name, **SETTINGS.get(name, {})}
        fused = module.build(module.Config(dim=model.encoder.dim, known=settings, unseen=unseen))
        fused.known.load_state_dict(model.scorer.state_dict())
        fused.fit(benign, anomalous, seed, report)
        told = "BiGAN + SVM" if name == "svm" else name
        fitted[told], fitted[f"softmax + {told}"] = fused.unseen.eval(), fused.eval()
    return fitted


@torch.no_grad()
def judge(scorer: Any, test: Descriptions, left_out: str) -> Scored:
    """Scores of all test regions."""
    scores = torch.cat([scorer.score(rows) for rows in test.rows.split(8192)]).numpy()
    return Scored(scores, test.truth, test.scan, np.array([kind == left_out for kind in test.kinds], bool))


def found_at(scored: Scored, fpr: float, seed: int = 0) -> dict[str, Any]:
    """Share of objects of the unseen kind whose best region is above the threshold that a share ``fpr`` of benign regions pass.

    Returns:
        ``tp`` in per cent, its 95 % ``interval`` over scans drawn with replacement, and ``n`` objects.
    """
    threshold = float(np.quantile(scored.scores[scored.truth == 0], 1 - fpr, method="higher"))
    objects = np.array([k for k in np.flatnonzero(scored.unseen) if ((scored.scan == k) & (scored.truth == 1)).any()])
    best = np.array([scored.scores[(scored.scan == k) & (scored.truth == 1)].max() for k in objects])
    hit = best > threshold
    draws = np.random.default_rng(seed).integers(max(1, len(hit)), size=(RESAMPLED, len(hit)))
    rates = 100 * hit[draws].mean(1) if len(hit) else np.array([np.nan])
    return {
        "tp": 100 * float(hit.mean()) if len(hit) else float("nan"),
        "interval": [float(np.quantile(rates, q)) for q in (0.025, 0.975)],
        "n": len(hit),
        "hits": hit.astype(int).tolist(),
    }


def gained(one: Sequence[int], other: Sequence[int], seed: int = 0) -> list[float]:
    """95 % interval of the gain in TP % of ``other`` over ``one``, on the same objects drawn with replacement."""
    a, b = np.array(one), np.array(other)
    if not len(a):
        return [float("nan")] * 2
    draws = np.random.default_rng(seed).integers(len(a), size=(RESAMPLED, len(a)))
    gain = 100 * (b[draws] - a[draws]).mean(1)
    return [float(np.quantile(gain, q)) for q in (0.025, 0.975)]


def compare(model: Model, train: Descriptions, test: Descriptions, left_out: str, strata: Sequence[str], seed: int, report: Report) -> dict[str, Any]:
    """Every scorer on one kind left out.

    Args:
        strata: of every test sample, "" where there is none.
    """
    told: dict[str, Any] = {}
    for name, scorer in scorers_of(model, train, left_out, seed, report).items():
        started = time.perf_counter()
        scored = judge(scorer, test, left_out)
        spent = (time.perf_counter() - started) / max(1, len(test.kinds))
        on = np.isin(scored.scan, np.flatnonzero(scored.unseen)) | (scored.truth == 0)
        counted = on & (scored.truth >= 0)
        row: dict[str, Any] = {"auroc": auroc(scored.truth[counted], scored.scores[counted]), "seconds_per_sample": spent}
        for fpr in FALSE_POSITIVES:
            row[f"at_{fpr}"] = found_at(scored, fpr)
            by = {s: dataclasses.replace(scored, unseen=scored.unseen & (np.array(strata) == s)) for s in sorted(set(strata) - {""})}
            row[f"at_{fpr}"]["strata"] = {s: {k: v for k, v in found_at(one, fpr).items() if k != "hits"} for s, one in by.items()}
        told[name] = row
    for row in told.values():
        for fpr in FALSE_POSITIVES:
            row[f"at_{fpr}"]["gain"] = gained(told["softmax"][f"at_{fpr}"]["hits"], row[f"at_{fpr}"]["hits"])
    for row in told.values():
        for fpr in FALSE_POSITIVES:
            del row[f"at_{fpr}"]["hits"]
    return told


def without(samples: Sequence[Sample], left_out: str) -> list[Sample]:
    """Samples that hold none of a kind, not even among others."""
    return [s for s in samples if kind_of(s) != left_out and left_out not in {a.label for a in s.annotations}]


def run_left_out(
    build: Callable[[], Model],
    parts: dict[str, list[Sample]],
    training: JointConfig,
    left_out: str,
    folder: Path,
    result: Path,
    data: str,
    scale: str,
    report: Report = print,
) -> float:
    """Train without one kind, describe, compare, write the record; resumed from what is there. Returns seconds.

    Args:
        build: the model before training. parts: samples of train, val and test.
    """
    started, seed = time.monotonic(), training.loop.seed
    torch.manual_seed(seed)
    model = build()
    if not (folder / "done").exists():

        def keep(_: dict[str, float]) -> None:
            model.save(folder / "model")

        task = JointTask(model, without(parts["train"], left_out), without(parts["val"], left_out), training)
        run(task, training.loop, folder, keep, lambda text: report(f"[without {left_out}] {text}"))
        (folder / "done").touch()
    model = Model.load(folder / "model")
    described = {}
    for name in ("train", "test"):
        path = folder / f"descriptions_{name}.safetensors"
        if not path.exists():
            chosen = evenly(parts[name], DESCRIBED) if name == "train" else parts[name]
            save_descriptions(describe_samples(model, chosen, report), path)
        described[name] = load_descriptions(path)
    if not any(kind == left_out for kind in described["test"].kinds):
        raise TrainingError(f"no test sample holds {left_out}")
    strata = [s.record.about.get("stratum", "") for s in parts["test"]]
    train = described["train"]
    results = compare(model, train, described["test"], left_out, strata, seed, report)
    identity = hashlib.sha256(",".join(s.record.id for s in parts["train"]).encode()).hexdigest()
    record = make_record(
        f"unseen-{left_out}-{scale}",
        {"left_out": left_out, "scorers": results},
        data={"name": data, "hash": identity, "counts": {name: len(samples) for name, samples in parts.items()}},
        config={"scale": scale, "model": dataclasses.asdict(model.config), "training": dataclasses.asdict(training)},
        seeds=[seed],
    )
    write_record(result, record)
    return time.monotonic() - started


def read_unseen(folder: Path) -> list[dict[str, Any]]:
    """Records of the kinds that are done."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for record in found:
        check_record(record)
    return found


def markdown(records: Sequence[dict[str, Any]], title: str) -> str:
    """TP on the unseen kind at equal FP, scorer by scorer, and how often each gains on softmax beyond its interval."""
    lines = [f"### Kinds left out, {title}", ""]
    for fpr in FALSE_POSITIVES:
        key = f"at_{fpr}"
        names = list(records[0]["results"]["scorers"])
        rows = []
        for name in names:
            found = [r["results"]["scorers"][name] for r in records]
            cells = [f"{spread([one[key]['tp']])} ({interval(one[key]['interval'])})" for one in found]
            better = sum((one[key]["gain"][0] or 0) > 0 for one in found)
            worse = sum((one[key]["gain"][1] or 0) < 0 for one in found)
            mean = np.mean([one[key]["tp"] for one in found if one[key]["tp"] is not None])
            rows.append([name, f"{mean:.1f}", f"{better} / {worse}", *cells])
        lines += [f"TP % of objects of the kind left out where {100 * fpr:.0f} % of benign regions alarm (95 % interval):", ""]
        lines += table_lines(["scorer", "mean", "kinds better / worse than softmax", *[r["results"]["left_out"] for r in records]], rows)
    return "\n".join(lines)


def run_unseen(place: Place, dataset: str, only: Sequence[str] = (), report: Report = print) -> int:
    """Every kind of a data set left out in turn; what is there already is not run again. Returns how many failed.

    Args:
        place: of paper A's benchmark, whose scale and sets it shares. only: words that a kind's name must hold.

    Raises:
        ConfigError: no such data set.
    """
    if dataset not in ("simulated", "real"):
        raise ConfigError(f"no dataset {dataset!r}: simulated or real")
    steps = max(1, place.scale.steps // 2)
    parts, config, training = _simulated(place, report) if dataset == "simulated" else _real(place, report)
    loop = dataclasses.replace(training.loop, steps=steps, warmup=min(50, steps), validate_every=max(1, steps // 2), checkpoint_every=max(1, steps // 4))
    training = dataclasses.replace(training, loop=loop)
    there = Counter(kind_of(s) for s in parts["test"])
    least = 1 if place.scale.tiny_networks else LEAST_OBJECTS
    kinds = [kind for kind in sorted(there) if kind not in ("", SEVERAL) and there[kind] >= least and all(word in kind for word in only)]
    failed = 0
    for kind in kinds:
        name = kind.lower().replace(" ", "_")
        result = place.results / place.scale.name / dataset / f"{name}.json"
        if result.exists():
            report(f"{kind}: there already")
            continue
        try:
            folder = place.runs / place.scale.name / "unseen" / dataset / name
            spent = run_left_out(lambda: Model(config), parts, training, kind, folder, result, dataset, place.scale.name, report)
            report(f"{kind} left out: {spent / 60:.1f} min")
        except BagscanError as error:
            report(f"{kind} failed: {error}")
            failed += 1
    return failed


def _simulated(place: Place, report: Report) -> tuple[dict[str, list[Sample]], ModelConfig, JointConfig]:
    make_sets(place, 1, report)
    cell = Cell(TABLE_2, "high + low + Z", OURS)
    config, training = model_and_training(cell, place.scale)
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for one in place.scale.train_on:
        parts["train"] += trainable(samples_of(place, one, "train", cell.data))
        parts["val"] += samples_of(place, one, "val", cell.data)
        parts["test"] += test_items(place, one, cell.data)
    # Projected threats are of every kind, and would show the kind that is left out.
    return parts, config, dataclasses.replace(training, augment=dataclasses.replace(training.augment, threats=0.0))


def _real(place: Place, report: Report) -> tuple[dict[str, list[Sample]], ModelConfig, JointConfig]:
    experiment = read_experiment(REAL, ["model.encoder.backbone=test_resnet", "model.encoder.pretrained=false"] if place.scale.tiny_networks else [])
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{REAL} must be of kind joint")
    model = Model(experiment.model)
    records = load_records(experiment.data, report)
    folder = place.runs / place.scale.name / "unseen" / "real"
    split = obtain_split(experiment.data, records, folder, report)
    parts = {part: load_samples(part_records(experiment.data, records, split, part), model, report, split.sha256) for part in ("train", "val", "test")}
    return parts, model.config, experiment.training
