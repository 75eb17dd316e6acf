"""Figures as paper A's 4 and 5, and the curves that it does not show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from skimage.segmentation import find_boundaries

from bagscan.benchmark.cells import DATA, NETWORKS, TABLE_1, TABLE_2, Cell
from bagscan.benchmark.place import Place, samples_of
from bagscan.benchmark.tables import cell_of, newest, read_cells
from bagscan.core import View
from bagscan.core.errors import DataError
from bagscan.evaluation.items import STRATA
from bagscan.model import Model
from bagscan.training.joint import judge_samples
from bagscan.training.judging import judge_items
from bagscan.training.samples import Sample

GREEN, RED = (0.1, 0.75, 0.3), (0.95, 0.1, 0.1)
# Of a kind of image, in every figure; no two that red-green blind eyes take for one another (Okabe & Ito 2008).
COLOURS = dict(zip(DATA, ("#d55e00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#000000"), strict=True))
STYLES = {TABLE_1: "--", TABLE_2: "-"}
LEVELS = {TABLE_1: "whole item", TABLE_2: "parts"}
EXAMPLES = 4
MAGNIFIED = 3  # pixels that one of an item is drawn as, so that outlines are thinner than what they outline
PNG = {"dpi": 110, "bbox_inches": "tight", "metadata": {"Software": None}}


def draw_all(place: Place, out: Path, report: Callable[[str], None] = print) -> list[Path]:
    """Every figure that the finished cells of a scale give.

    Raises:
        DataError: no cell is there yet.
    """
    tables = {table: newest(read_cells(place.results / place.scale.name, table)) for table in (TABLE_1, TABLE_2)}
    if not any(tables.values()):
        raise DataError(f"no finished cell of scale {place.scale.name} in {place.results}: bagscan benchmark table-2 --scale {place.scale.name} first")
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    for one in place.scale.train_on:
        drawn += [roc_and_det(tables, one.name, out / f"roc_{one.name}.png"), strata(tables, one.name, out / f"strata_{one.name}.png")]
    drawn.append(reliability(tables[TABLE_2] or tables[TABLE_1], place.scale.train_on[-1].name, out / "reliability.png"))
    outlined = [contours(place, table, tables[table], out / name, report) for table, name in ((TABLE_1, "contours_whole.png"), (TABLE_2, "contours.png"))]
    return drawn + [path for path in outlined if path]


def _scale(records: Sequence[dict[str, Any]]) -> str:
    return str(records[0]["config"]["scale"])


def _panels(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Cells of the first seed by network, in the order of the tables."""
    chosen = [r for r in records if r["config"]["cell"]["seed"] == min(x["config"]["cell"]["seed"] for x in records)]
    by_network = {name: [r for r in chosen if cell_of(r)["network"] == name] for name in NETWORKS}
    return {name.split(" (")[0]: own for name, own in by_network.items() if own}


def roc_and_det(tables: dict[str, list[dict[str, Any]]], name: str, path: Path) -> Path:
    """ROC of items of every cell of the first seed, and the same as detection error trade-off (Martin et al. 1997): a column a network."""
    every = [r for records in tables.values() for r in records]
    panels = _panels(every)
    figure, axes = plt.subplots(2, len(panels), figsize=(max(6.0, 3.3 * len(panels)), 7.0), squeeze=False, sharey="row")
    ticks = np.array([0.01, 0.05, 0.2, 0.5, 0.8, 0.95])
    for column, (network, records) in enumerate(panels.items()):
        roc, det = axes[:, column]
        for record in records:
            curve, cell = record["results"]["sets"][name]["roc"], cell_of(record)
            fpr, tpr = np.array(curve["fpr"]), np.array(curve["tpr"])
            look = {"color": COLOURS[cell["data"]], "ls": STYLES[cell["table"]], "lw": 1.3}
            roc.plot(fpr, tpr, **look)
            det.plot(_probit(fpr), _probit(1 - tpr), **look)
        roc.plot([0, 1], [0, 1], color="0.75", lw=0.8)
        det.plot(_probit(np.linspace(0, 1, 200)), _probit(1 - np.linspace(0, 1, 200)), color="0.75", lw=0.8)
        roc.set(title=network, xlabel="false-positive rate")
        det.set(xlabel="false-positive rate, %", xticks=_probit(ticks), yticks=_probit(ticks))
        for axis in (det.xaxis, det.yaxis):
            axis.set_ticklabels([f"{100 * t:g}" for t in ticks])
    axes[0, 0].set_ylabel("true-positive rate")
    axes[1, 0].set_ylabel("miss rate, %")
    figure.suptitle(f"ROC above, detection error trade-off below; test items of {name}, scale {_scale(every)}, first seed; grey: chance", fontsize=10)
    levels = [Line2D([], [], color="0.3", ls=STYLES[table], label=LEVELS[table]) for table in STYLES if tables.get(table)]
    _legend(figure, every, levels)
    return _save(figure, path)


