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
from skimage.segmentation import find_boundaries

from bagscan.benchmark.cells import TABLE_1, TABLE_2, Cell
from bagscan.benchmark.place import Place, samples_of
from bagscan.benchmark.tables import newest, read_cells
from bagscan.core.errors import DataError
from bagscan.evaluation.items import STRATA
from bagscan.model import Model
from bagscan.training.joint import judge_samples
from bagscan.training.samples import Sample

GREEN, RED = (0.1, 0.75, 0.3), (0.95, 0.1, 0.1)
COLOURS = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]  # a table has more rows than the usual ten
EXAMPLES = 4
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
        drawn += [roc_and_det(tables, one.name, out / f"roc_{one.name}.png"), strata(tables[TABLE_2] or tables[TABLE_1], one.name, out / f"strata_{one.name}.png")]
    drawn.append(reliability(tables[TABLE_2] or tables[TABLE_1], place.scale.train_on[-1].name, out / "reliability.png"))
    contours_drawn = contours(place, tables[TABLE_2], out / "contours.png", report)
    return drawn + ([contours_drawn] if contours_drawn else [])


def _scale(records: Sequence[dict[str, Any]]) -> str:
    return str(records[0]["config"]["scale"])


def _label(record: dict[str, Any]) -> str:
    cell = record["config"]["cell"]
    return f"{cell['data']}, {cell['network'].split(' (')[0]}"


