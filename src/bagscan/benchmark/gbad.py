"""GBAD, and what it must beat: one JSON a cell, resumable by phase."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bagscan.benchmark.gbad_cells import GATES, MODES, ON_SKEWED, TABLE, GBADCell, GBADPlace, errors_of, settings_hash
from bagscan.benchmark.gbad_images import Images, Report, images_of, input_of, require_sixray, skewed
from bagscan.core.errors import DataError
from bagscan.evaluation.baseline import image_statistics, trivial_baseline
from bagscan.evaluation.metrics import auroc
from bagscan.evaluation.multi_label import map_interval, ranking_table
from bagscan.evaluation.results import make_record, write_record
from bagscan.model import Model
from bagscan.model_config import ModelConfig
from bagscan.scorers.fitted import Told, keep_phases, load_fitted, save_fitted
from bagscan.training.loop import LoopConfig, run
from bagscan.training.multi_label import MultiLabelConfig, MultiLabelTask, embeddings_of, label_matrix
from bagscan.training.samples import Sample


def run_gbad(place: GBADPlace, wanted: Sequence[GBADCell], report: Report = print) -> int:
    """Run what is missing; returns how many failed. An error in one cell is told, and the others go on.

    Raises:
        DataError: cells of SIXray, and no images of it: told once, and not by every cell.
    """
    todo = [cell for cell in wanted if not place.is_done(cell)]
    if any(cell.dataset == "sixray" for cell in todo):
        require_sixray()
    report(f"{len(wanted) - len(todo)} of {len(wanted)} cells of scale {place.scale.name} are there")
    for cell in todo:
        try:
            report(f"{cell.slug}: {run_cell(place, cell, report):.0f} s")
        except Exception as error:  # one cell must not take the table with it
            report(f"{cell.slug} failed: {type(error).__name__}: {error}")
    return sum(not place.is_done(cell) for cell in wanted)


def run_cell(place: GBADPlace, cell: GBADCell, report: Report) -> float:
    """Train and judge one cell. Returns seconds."""
    started = time.monotonic()
    images = images_of(place, cell, report)
    train, test = images.parts["train"], images.parts["test"]
    if cell.dataset == "simulated":
        train = [train[i] for i in skewed(label_matrix(train, images.classes), cell.skew, cell.seed)]
    model, curves = _network(place, cell, train, images, report)
    told = Told(lambda text: report(f"[{cell.slug}] {text}"))
    if cell.variant in GATES:
        model = _gated(place, cell, model, train, images.classes, told)
    truth = label_matrix(test, images.classes)
    embeddings = embeddings_of(model, test)
    with torch.no_grad():
        scores = model.scorer.by_class(embeddings).numpy()
    results: dict[str, Any] = ranking_table(truth, scores, images.classes)
    results["map_interval"] = map_interval(truth, scores)
    results["any_auroc"] = auroc((truth == 1).any(1).astype(int), scores.max(1))
    results["trivial_baseline"] = _baseline(train, test, images.classes)
    results["curves"], results["told"] = curves, told
    for name, labels in (("train", label_matrix(train, images.classes)), ("test", truth)):
        positives = int((labels == 1).any(1).sum())
        results[name] = {"positives": positives, "negatives": len(labels) - positives}
    results["seconds"] = time.monotonic() - started
    record = make_record(
        f"gbad-{cell.slug}-{place.scale.name}",
        results,
        data={"name": cell.dataset, "hash": hashlib.sha256(",".join(s.record.id for s in train).encode()).hexdigest(), "counts": {"train": len(train), "test": len(test)}},
        config={"cell": dataclasses.asdict(cell), "scale": place.scale.name, "settings": settings_hash(cell, place.scale), "classes": list(images.classes)},
        seeds=[cell.seed],
        notes=[*images.notes, "A whole-image score proves nothing unless it is well above trivial_baseline, which knows image statistics alone."],
    )
    write_record(place.result(cell), record)
    return time.monotonic() - started


def _network(place: GBADPlace, cell: GBADCell, train: list[Sample], images: Images, report: Report) -> tuple[Model, list[dict[str, float]]]:
    """The classifier of a cell, and its curves; variants on the ideal set share one training."""
    scale, loss = place.scale, ON_SKEWED.get(cell.variant)
    shared = cell.variant if loss else "phase I"
    folder = place.runs / TABLE / scale.name / dataclasses.replace(cell, variant=shared).slug / settings_hash(dataclasses.replace(cell, variant=shared), scale)[:8]
    encoder = {"name": "fpn", "backbone": scale.backbone, "level_dim": scale.level_dim, "pretrained": scale.pretrained}
    config = ModelConfig(input_of(scale), {"name": "whole_image"}, encoder, {"name": "multi_label", "classes": list(images.classes)})
    every = max(1, scale.steps // 5)
    loop = LoopConfig(scale.steps, scale.learning_rate, scale.optimizer, weight_decay=0.02, warmup=min(30, scale.steps), ema=0.98 if scale.steps > 50 else 0.0, seed=cell.seed)
    loop = dataclasses.replace(loop, validate_every=every, checkpoint_every=every)
    balance = 0.5 if cell.variant == "resampled" else 0.0
    training = MultiLabelConfig(0.0 if loss else 1.0, loss=loss or "bce", balance=balance, draw_seed=cell.seed, batch_size=scale.batch, loop=loop)
    torch.manual_seed(cell.seed)
    model = Model(config)

    def keep(_: dict[str, float]) -> None:
        model.save(folder / "model")

    if not (folder / "done").exists():
        run(MultiLabelTask(model, train, images.parts["val"], training), loop, folder, keep, lambda text: report(f"[{cell.slug}] {text}"))
        (folder / "done").touch()
    curves = [{"step": row["step"], **row["validation"]} for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "validation" in row]
    return Model.load(folder / "model"), curves


def _gated(place: GBADPlace, cell: GBADCell, phase_1: Model, train: list[Sample], classes: Sequence[str], report: Report) -> Model:
    """Phases II and III on the features of phase I: the gate sees all negatives of the skewed set, and is kept beside phase I."""
    scale, name = place.scale, GATES[cell.variant]
    mode = MODES.get(cell.variant, "product")
    torch.manual_seed(cell.seed)
    model = Model(dataclasses.replace(phase_1.config, scorer={"name": "gbad", "classes": list(classes), "mode": mode, "gate": {"name": "svm", "errors": errors_of(name, scale)}}))
    model.encoder.load_state_dict(phase_1.encoder.state_dict())
    model.scorer.known.load_state_dict(phase_1.scorer.state_dict())
    model.eval()
    shared = dataclasses.replace(cell, variant=f"gate {name}")
    kept = place.runs / TABLE / scale.name / shared.slug / f"{settings_hash(shared, scale)[:8]}.safetensors"
    if kept.exists():
        load_fitted(model.scorer, kept, report)
        return model.eval()
    labels = label_matrix(train, classes)
    features = embeddings_of(model, train)
    positive, negative = (torch.from_numpy(found) for found in ((labels == 1).any(1), (labels == 0).all(1)))
    if not positive.any():
        raise DataError("phase III needs positive images")
    told = Told(report)
    keep_phases(model.scorer, kept.parent / "phases")
    model.scorer.fit(features[negative], features[positive], cell.seed, told)
    save_fitted(model.scorer, kept, told)
    return model.eval()


def _baseline(train: list[Sample], test: list[Sample], classes: Sequence[str]) -> float:
    """AUROC of any class against none by image statistics alone."""
    (x, y), (x_test, y_test) = ((np.array([image_statistics(s.pixels()) for s in part]), (label_matrix(part, classes) == 1).any(1).astype(int)) for part in (train, test))
    if min(len(np.unique(y)), len(np.unique(y_test))) < 2:
        return float("nan")
    return trivial_baseline(x, y, x_test, y_test)["auroc"]