def _legend(figure: Figure, records: Sequence[dict[str, Any]], more: Sequence[Line2D] = ()) -> None:
    """One for all panels, below them: kinds of image by colour."""
    there = {cell_of(r)["data"] for r in records}
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.legend(
        handles=[*(Line2D([], [], color=c, lw=2, label=name) for name, c in COLOURS.items() if name in there), *more], loc="lower center", ncols=8, fontsize=8, frameon=False
    )


def _probit(rate: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.ppf(np.clip(rate, 2e-3, 1 - 2e-3)))


def strata(tables: dict[str, list[dict[str, Any]]], name: str, path: Path) -> Path:
    """TP % of items by area CNR with intervals, at the threshold chosen on validation, and the FP % that it costs: a column a network, a row a level."""
    every = [r for records in tables.values() for r in records]
    panels, levels = _panels(every), [table for table in (TABLE_2, TABLE_1) if tables.get(table)]
    figure, axes = plt.subplots(len(levels), len(panels), figsize=(max(5.0, 3.4 * len(panels)), 0.6 + 3.4 * len(levels)), squeeze=False, sharey=True)
    for row, table in zip(axes, levels, strict=True):
        for axis, (network, own) in zip(row, panels.items(), strict=True):
            _stratum_rates(axis, [r for r in own if cell_of(r)["table"] == table], name)
            axis.set_title(network, fontsize=10)
        row[0].set_ylabel(f"items called anomalous by {LEVELS[table]}, %")
    figure.suptitle(f"True positives by area contrast-to-noise ratio; test items of {name}, scale {_scale(every)}, first seed", fontsize=10)
    _legend(figure, every)
    return _save(figure, path)


def _stratum_rates(axis: Axes, records: Sequence[dict[str, Any]], name: str) -> None:
    """One panel: every stratum, however few its items are, and the benign items."""
    for k, record in enumerate(records):
        results = record["results"]["sets"][name]
        rates = [results["strata"][s]["tp"] for s in STRATA] + [{"percent": results["per_item"]["fp_percent"], "interval": results["per_item"]["intervals"]["fp_percent"]}]
        at = np.arange(len(rates)) + (k - (len(records) - 1) / 2) * 0.8 / len(records)
        middle, ends = np.array([r["percent"] for r in rates], float), np.array([r["interval"] for r in rates], float)
        axis.errorbar(at, middle, np.abs(ends.T - middle), fmt="o", ms=3.5, lw=1, capsize=2, color=COLOURS[cell_of(record)["data"]])
    axis.axvspan(len(STRATA) - 0.5, len(STRATA) + 0.5, color="0.93", lw=0)
    axis.set(xticks=range(len(STRATA) + 1), xlim=(-0.5, len(STRATA) + 0.5), ylim=(0, 102))
    counts = [records[0]["results"]["sets"][name]["strata"][s]["tp"]["n"] if records else 0 for s in STRATA]
    axis.set_xticklabels([*(f"{s}\n{n} item{'s' * (n != 1)}" for s, n in zip(STRATA, counts, strict=True)), "benign\n(FP %)"], fontsize=7)