def roc_and_det(tables: dict[str, list[dict[str, Any]]], name: str, path: Path) -> Path:
    """ROC of items of every cell of the first seed, and the same as detection error trade-off (Martin et al. 1997)."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.4))
    for axis in axes:
        axis.set_prop_cycle(color=COLOURS)
    for table, style in ((TABLE_1, "--"), (TABLE_2, "-")):
        for record in _first_seed(tables[table]):
            curve = record["results"]["sets"][name]["roc"]
            fpr, tpr = np.array(curve["fpr"]), np.array(curve["tpr"])
            where = "object" if table == TABLE_1 else "sub-component"
            axes[0].plot(fpr, tpr, style, lw=1.3, label=f"{where}: {_label(record)}")
            axes[1].plot(_probit(fpr), _probit(1 - tpr), style, lw=1.3)
    axes[0].plot([0, 1], [0, 1], color="0.7", lw=0.8)
    axes[0].set(xlabel="false-positive rate of items", ylabel="true-positive rate", title=f"ROC, test items of {name}, scale {_scale(tables[TABLE_1] or tables[TABLE_2])}")
    ticks = np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])
    axes[1].set(xlabel="false-positive rate, %", ylabel="miss rate, %", title="DET", xticks=_probit(ticks), yticks=_probit(ticks))
    for axis in (axes[1].xaxis, axes[1].yaxis):
        axis.set_ticklabels([f"{100 * t:g}" for t in ticks])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", ncols=3, fontsize=7, bbox_to_anchor=(0.5, 0.02))  # below, however many rows
    return _save(figure, path)


def _probit(rate: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(norm.ppf(np.clip(rate, 2e-3, 1 - 2e-3)))


def _first_seed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [r for r in records if r["config"]["cell"]["seed"] == min(x["config"]["cell"]["seed"] for x in records)]


def strata(records: Sequence[dict[str, Any]], name: str, path: Path) -> Path:
    """TP % of items by area CNR, with intervals, at the threshold chosen on validation."""
    figure, axes = plt.subplots(figsize=(8, 4.2))
    axes.set_prop_cycle(color=COLOURS)
    chosen = _first_seed(records)
    for k, record in enumerate(chosen):
        table = record["results"]["sets"][name]["strata"]
        rows = [(i, table[s]["tp"]) for i, s in enumerate(STRATA) if table[s]["tp"]["n"]]
        at = np.array([i for i, _ in rows]) + (k - len(chosen) / 2) * 0.8 / max(1, len(chosen))
        middle = np.array([t["percent"] for _, t in rows])
        ends = np.array([t["interval"] for _, t in rows]).reshape(-1, 2)
        axes.errorbar(at, middle, np.abs(ends.T - middle), fmt="o", ms=4, lw=1, capsize=2, label=_label(record))
    axes.set(
        xticks=range(len(STRATA)),
        ylim=(0, 102),
        ylabel="TP %",
        xlabel="area contrast-to-noise ratio",
        title=f"True positives by stratum, test items of {name}, scale {_scale(records)}",
    )
    axes.set_xticklabels(STRATA)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return _save(figure, path)


def reliability(records: Sequence[dict[str, Any]], name: str, path: Path) -> Path:
    """What share of items with a score of about p is anomalous (DeGroot & Fienberg 1983)."""
    figure, axes = plt.subplots(figsize=(4.6, 4.4))
    axes.set_prop_cycle(color=COLOURS)
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    for record in _first_seed(records):
        table = record["results"]["sets"][name]["reliability"]
        axes.plot(table["score"], table["anomalous"], "o-", ms=4, lw=1.2, label=f"{_label(record)} (ECE {table['ece']:.2f})")
    axes.set(xlabel="calibrated score of an item", ylabel="share that is anomalous", xlim=(0, 1), ylim=(0, 1), title=f"Reliability, {name}, scale {_scale(records)}")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return _save(figure, path)


def contours(place: Place, records: Sequence[dict[str, Any]], path: Path, report: Callable[[str], None]) -> Path | None:
    """Items of the test set under each kind of image: benign segments green, anomalous red (paper A, Figs. 4 and 5).

    One network, that of the last finished row; models are read from the run folders, where they are there.
    """
    own = [r for r in _first_seed(records) if not r["config"]["cell"]["variant"]]
    if not own:
        return None
    network = own[-1]["config"]["cell"]["network"]
    rows = [r for r in own if r["config"]["cell"]["network"] == network]
    models = {r["config"]["cell"]["data"]: (place.run_folder(Cell(**r["config"]["cell"])) / "model", r["results"]["thresholds"]["segment"]) for r in rows}
    models = {data: found for data, found in models.items() if found[0].is_dir()}
    if not models:
        report(f"no model of {network} in {place.runs}: contours are not drawn")
        return None
    one = place.scale.train_on[-1]
    shown = _examples(samples_of(place, one, "test", next(iter(models))))
    figure, axes = plt.subplots(len(shown), 1 + len(models), figsize=(2.7 * (1 + len(models)), 2.7 * len(shown)), squeeze=False)
    pictures = {s.record.id: s for s in samples_of(place, one, "test", "pseudo-colour")}
    for column, (data, (folder, threshold)) in enumerate(models.items(), 1):
        model = Model.load(folder)
        for row, sample in enumerate(s for s in samples_of(place, one, "test", data) if s.record.id in {x.record.id for x in shown}):
            _contour(axes[row, column], model, sample, threshold)
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
    figure.suptitle(f"{network}, scale {place.scale.name}: segments judged benign (green) and anomalous (red)", fontsize=10, y=1.0)
    figure.tight_layout()
    return _save(figure, path)


def _examples(samples: Sequence[Sample]) -> list[Sample]:
    """Anomalous items of different devices with large anomalies, and one benign."""
    hiding = sorted((s for s in samples if s.annotations), key=lambda s: -int(s.masks().sum()))
    chosen: dict[str, Sample] = {}
    for sample in hiding:
        chosen.setdefault(sample.record.scanner, sample)
    benign = [s for s in samples if not s.annotations][:1]
    kept = {s.record.id for s in [*list(chosen.values())[:EXAMPLES], *benign]}
    return [s for s in samples if s.record.id in kept]


def _contour(axes: Axes, model: Model, sample: Sample, threshold: float) -> None:
    """One item in grey with its segments outlined."""
    bag = judge_samples(model, [sample])[0]
    view = sample.full_view()
    regions, _ = model.judge(view)
    pixels = view.pixels.copy()
    for k, name in enumerate(view.channels):
        if name == "zeff":
            pixels[k] = 1 - (pixels[k] / 30).clip(0, 1)
    grey = pixels[:3].transpose(1, 2, 0) if view.quantity == "pseudo_colour" else np.repeat(pixels.mean(0)[..., None], 3, 2)
    picture = grey.clip(0, 1).copy()
    flagged = (bag.scores >= threshold) & bag.foreground
    edges = find_boundaries(np.where(bag.foreground[regions.labels], regions.labels, -1), mode="inner")
    picture[edges & bag.foreground[regions.labels]] = 0.45 * picture[edges & bag.foreground[regions.labels]] + 0.55 * np.array(GREEN)
    picture[edges & flagged[regions.labels]] = RED
    axes.imshow(picture)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, **PNG)
    plt.close(figure)
    return path
