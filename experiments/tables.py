"""Write docs/results.md: tables and a chart of the records in ``experiments/results``.

Usage: ``python -m experiments.tables``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core.files import atomic_write_text
from bagscan.evaluation.operating_point import clopper_pearson
from experiments.engine import read_table

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FIGURES = PAGE.parent / "figures"
Cell = Callable[[Any], str]


def table(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[str],
    columns: Mapping[str, tuple[str, Cell]],
) -> str:
    """Return a Markdown table with a row per record; without records, a sentence.

    Args:
        records: the records.
        rows: settings that name a row; they are the first columns.
        columns: heading -> key of the results, and the function that formats its value. Dots in
            a key lead into nested results.
    """
    if not records:
        return "Not measured with the present version."
    head = [*rows, *columns]
    lines = [head, ["---"] * len(head)]
    for record in records:
        settings = [str(record["config"].get(key, "")) for key in rows]
        values = [_cell(record["results"], key, show) for key, show in columns.values()]
        lines.append([*settings, *values])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(results: Any, key: str, show: Cell) -> str:
    for name in key.split("."):
        results = results.get(name) if isinstance(results, Mapping) else None
    return "-" if results is None else show(results)


def percent(value: float) -> str:
    """Format a share as a percentage without decimals."""
    return f"{value:.0%}"


def number(decimals: int) -> Cell:
    """Return a function that formats a number with this many decimals."""
    return lambda value: f"{value:,.{decimals}f}"


def chart(
    path: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str
) -> None:
    """Draw curves into an SVG file.

    Args:
        path: the file.
        curves: name -> values of x and values of y.
        x: label of the x axis.
        y: label of the y axis.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bagscan"  # the same records give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, (xs, ys) in curves.items():
        axes.plot(xs, ys, marker="o", markersize=3, label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


TABLES = """# Results

Every number on this page comes from a record in [experiments/results](../experiments/results).
Scripts in [experiments](../experiments) make the records.
`python -m experiments.tables` writes this page.

## The detector

The bundled models score bags of preset `demo`; plausibility checks, which can make a bag `REVIEW`,
are not run.
Devices and regions are those that the detector finds.
Thresholds were chosen on validation scenes.

- **bags found**: share of bags with a hidden anomaly that raise an alarm.
- **devices found**: share of devices found, by view; **in a view**: share of those with something
  hidden that are found in at least one view.
- **95 %**: interval of this share (Clopper & Pearson).
- **right place**: share of bags with a hidden anomaly in which a flagged region is near the anomaly
  and at most two are elsewhere.
- **false alarms**: share of benign bags that raise an alarm.
- **at 10 %**: the same with thresholds that 10 % of benign validation bags reach, in place of 20 %.
- **AUROC per view**, **AUROC, both views**: how well the scores of devices separate devices with
  an anomaly from others.
- **FPR at TP 95 %**: share of benign devices above the score that 95 % of the others reach.
- **within**: AUROC of the regions of a device with an anomaly, mean over devices.
- **hit@1**: share of these devices whose highest region is near the anomaly.
- **regions**: AUROC of all regions on devices.
- **TP at FP 4.54 %**: share of anomalous regions found at that false-positive rate.
- **attenuation**: the same with the attenuation of a region alone as its score, the control.

Rates of bags and regions include anomalies that no view shows; those of devices leave them out.
A device that was not found gets the lowest score.

{detector}

The bundled model for raw scans beside the aims of this project (known stagings / new stagings /
unseen families):

{aims}

Other scans, other devices and another scanner, never used to choose anything
(`python -m experiments.detector_elsewhere`): known pieces with something hidden anew, the same with
nothing else in the bags (`bare_devices`), another collection of devices, and another scanner's.

{detector_elsewhere}

Bags of `demo` with something hidden: by kind, by way it is hidden, by device, by how much it stands
out from its surroundings (contrast in standard deviations, in its best view), and by the number of
views in which an operator could see it. Last, bags with and without something loose that a view
shows over a device, as if it were inside; these include benign bags, for false alarms.

{detector_by}

Detectors of prohibited items, on real scans that none was trained on.
Regions in an annotated box are ranked against the other regions of the same scan (AUROC, mean over
scans).
hit@1: share of objects with at most one other region ranked above their best one.
Found at one, at four: share of objects found at so many false marks per scan, with one threshold; a
mark is a region that no higher one lies close to (48 px). A region scores the classes that the
annotations of its dataset name; what they leave out counts as false, unlabelled firearms among it.
A row of its own leaves out what the model takes for a firearm, for the control too.
The control is attenuation alone.
Aims: SIXray AUROC .93 and hit@1 .80, five other scanners .88 and .60.

{real_scans}

Alarms on these scans, and on scans without items (`python -m experiments.real_alarms`). With and
without items, SIXray's scans differ in size, brightness and compression.

{real_alarms}

Training on few labelled real scans, from a simulated model and from ImageNet weights, compared on
150 other scans of each collection (`python -m experiments.few_labels`; the weights are deleted).
Without labels, the simulated model as it is:

{few_labels}

Colours of each scanner mapped to those of training (`bagscan adapt --map-colours`), without labels:
they come from half of its scans, others are compared (`python -m experiments.adapted`). Agreement
is the correlation of maps with those of changed copies; it does not show where mapping helps.

{adapted}

Is it the items or the bags that make real scans hard? Items cut out of simulated and real pictures,
put into simulated and real bags, with an earlier model. AUROC is .81 to .86 everywhere, so neither
items nor bags alone are what is hard; hit@1 differs, .23 to .73
(`python -m experiments.items_and_bags`). Last, items as they lie in simulated bags, scored by their
known outlines: boxes hold more than the item, so not even these reach an AUROC of 1.

{items_and_bags}

How easily a classifier on features of an ImageNet network distinguishes simulated crops from real
ones and, as a control, one real collection from the other (`python -m experiments.realism`). AUROC
saturates, the distance of its scores in standard deviations does not. Aim: .75.

{realism}

What parts of their training are worth: one change at a time, on a sample of the same scans
(`python -m experiments.ablation`). Bags hold up to three items here, training starts from ImageNet
weights, and there is one seed; rows of displays, labels and classes of items are missing.

{ablation}

Validation during training: AUROC of devices per view, with true device masks.

![Validation AUROC by number of training crops](figures/detector_curve.svg)

## Speed

Screening of simulated bags, from file to row.
The rate is that of one process per core; milliseconds are those of one thread.
The share outside the networks is the share of that time.

{whole_path}

Training of a detector for raw scans, all processes together; bfloat16 where the processor has it
(`python -m experiments.training_speed`).

{training_speed}

Time of a whole process, in seconds. The first run may compile kernels.

{start_up}

## Superpixels

BSDS500 validation images; scores are averaged over annotators, then over images.

{superpixels}

Time per image on one thread, with the methods in turns:

{superpixel_speed}

Kernels, measured in turns within one run: times in seconds, and their ratios.

{kernels}

## Archives and service

Rate, time and memory of the screening of archives:

{batch}

The service under load, with a worker that answers at once:

{service_load}
"""


def _every(name: str) -> str:
    """Return a Markdown table of all numbers of all records, with a row per number."""
    lines = ["| run | quantity | value |", "|---|---|---|"]
    for record in read_table(name):
        run = ", ".join(map(str, record["config"].values()))
        lines += [
            f"| {run} | {key} | {value:,.4g} |"
            for key, value in record["results"].items()
            if isinstance(value, int | float)
        ]
    return "\n".join(lines)


DETECTOR: dict[str, tuple[str, Cell]] = {
    "scenes": ("scenes", number(0)),
    "devices found": ("device_recall", percent),
    "in a view": ("host_recall", percent),
    "bags found": ("bag_tp", percent),
    "95 %": ("bag_tp_interval", str),
    "right place": ("on_the_anomaly", percent),
    "false alarms": ("bag_fp", percent),
    "at 10 %: found": ("second_bag_tp", percent),
    "at 10 %: right place": ("second_on_the_anomaly", percent),
    "at 10 %: false alarms": ("second_bag_fp", percent),
    "AUROC per view": ("view_auroc", number(3)),
    "AUROC, both views": ("device_auroc", number(3)),
    "FPR at TP 95 %": ("device_fpr_at_95", percent),
    "within": ("within_auroc", number(3)),
    "attenuation, within": ("within_darkness", number(3)),
    "hit@1": ("hit_at_1", number(2)),
    "regions": ("segment_auroc", number(3)),
    "attenuation, regions": ("segment_darkness", number(3)),
    "TP at FP 4.54 %": ("segment_tp_at_paper_fp", percent),
}
DETECTOR_ELSEWHERE = {
    name: DETECTOR[name]
    for name in (
        *("scenes", "devices found", "bags found", "95 %", "right place", "false alarms"),
        *("AUROC per view", "AUROC, both views", "within", "hit@1", "TP at FP 4.54 %"),
    )
}
AIMS = {  # key of the results and what it should be, at least unless the name says at most
    "bags found, %": ("bag_tp", "97 / 90 / 75"),
    "bags found at the right place, %": ("on_the_anomaly", "92 / 85 / 65"),
    "false alarms, %, at most": ("bag_fp", "3 / 10 / 15"),
    "AUROC per view, %": ("view_auroc", "99 / 96 / 88"),
    "AUROC, both views, %": ("device_auroc", "99 / 97 / 90"),
    "FPR at TP 95 %, %, at most": ("device_fpr_at_95", "5 / 15 / 40"),
    "within, %": ("within_auroc", "98 / 97 / 95"),
    "hit@1, %": ("hit_at_1", "90 / 85 / 75"),
    "regions: TP at FP 4.54 %, %": ("segment_tp_at_paper_fp", "98.99 / 95 / 85"),
    "devices found, in at least one view, %": ("host_recall", "99 / 99 / 99"),
}
GROUPS = ("known_stagings", "new_stagings", "unseen_families")
DETECTOR_BY = {
    "bags": ("bags", number(0)),
    **{
        name: DETECTOR[name]
        for name in ("bags found", "right place", "false alarms", "within", "hit@1")
    },
}
REAL_SCANS: dict[str, tuple[str, Cell]] = {
    "objects": ("objects", number(0)),
    "AUROC": ("auroc", number(3)),
    "95 %": ("auroc_interval", str),
    "attenuation": ("attenuation_auroc", number(3)),
    "hit@1": ("hit_at_1", number(2)),
    "attenuation, hit@1": ("attenuation_hit_at_1", number(2)),
    "found at one": ("found_at_1", percent),
    "attenuation, at one": ("attenuation_found_at_1", percent),
    "found at four": ("found_at_4", percent),
    "attenuation, at four": ("attenuation_found_at_4", percent),
}
REAL_ALARMS: dict[str, tuple[str, Cell]] = {
    "number": ("scans", number(0)),
    "scans that alarm": ("alarms", percent),
    "from": ("alarms_low", percent),
    "to": ("alarms_high", percent),
    "objects flagged": ("objects", percent),
}
ADAPTED: dict[str, tuple[str, Cell]] = {
    "scans": ("scans", number(0)),
    "agreement before": ("agreement_before", number(3)),
    "after": ("agreement", number(3)),
    "AUROC before": ("auroc_before", number(3)),
    "AUROC after": ("auroc", number(3)),
    "hit@1 before": ("hit_at_1_before", number(2)),
    "hit@1 after": ("hit_at_1", number(2)),
}
IN_BAGS = ("objects", "AUROC", "95 %", "attenuation", "hit@1", "attenuation, hit@1")
TRAINING_SPEED: dict[str, tuple[str, Cell]] = {
    "crops per second": ("crops_per_s", number(0)),
    "seconds per step": ("step_s", number(2)),
    "share of drawing": ("drawing_share", percent),
}
REALISM = {
    "colour": ("colour", number(3)),
    "distance": ("colour_distance", number(2)),
    "grey": ("grey", number(3)),
    "distance in grey": ("grey_distance", number(2)),
}
ABLATION = {
    f"{name}: {heading}": (f"{scans}_{figure}", number(decimals))
    for scans, name in (("sixray", "SIXray"), ("multiscanner", "five scanners"))
    for heading, figure, decimals in (
        ("scans", "scans", 0),
        ("AUROC", "auroc", 3),
        ("attenuation", "attenuation_auroc", 3),
        ("hit@1", "hit_at_1", 2),
    )
}
SUPERPIXELS = {
    "regions": ("count", number(0)),
    "ASA": ("asa", number(3)),
    "boundary recall": ("boundary_recall", number(3)),
    "precision": ("boundary_precision", number(3)),
}
SPEED = {
    "views per second": ("views a second", number(1)),
    "ms per view": ("ms a view", number(0)),
    "share outside the networks": ("share outside the networks", percent),
}


def _with_interval(record: dict[str, Any]) -> dict[str, Any]:
    """Add the interval of the share of bags found to a record of a detector."""
    results = record["results"]
    n = results["anomalous"]
    low, high = clopper_pearson(round(results["bag_tp"] * n), n)
    return record | {"results": results | {"bag_tp_interval": f"{low:.0%} to {high:.0%}"}}


def _with_auroc_interval(record: dict[str, Any]) -> dict[str, Any]:
    results = record["results"]
    if "auroc_low" not in results:
        return record
    interval = f"{results['auroc_low']:.3f} to {results['auroc_high']:.3f}"
    return record | {"results": results | {"auroc_interval": interval}}


def _aims() -> str:
    """Return a Markdown table of what the model for raw scans reaches, beside the aims."""
    results = {
        record["config"]["group"]: record["results"]
        for record in read_table("detector")
        if record["config"]["model"] == "raw"
    }
    lines = ["| | measured | aim |", "| --- | --- | --- |"]
    for name, (key, aim) in AIMS.items():
        measured = " / ".join(f"{100 * results[group][key]:.0f}" for group in GROUPS)
        lines.append(f"| {name} | {measured} | {aim} |")
    return "\n".join(lines)


def main() -> None:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for record in read_table("detector_curve"):
        name = f"{record['config']['model']}, validation on {record['data']['name']}"
        crops, aurocs = curves.setdefault(name, ([], []))
        crops.append(record["config"]["crops"] / 1000)
        results = record["results"]
        aurocs.append(results.get("devices", results["monitor"]))
    chart(
        FIGURES / "detector_curve.svg",
        curves,
        "training crops, thousands",
        "AUROC of devices per view",
    )
    atomic_write_text(PAGE, page())


def page() -> str:
    """Return the page of results, with a table of every kind of record."""
    tables = {
        "detector": table(
            [_with_interval(record) for record in read_table("detector")],
            ("model", "crops", "group"),
            DETECTOR,
        ),
        "detector_elsewhere": table(
            [_with_interval(record) for record in read_table("detector_elsewhere")],
            ("model", "set", "group"),
            DETECTOR_ELSEWHERE,
        ),
        "detector_by": table(read_table("detector_by"), ("model", "by", "value"), DETECTOR_BY),
        "real_scans": table(
            [_with_auroc_interval(record) for record in read_table("real_scans")],
            ("model", "scans", "group"),
            REAL_SCANS,
        ),
        "real_alarms": table(
            read_table("real_alarms"), ("model", "thresholds", "scans"), REAL_ALARMS
        ),
        "adapted": table(read_table("adapted"), ("scanner",), ADAPTED),
        "few_labels": table(
            [_with_auroc_interval(record) for record in read_table("few_labels")],
            ("scans", "labels", "start", "seed"),
            {name: REAL_SCANS[name] for name in ("AUROC", "95 %", "hit@1")},
        ),
        "realism": table(read_table("realism"), ("sets", "first", "second"), REALISM),
        "ablation": table(read_table("ablation"), ("change", "set", "steps", "seed"), ABLATION),
        "items_and_bags": table(
            [_with_auroc_interval(record) for record in read_table("items_and_bags")],
            ("items", "bags"),
            {name: REAL_SCANS[name] for name in IN_BAGS},
        ),
        "training_speed": table(
            read_table("training_speed"), ("network", "processes", "bfloat16"), TRAINING_SPEED
        ),
        "whole_path": table(read_table("whole_path"), ("model", "runtime"), SPEED),
        "superpixels": table(read_table("superpixels"), ("method", "asked"), SUPERPIXELS),
        "superpixel_speed": table(
            read_table("superpixel_speed"),
            ("method", "wanted"),
            {"ms": ("ms", number(0)), **SUPERPIXELS},
        ),
    }
    tables["aims"] = _aims()
    tables |= {name: _every(name) for name in ("start_up", "kernels", "batch", "service_load")}
    return TABLES.format(**tables)


if __name__ == "__main__":
    main()