def reliability(records: Sequence[dict[str, Any]], name: str, path: Path) -> Path:
    """What share of items with a score of about p is anomalous (DeGroot & Fienberg 1983): a panel a network."""
    panels = _panels(records)
    figure, axes = plt.subplots(1, len(panels), figsize=(max(5.0, 3.2 * len(panels)), 3.9), squeeze=False, sharey=True)
    for axis, (network, own) in zip(axes[0], panels.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.75", lw=0.8)
        errors = []
        for record in own:
            table = record["results"]["sets"][name]["reliability"]
            axis.plot(table["score"], table["anomalous"], "o-", ms=3.5, lw=1.2, color=COLOURS[cell_of(record)["data"]])
            errors.append(table["ece"])
        axis.set(title=f"{network}\nECE {min(errors):.2f}-{max(errors):.2f}", xlabel="calibrated score", xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].set_ylabel("share that is anomalous")
    figure.suptitle(f"Reliability of items' scores; {LEVELS[cell_of(records[0])['table']]}, {name}, scale {_scale(records)}, first seed", fontsize=10)
    _legend(figure, records)
    return _save(figure, path)


def contours(place: Place, table: str, records: Sequence[dict[str, Any]], path: Path, report: Callable[[str], None]) -> Path | None:
    """Items of the test set under each kind of image, benign green and anomalous red: whole ones, or their segments (paper A, Figs. 4 and 5).

    One network, the last of the table that has rows; models are read from the run folders, where they are there.
    """
    panels = _panels(records)
    if not panels:
        report(f"no cell of {table} is there: its contours are not drawn")
        return None
    level, outline = ("segment", _outlined_segments) if table == TABLE_2 else ("item", _outlined_item)
    network, rows = list(panels.items())[-1]
    models = {r["config"]["cell"]["data"]: (place.run_folder(Cell(**r["config"]["cell"])) / "model", r["results"]["thresholds"][level]) for r in rows}
    for data in [data for data, (folder, _) in models.items() if not folder.is_dir()]:
        report(f"no model of {table}, {data}, {network} in {place.runs}: its contours are not drawn")
        del models[data]
    if not models:
        return None
    one = place.scale.train_on[-1]
    shown = _examples(samples_of(place, one, "test", next(iter(models))))
    figure, axes = plt.subplots(len(shown), 1 + len(models), figsize=(2.7 * (1 + len(models)), 2.7 * len(shown)), squeeze=False)
    pictures = {s.record.id: s for s in samples_of(place, one, "test", "pseudo-colour")}
    for column, (data, (folder, threshold)) in enumerate(models.items(), 1):
        report(f"outlining items of {one.name}, {data}")
        model = Model.load(folder)
        for row, sample in enumerate(s for s in samples_of(place, one, "test", data) if s.record.id in {x.record.id for x in shown}):
            axes[row, column].imshow(outline(model, sample, threshold))
            axes[0, column].set_title(data, fontsize=9)
    for row, sample in enumerate(shown):
        picture = pictures[sample.record.id].pixels().transpose(1, 2, 0)
        axes[row, 0].imshow(picture)
        for mask in sample.masks():
            axes[row, 0].contour(mask, [0.5], colors=[RED], linewidths=0.9)
        told = sample.record.about.get("kind", "benign").replace("_", " ")
        axes[row, 0].set_ylabel(f"{sample.record.item.label if sample.record.item else ''}: {told}", fontsize=8)
    axes[0, 0].set_title("truth", fontsize=9)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.suptitle(f"{network}, scale {place.scale.name}: {'segments' if table == TABLE_2 else 'whole items'} judged benign (green) and anomalous (red)", fontsize=10, y=1.0)
    figure.tight_layout()
    _save(figure, path)
    Image.open(path).convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)  # a third of the size, and nobody sees it
    return path


def _examples(samples: Sequence[Sample]) -> list[Sample]:
    """Anomalous items of different devices with large anomalies, and one benign."""
    hiding = sorted((s for s in samples if s.annotations), key=lambda s: -int(s.masks().sum()))
    chosen: dict[str, Sample] = {}
    for sample in hiding:
        chosen.setdefault(sample.record.scanner, sample)
    benign = [s for s in samples if not s.annotations][:1]
    kept = {s.record.id for s in [*list(chosen.values())[:EXAMPLES], *benign]}
    return [s for s in samples if s.record.id in kept]


def _outlined_segments(model: Model, sample: Sample, threshold: float) -> np.ndarray:
    """(3 H, 3 W, 3) one item in grey, its segments outlined."""
    bag = judge_samples(model, [sample])[0]
    view = sample.full_view()
    regions, _ = model.judge(view)
    picture, labels = _magnified(_grey(view)), _magnified(regions.labels)
    flagged, shown = (bag.scores >= threshold) & bag.foreground, bag.foreground[labels]
    edges = shown & find_boundaries(np.where(shown, labels, -1), mode="inner")
    picture[edges] = 0.6 * picture[edges] + 0.4 * np.array(GREEN)
    picture[edges & flagged[labels]] = RED
    return picture


def _outlined_item(model: Model, sample: Sample, threshold: float) -> np.ndarray:
    """(3 H, 3 W, 3) one item in grey, outlined whole."""
    picture = _magnified(_grey(sample.full_view()))
    region = np.ones(picture.shape[:2], bool) if sample.region is None else _magnified(sample.region)
    edges = find_boundaries(np.pad(region, 1), mode="thick")[1:-1, 1:-1]
    picture[edges] = RED if judge_items(model, [sample])[0].score >= threshold else GREEN
    return picture


def _grey(view: View) -> np.ndarray:
    """(H, W, 3) of a view as people look at it: colour as it is, other channels averaged, effective Z dark where it is high."""
    pixels = view.pixels.copy()
    for k, name in enumerate(view.channels):
        if name == "zeff":
            pixels[k] = 1 - (pixels[k] / 30).clip(0, 1)
    seen = pixels[:3].transpose(1, 2, 0) if view.quantity == "pseudo_colour" else np.repeat(pixels.mean(0)[..., None], 3, 2)
    return np.asarray(seen.clip(0, 1))


def _magnified(image: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(image, MAGNIFIED, 0), MAGNIFIED, 1)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, **PNG)
    plt.close(figure)
    return path
