"""Tables and charts of records, and the page of all headline tables: ``python experiments/tables.py`` writes docs/results.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bagscan.core.files import atomic_write_text
from experiments.engine import read_table

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
FIGURES = PAGE.parent / "figures"
Cell = Callable[[Any], str]


def table(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[str],
    columns: Mapping[str, tuple[str, Cell]],
) -> str:
    """A table of Markdown.

    Args:
        rows: settings that name a row. columns: heading -> key of the results, with dots into what is nested, and how its value is shown.
    """
    head = [*rows, *columns]
    lines = [head, ["---"] * len(head)]
    for record in records:
        named = [str(record["config"].get(key, "")) for key in rows]
        lines.append(
            [*named, *(_shown(record["results"], key, show) for key, show in columns.values())]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(results: Any, key: str, show: Cell) -> str:
    for part in key.split("."):
        results = results.get(part) if isinstance(results, Mapping) else None
    return "-" if results is None else show(results)


def percent(value: float) -> str:
    """A share, without decimals."""
    return f"{value:.0%}"


def number(decimals: int) -> Cell:
    """A figure with so many decimals."""
    return lambda value: f"{value:,.{decimals}f}"


def chart(
    path: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str
) -> None:
    """Curves in one picture.

    Args:
        path: of an SVG file. curves: name -> values of x and of y.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bagscan"  # the same file from the same records
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, (across, up) in curves.items():
        axes.plot(across, up, marker="o", markersize=3, label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


TABLES = """# Results

Every figure below is a record in [experiments/results](../experiments/results), made by a script of
[experiments](../experiments); this page is written by `python -m experiments.tables`.

## The detector

Bags of preset `demo` as screened, thresholds from validation scenes, the detector's own devices and regions. What is
found of each kind, way and device: [detector_by.jsonl](../experiments/results/detector_by.jsonl).

{detector}

Validation against crops seen: AUROC of devices by view, with true masks.

![AUROC against crops](figures/detector_curve.svg)

## Speed

{whole_path}

{start_up}

## Superpixels

BSDS500, scores averaged over annotators and images.

{superpixels}

Time in turns on one thread, milliseconds an image:

{superpixel_speed}

Kernels, as ratios of one run:

{kernels}

## Archives and service

{batch}

{service_load}
"""


def _every(name: str) -> str:
    """A table of all that its records tell, one figure a line."""
    lines = ["| what | figure | value |", "|---|---|---|"]
    for record in read_table(name):
        named = ", ".join(map(str, record["config"].values()))
        lines += [
            f"| {named} | {key} | {value:,.4g} |"
            for key, value in record["results"].items()
            if isinstance(value, int | float)
        ]
    return "\n".join(lines)


DETECTOR = {
    "scenes": ("scenes", number(0)),
    "devices found": ("device_recall", percent),
    "bags found": ("bag_tp", percent),
    "right place": ("on_the_anomaly", percent),
    "false alarms": ("bag_fp", percent),
    "AUROC by view": ("view_auroc", number(3)),
    "both views": ("device_auroc", number(3)),
    "within": ("within_auroc", number(3)),
    "hit@1": ("hit_at_1", number(2)),
    "segments": ("segment_auroc", number(3)),
    "TP at FP 4.54 %": ("segment_tp_at_paper_fp", percent),
}
SUPERPIXELS = {
    "regions": ("count", number(0)),
    "ASA": ("asa", number(3)),
    "boundary recall": ("boundary_recall", number(3)),
    "precision": ("boundary_precision", number(3)),
}
SPEED = {
    "views a second": ("views a second", number(1)),
    "ms a view, one thread": ("ms a view", number(0)),
    "outside the networks": ("share outside the networks", percent),
}


def main() -> None:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for record in read_table("detector_curve"):
        across, up = curves.setdefault(record["config"]["model"], ([], []))
        across.append(record["config"]["crops"] / 1000)
        up.append(record["results"]["monitor"])
    chart(
        FIGURES / "detector_curve.svg", curves, "crops seen, thousands", "AUROC of devices by view"
    )
    tables = {
        "detector": table(read_table("detector"), ("model", "crops", "group"), DETECTOR),
        "whole_path": table(read_table("whole_path"), ("model", "runtime"), SPEED),
        "superpixels": table(read_table("superpixels"), ("method", "asked"), SUPERPIXELS),
        "superpixel_speed": table(
            read_table("superpixel_speed"),
            ("method", "wanted"),
            {"ms": ("ms", number(0)), **SUPERPIXELS},
        ),
    }
    tables |= {name: _every(name) for name in ("start_up", "kernels", "batch", "service_load")}
    atomic_write_text(PAGE, TABLES.format(**tables))


if __name__ == "__main__":
    main()
