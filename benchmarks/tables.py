"""Write docs/results.md from benchmarks/results/*.json. Tables are generated, never typed.

python benchmarks/tables.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bagscan.benchmark.cells import TABLE_1, TABLE_2
from bagscan.benchmark.gbad_cells import SCALES as GBAD_SCALES
from bagscan.benchmark.gbad_tables import markdown as gbad_markdown
from bagscan.benchmark.gbad_tables import read_gbad
from bagscan.benchmark.scales import SCALES
from bagscan.benchmark.tables import TITLES, comparison, markdown, read_cells
from bagscan.benchmark.unseen import markdown as unseen_markdown
from bagscan.benchmark.unseen_run import read_unseen
from bagscan.evaluation.results import check_record

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"


LEVELS = (
    "In tables by level a segment is one region; `per_object` holds each object's best segment against the best of all benign segments of each scan, "
    "few against hundreds, so that an AUROC under one half is no fault there; a scan has the score of its worst segment. "
    "A commit with `-dirty` had changes that were committed afterwards; one that is unknown was not written down."
)
SCREENED = "As `bagscan screen` works: nothing is told, the model looks for items itself. `per_scan` counts views; bags, over both views, stand below it."
TOLD = "Where the item is, is told (its true mask): what judging parts is worth by itself. Each scan below is one item in one view."
EARLIER = "Taken before image statistics saw the item alone (.587 now) and before intervals knew which items are of one scan: they are too narrow."
WHAT = {
    "simulated_raw": f"The raw model that comes along. {TOLD}",
    "simulated_raw_1mm": f"The raw model that came along before, at 1 mm a pixel. {TOLD} {EARLIER}",
    "simulated_raw_screened": f"The raw model that comes along. {SCREENED}",
    "items_faster_rcnn": "Faster R-CNN over EfficientNet-Lite0 (`configs/items_faster_rcnn.yaml`); the AP of masks is that of its boxes taken for masks.",
    "simulated_colour": f"The colour model that comes along. {TOLD}",
    "simulated_colour_screened": f"The colour model that comes along. {SCREENED}",
}
PEER_FIGURES = {"fit_s": "s to fit", "s_per_view": "s a view", "scans_per_s": "scans a second", "peak_mb": "peak MB"}


def number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:.0f}" if isinstance(value, float) else str(value)


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(number(c) for c in row) + " |" for row in rows), ""]


def superpixels(record: dict[str, Any]) -> list[str]:
    rows = [[name, *(r[k] for k in ("asked", "count", "asa", "boundary_recall", "boundary_precision", "compactness"))] for name, found in record["results"].items() for r in found]
    return table(["method", "asked", "real count", "ASA", "BR", "BP", "CO"], rows)


def speed(record: dict[str, Any]) -> list[str]:
    return table(["benchmark", "figure", "value"], [[group, name, value] for group, row in record["results"].items() for name, value in row.items()])


def levels(record: dict[str, Any]) -> list[str]:
    """Parts against whole items: differences on the same items, and both by how far an anomaly stands out."""
    told = lambda row: f"{row['auroc']:.3f} ({row['least']:.3f}-{row['largest']:.3f})"  # noqa: E731
    differs = lambda row: f"{row['difference']:+.3f} ({row['interval'][0]:+.3f} to {row['interval'][1]:+.3f})"  # noqa: E731
    found = [(name, network, row) for name, one in record["results"].items() for network, row in one["networks"].items()]
    pairs = [[name, network, row["paired"]["n"], differs(row["paired"]["auroc"]), differs(row["paired"]["fpr_at_95_tpr"])] for name, network, row in found]
    chance = [
        [name, view, f"{row['auroc']:.3f} ({row['interval'][0]:.3f}-{row['interval'][1]:.3f})"]
        for name, one in record["results"].items()
        for view, row in one["scans by chance"].items()
    ]
    bands = [[name, network, band, one["n"], told(one), told(row["whole"][band])] for name, network, row in found for band, one in row["parts"].items()]
    out = table(["test set", "network", "items", "item AUROC, parts less whole", "FPR@95, parts less whole"], pairs)
    out += table(["test set", "scans by", "AUROC with items scored at random"], chance)
    return out + table(["test set", "network", "stands out by, in spreads of its surroundings", "anomalous items", "item AUROC by parts", "by the whole item"], bands)


def evaluation(record: dict[str, Any]) -> list[str]:
    results = record["results"]
    columns = ("n", "tp_percent", "fp_percent", "accuracy", "precision", "f1", "auroc", "average_precision", "fpr_at_95_tpr", "fpr_at_99_tpr")
    levels = [[level, *(results[level][k] for k in columns)] for level in ("per_segment", "per_object", "per_scan")]
    out = table(["level", "n", "TP %", "FP %", "A", "P", "F1", "AUROC", "AP", "FPR@95", "FPR@99"], levels)
    if "per_pixel" in results:
        out += [f"Pixel IoU of scans with objects: {number(results['per_pixel']['iou'])}.", ""]
    if "simulated" in results:
        out += simulated(results["simulated"])
    out += [f"Trivial image statistics per scan: AUROC {number(results['per_scan']['trivial_baseline']['auroc'])}.", ""]
    rows = []
    for name, row in results["within_bag"].items():
        model, dark = row["model"], row["darkness"]
        low_high = row.get("intervals", {}).get("auroc")
        interval = f"{low_high[0]:.3f}-{low_high[1]:.3f}" if low_high and None not in low_high else "-"
        rows.append(
            [
                name,
                model["auroc"],
                interval,
                dark["auroc"],
                model["average_precision"],
                dark["average_precision"],
                model["hit_at_1"],
                dark["hit_at_1"],
                model["hit_at_5"],
                dark["hit_at_5"],
                int(model["objects"]),
            ]
        )
    return out + table(["within bag", "AUROC", "95 %", "darkness", "AP", "darkness", "hit@1", "darkness", "hit@5", "darkness", "objects"], rows)


def simulated(found: dict[str, Any]) -> list[str]:
    """What simulated scans know of themselves: views fused, strata, clutter."""
    whole = found["per_scan"]
    out = ["Scans, by the maximum over their views, and by each view:", ""]
    out += table(["n", "TP %", "FP %", "AUROC", *found["views"]], [[whole["n"], whole["tp_percent"], whole["fp_percent"], whole["auroc"], *found["views"].values()]])
    rows = [[name, row["tp"]["n"], row["tp"]["percent"], row["auroc"]] for name, row in found["strata"].items()]
    out += table(["area CNR", "n", "TP %", "AUROC"], rows)
    rows = [[name, row["n"], row["tp"]["percent"], row["fp"]["percent"], row["auroc"]] for name, row in found["groups"].items()]
    return out + table(["views", "n", "TP %", "FP %", "AUROC"], rows)


def ablation(record: dict[str, Any]) -> list[str]:
    """One row per variant and group of scans."""
    rows = []
    for name, found in record["results"].items():
        for group in (g for g, row in found.items() if isinstance(row, dict) and "auroc" in row):
            row, dark = found[group], found[group]["darkness"]
            low, high = row["interval"]
            rows.append(
                [name, group, row["auroc"], f"{low:.3f}-{high:.3f}", dark["auroc"], row["hit_at_1"], dark["hit_at_1"], row["hit_at_5"], dark["hit_at_5"], int(row["objects"])]
            )
    head = ["variant", "scans", "AUROC", "95 %", "darkness", "hit@1", "darkness", "hit@5", "darkness", "objects"]
    figures = []
    for name, found in record["results"].items():
        intervals = ["-" if not v or None in v else f"{v[0]:.1f}-{v[1]:.1f}" for v in (found["intervals"]["tp_percent"], found["intervals"]["fp_percent"])]
        figures.append([name, found["tp_percent"], intervals[0], found["fp_percent"], intervals[1], found["pixel_iou"]])
    return table(head, rows) + table(["variant", "TP % per object", "95 %", "FP % per segment", "95 %", "pixel IoU"], figures)


def render() -> str:
    lines = ["# Results", "", "Generated by `python benchmarks/tables.py` from `benchmarks/results/`; losses are published too.", LEVELS, ""]
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        check_record(record)
        kinds = {
            "scorer_cost": costs,
            "peers": peer_rows,
            "peers_speed": peer_rows,
            "real_transfer": transfer,
            "superpixels": superpixels,
            "speed": speed,
            "ablation": ablation,
            "simulator": speed,
            "service": speed,
            "batch": speed,
            "superpixel_speed": speed,
            "whole_path": speed,
            "start_up": speed,
            "pooled_speed": speed,
            "levels": levels,
        }
        kind = detection if record["name"].startswith("detection-") else kinds.get(record["name"], evaluation)
        machine, data = record["machine"], record["data"]
        lines += [
            f"## {path.stem}",
            "",
            f"{record['created'][:10]}, commit {record['commit']}, {machine['cores']} cores of {machine['processor']}, "
            f"data {data['name']} ({data['hash'][:12]}), seeds {record['seeds']}.",
            "",
        ]
        lines += [WHAT[path.stem], ""] if path.stem in WHAT else []
        lines += kind(record)
        lines += [f"- {note}" for note in record["notes"]] + [""] * bool(record["notes"])
    tables = paper_a() + report_b()
    return "\n".join(with_contents(lines + tables, tables))


def with_contents(lines: list[str], first: list[str]) -> list[str]:
    """The page with links to its sections below its title, those of ``first`` on top: they are what most readers come for."""
    headings = [line for text in (first, lines[: len(lines) - len(first)]) for line in "\n".join(text).splitlines() if line.startswith(("## ", "### "))]
    anchor = lambda title: "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c in "-_")  # noqa: E731
    told = [(level, title) for level, _, title in (line.partition(" ") for line in headings)]
    return [*lines[:4], "", *(f"{'  ' * (len(level) - 2)}- [{title}](#{anchor(title)})" for level, title in told), "", *lines[4:]]


def paper_a() -> list[str]:
    """Every table of every scale of which a cell is there."""
    lines = ["## Paper A's tables on simulated scans", "", "`bagscan benchmark`; thresholds chosen on validation by Youden's index. Every test set has its own tables.", ""]
    for scale in (name for name in SCALES if (RESULTS / "paper_a" / name).is_dir()):
        detector = RESULTS / "paper_a" / scale / "detector.json"
        if detector.exists():
            record = json.loads(detector.read_text())
            check_record(record)
            regioner, data = record["config"]["regioner"], record["data"]
            told = f"{regioner['name']} over {regioner['backbone']}, trained on `{data['name']}`, on " + ", ".join(f"{n} {of}" for of, n in data["counts"].items())
            lines += [f"### The item detector; scale {scale}", "", f"{told}; AP as COCO has it:", ""]
            lines += ap_table({f"`{name}`, {kind}": scores for name, found in record["results"].items() for kind, scores in found.items()})
        cells = {name: read_cells(RESULTS / "paper_a" / scale, name) for name in TITLES}
        for table_name, records in cells.items():
            if records:
                lines += [markdown(table_name, scale, records), ""]
        if cells[TABLE_1] and cells[TABLE_2]:
            lines += [comparison(scale, cells[TABLE_1], cells[TABLE_2]), ""]
    return lines


def report_b() -> list[str]:
    """GBAD by skew, and kinds of anomaly left out."""
    lines = ["## Report B: GBAD, and parts never seen", "", "`bagscan benchmark gbad` and `bagscan benchmark unseen`; [what they say](gbad.md).", ""]
    for scale in (name for name in GBAD_SCALES if (RESULTS / "gbad" / name).is_dir()):
        for dataset in ("simulated", "sixray"):
            records = read_gbad(RESULTS / "gbad" / scale, dataset)
            if records:
                lines += [gbad_markdown(dataset, scale, records), ""]
    for folder in sorted((RESULTS / "unseen").glob("*/*")):
        records = read_unseen(folder)
        if records:
            lines += [unseen_markdown(records, f"{folder.name} scans, scale {folder.parent.name}"), ""]
    return lines


def costs(record: dict[str, Any]) -> list[str]:
    """What scorers cost beside the encoder."""
    rows = [[name, 1e3 * r["s_per_view"], 100 * r.get("share_of_encoder", 1.0), r.get("kept_mb")] for name, r in record["results"].items()]
    return table(["", "ms a view", "% of the encoder", "MB kept"], rows)


def peer_rows(record: dict[str, Any]) -> list[str]:
    """Our one-class scorers and anomalib's models."""
    rows, told = [], {key: head for key, head in PEER_FIGURES.items() if any(key in r for r in record["results"].values())}
    for name, r in record["results"].items():
        low, high = r.get("auroc_interval", (None, None))
        rows.append([name, r.get("auroc"), f"{low:.3f}-{high:.3f}" if low is not None else "-", r.get("hit_at_1"), r.get("hit_at_5"), *(r.get(key) for key in told)])
    return table(["", "within-bag AUROC", "95 %", "hit@1", "hit@5", *told.values()], rows)


def transfer(record: dict[str, Any]) -> list[str]:
    """How far simulation carries over to real scans."""
    rows = []
    for name, found in record["results"].items():
        for group, row in found.items():
            low, high = row["interval"]
            rows.append([name, group, row["auroc"], f"{low:.3f}-{high:.3f}", row["darkness"]["auroc"], row["hit_at_1"], row["darkness"]["hit_at_1"], int(row["objects"])])
    return table(["variant", "scans", "AUROC", "95 %", "darkness", "hit@1", "darkness", "objects"], rows)


def detection(record: dict[str, Any]) -> list[str]:
    return ap_table(record["results"])


def ap_table(found: dict[str, dict[str, float]]) -> list[str]:
    return table(["", "AP", "AP50", "AP75", "small", "medium", "large"], [[kind, *scores.values()] for kind, scores in found.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is not what the results give")
    text = render()
    if parser.parse_args().check:
        sys.exit(0 if PAGE.read_text() == text else f"{PAGE} is out of date: python benchmarks/tables.py")
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
