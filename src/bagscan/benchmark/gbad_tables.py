"""Tables and figures of finished GBAD cells: by skew, by class, and the pictures of report B."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from bagscan.benchmark.gbad_cells import TABLE, VARIANTS, GBADCell, GBADPlace
from bagscan.benchmark.gbad_images import Report, images_of
from bagscan.benchmark.tables import interval, over_seeds, spread, table_lines
from bagscan.core.errors import DataError
from bagscan.evaluation.results import read_record
from bagscan.model import Model
from bagscan.training.multi_label import class_scores, label_matrix

PNG = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}
EXAMPLES = 8
MARKERS = "os^vDP"
RATES = {f"{average}_{what}": f"{average} {short}" for average in ("micro", "macro") for what, short in (("precision", "P"), ("recall", "R"), ("f1", "F1"))}


def read_gbad(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Records of the finished cells of one data set, in the order of the table."""
    found = [read_record(path) for path in sorted(folder.glob(f"{dataset}_*.json"))]
    return sorted(found, key=lambda r: (r["config"]["cell"]["skew"], VARIANTS.index(r["config"]["cell"]["variant"]), r["seeds"][0]))


def markdown(dataset: str, scale: str, records: Sequence[dict[str, Any]]) -> str:
    """mAP by skew and variant, AP by class, and the baseline beside them."""
    if not records:
        return f"No cell of {dataset} at scale {scale} is there yet: bagscan benchmark gbad --dataset {dataset} --scale {scale}"
    groups: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for record in records:
        cell = record["config"]["cell"]
        groups.setdefault((cell["skew"], cell["variant"]), []).append(record["results"])
    classes = records[0]["config"]["classes"]
    rows = []
    for (skew, variant), found in groups.items():
        per_class = [spread([r["ap"][c] for r in found]) for c in classes]
        rates = [spread([r[k] for r in found]) for k in RATES]
        first = found[0]
        drawn = first["train"]
        row = [f"1:{skew}" if dataset == "simulated" else f"list {skew}", f"{drawn['positives']} : {drawn['negatives']}", variant, len(found)]
        row += [spread([r["map"] for r in found]), interval(over_seeds([r["map_interval"] for r in found]))]
        row += [*per_class, *rates, spread([r["any_auroc"] for r in found]), spread([r["trivial_baseline"] for r in found])]
        rows.append([*row, *(sum(word in line for r in found for line in r["told"]) for word in ("COLLAPSED", "NOT LEARNT YET"))])
    head = ["skew asked", "positive : negative", "variant", "seeds", "mAP", "95 %, all seeds", *[f"AP {c}" for c in classes], *RATES.values()]
    head += ["AUROC any", "statistics alone", "epochs collapsed", "epochs not learnt yet"]
    return "\n".join([f"### GBAD, {dataset}; scale {scale}", "", *table_lines(head, rows)])


def draw(place: GBADPlace, dataset: str, out: Path, report: Report = print) -> list[Path]:
    """Curves, label distribution and example images of the finished cells.

    Raises:
        DataError: no cell is there yet.
    """
    records = read_gbad(place.results / place.scale.name, dataset)
    if not records:
        raise DataError(f"no finished cell of {dataset} in {place.results / place.scale.name}: bagscan benchmark gbad --dataset {dataset} first")
    out.mkdir(parents=True, exist_ok=True)
    first = GBADCell(**_of_phase_1(records)["config"]["cell"])
    images = images_of(place, first, report)
    return [
        by_skew(records, out / f"gbad_{dataset}_skew.png"),
        curves(records, out / f"gbad_{dataset}_curves.png"),
        distribution({part: label_matrix(samples, images.classes) for part, samples in images.parts.items()}, images.classes, out / f"gbad_{dataset}_labels.png"),
        examples(images.parts["test"], images.classes, _phase_1(place, first), out / f"gbad_{dataset}_examples.png"),
    ]


def _of_phase_1(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first cell of phase I, or the first of all."""
    return next((r for r in records if r["config"]["cell"]["variant"] == "phase I"), records[0])


def by_skew(records: Sequence[dict[str, Any]], path: Path) -> Path:
    """mAP of every variant against the skew, spread of seeds as bars."""
    figure, axis = plt.subplots(figsize=(7.5, 5))
    for number, variant in enumerate(VARIANTS):
        points: dict[int, list[float]] = {}
        for record in records:
            if record["config"]["cell"]["variant"] == variant and record["results"]["map"] is not None:
                points.setdefault(record["config"]["cell"]["skew"], []).append(record["results"]["map"])
        if points:
            x = sorted(points)
            style = "-" if variant in ("phase I", "GBAD") else "--"
            look: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "color": plt.get_cmap("tab20")(number), "linestyle": style}
            axis.errorbar(x, [np.mean(points[k]) for k in x], [np.std(points[k]) for k in x], capsize=3, label=variant, **look)
    axis.set(xscale="log", xlabel="negative training images for each positive one", ylabel="mAP on all test images", ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return _saved(figure, path)


def curves(records: Sequence[dict[str, Any]], path: Path) -> Path:
    """Micro and macro precision, recall and F1 while phase I trains, on training and validation images (report B)."""
    record = _of_phase_1(records)
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    rows = record["results"]["curves"]
    for axis, average in zip(axes, ("micro", "macro"), strict=True):
        for what, colour in (("precision", "tab:blue"), ("recall", "tab:orange"), ("f1", "tab:green")):
            for prefix, style in (("train_", "--"), ("", "-")):
                axis.plot([r["step"] for r in rows], [r[f"{prefix}{average}_{what}"] for r in rows], style, color=colour, label=f"{what}, {'training' if prefix else 'validation'}")
        axis.set(title=f"{average} average", xlabel="step", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    return _saved(figure, path)


def distribution(labels: dict[str, np.ndarray], classes: Sequence[str], path: Path) -> Path:
    """How many images of every part hold each class, and none."""
    figure, axis = plt.subplots(figsize=(7.5, 4))
    width = 0.8 / len(labels)
    for k, (part, matrix) in enumerate(labels.items()):
        counts = [*((matrix == 1).sum(0)), int((matrix != 1).all(1).sum())] if len(matrix) else [0] * (len(classes) + 1)
        bars = axis.bar(np.arange(len(classes) + 1) + k * width, counts, width, label=part)
        axis.bar_label(bars, fontsize=7)
    axis.set_xticks(np.arange(len(classes) + 1) + width, [*classes, "none"])
    axis.set(ylabel="images")
    axis.legend(fontsize=8)
    return _saved(figure, path)


def _phase_1(place: GBADPlace, cell: GBADCell) -> Model | None:
    """Phase I of a cell, where it is still there."""
    found = sorted((place.runs / TABLE / place.scale.name / dataclasses.replace(cell, variant="phase I").slug).glob("*/model"))
    return Model.load(found[-1]) if found else None


def examples(samples: Sequence[Any], classes: Sequence[str], model: Model | None, path: Path) -> Path:
    """Test images with their true classes, and what phase I says of them."""
    labels = label_matrix(samples, classes)
    with_any, without = np.flatnonzero((labels == 1).any(1)), np.flatnonzero((labels == 0).all(1))
    rows = [part[np.linspace(0, len(part) - 1, EXAMPLES // 2).astype(int)] for part in (with_any, without) if len(part)]
    chosen = [samples[i] for i in np.concatenate(rows)]
    scores = class_scores(model, chosen) if model else np.zeros((len(chosen), len(classes)))
    figure, axes = plt.subplots(2, EXAMPLES // 2, figsize=(3 * EXAMPLES // 2, 6))
    for axis, sample, own in zip(axes.ravel(), chosen, scores, strict=False):
        axis.imshow(sample.pixels().transpose(1, 2, 0))
        there = [c for c, v in zip(classes, label_matrix([sample], classes)[0], strict=True) if v == 1]
        said = ", ".join(f"{c} {s:.2f}" for c, s in zip(classes, own, strict=True)) if model else "phase I is gone"
        axis.set_title(f"{', '.join(there) or 'none'}\n{said}", fontsize=8)
    for axis in axes.ravel():
        axis.axis("off")
    return _saved(figure, path)


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, **PNG)
    plt.close(figure)
    return path
