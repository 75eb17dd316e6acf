"""Tables of finished cells, rows as paper A prints them, and beside them what it does not print."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.benchmark.cells import ABLATION, DATA, NETWORKS, TABLE_1, TABLE_2
from bagscan.benchmark.scales import SCALES
from bagscan.core.errors import DataError
from bagscan.evaluation.items import STRATA
from bagscan.evaluation.results import read_record

OLDER = "older settings"
TITLES = {
    TABLE_1: "Object level: the item's masked crop, {benign, anomaly} (paper A, Table I)",
    TABLE_2: "Sub-component level: joint superpixels, pooled (paper A, Table II)",
    ABLATION: "What explains the gain",
}


def read_cells(folder: Path, table: str) -> list[dict[str, Any]]:
    """The records of the finished cells of one table, in its order.

    Raises:
        DataError: a file there is no record, or one of something else; it is named.
    """
    found = []
    for path in sorted((folder / table).glob("*.json")):
        record = read_record(path)
        if record["config"].get("cell", {}).get("table") != table:
            raise DataError(f"{path}: a record of something else than a cell of {table}; move it away")
        found.append(record)
    data, networks = list(DATA), list(NETWORKS)
    return sorted(found, key=lambda r: (data.index(cell_of(r)["data"]), networks.index(cell_of(r)["network"]), cell_of(r)["variant"], cell_of(r)["seed"]))


def cell_of(record: dict[str, Any]) -> dict[str, Any]:
    """The cell that a record is of, as :class:`Cell` has it."""
    cell: dict[str, Any] = record["config"]["cell"]
    return cell


def markdown(table: str, scale: str, records: Sequence[dict[str, Any]]) -> str:
    """Every table of a scale: the paper's columns per level, then what a single figure would hide."""
    if not records:
        return f"No cell of {table} at scale {scale} is there yet: bagscan benchmark {table} --scale {scale}"
    out = [f"### {TITLES[table]}; scale {scale}", ""]
    if any(cell_of(record)["seed"] for record in records):
        out += ["Of rows with several seeds: mean ± standard deviation, and from the lowest to the highest bound of the seeds' 95 % intervals.", ""]
    if scale in SCALES and SCALES[scale].tiny_networks:
        out += [f"At scale {scale} one tiny network stands in the place of all that are named: that it runs is all that this shows.", ""]
    groups = _by_row(records)
    for name in dict.fromkeys(name for record in records for name in record["results"]["sets"]):
        there = {key: members for key, members in groups.items() if name in members[0]["results"]["sets"]}
        out += [f"#### Test items of `{name}`", "", *_paper_rows(there, name), *_beyond(there, name)]
    return "\n".join(out)


def comparison(scale: str, whole: Sequence[dict[str, Any]], parts: Sequence[dict[str, Any]]) -> str:
    """Object level against sub-component level at equal TP: FP % per item where 95 and 99 % of anomalies are found.

    Args:
        whole, parts: records of ``table-1`` and ``table-2``; rows that both have.
    """
    one, other = ({key[:2]: members for key, members in _by_row(records).items() if not key[2]} for records in (whole, parts))
    rows = []
    for key in (k for k in one if k in other):
        for name in (n for n in one[key][0]["results"]["sets"] if n in other[key][0]["results"]["sets"]):
            levels = [[m["results"]["sets"][name]["per_item"] for m in members] for members in (one[key], other[key])]
            cells = [
                str(x)
                for of in ("fpr_at_95_tpr", "fpr_at_99_tpr")
                for sets in levels
                for x in (spread([s[of] for s in sets]), interval(over_seeds([s["intervals"].get(of, (None, None)) for s in sets])))
            ]
            rows.append(
                [
                    *key,
                    name,
                    *cells,
                    *(spread([s["auroc"] for s in sets]) for sets in levels),
                    _apart(*(over_seeds([s["intervals"]["fpr_at_95_tpr"] for s in sets]) for sets in levels)),
                ]
            )
    if not rows:
        return f"No row is in both tables at scale {scale} yet."
    head = ["data", "network", "set"]
    head += [f"{of}{what}" for of in ("FPR@95", "FPR@99") for level in (" object", " parts") for what in (level, f"{level}, 95 %")]
    return "\n".join([f"### Object against sub-component level at equal TP; scale {scale}", "", *table_lines([*head, "AUROC object", "AUROC parts", "FPR@95 differs"], rows)])


def _apart(one: Sequence[float | None], other: Sequence[float | None]) -> str:
    """Which of two levels has the lower rate, where the intervals do not overlap."""
    if None in (*one, *other):
        return "-"
    (a, b), (c, d) = ([float(v or 0) for v in pair] for pair in (one, other))
    return "parts lower" if d < a else "object lower" if b < c else "intervals overlap"


def _by_row(records: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Seeds of one row together; what was trained or judged otherwise is a row of its own, and called older."""
    settings = [_settings(record) for record in records]
    known: dict[tuple[str, str, str], list[str]] = {}  # of a row, newest first
    for number in sorted(range(len(records)), key=lambda n: records[n]["created"], reverse=True):
        ages = known.setdefault(_row(records[number]), [])
        if settings[number] not in ages:
            ages.append(settings[number])
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record, own in zip(records, settings, strict=True):
        data, network, variant = _row(record)
        age = known[data, network, variant].index(own)
        words = [variant] * bool(variant) + [f"{OLDER}{f' {age}' * (age > 1)}"] * bool(age)
        groups.setdefault((data, network, ", ".join(words)), []).append(record)
    return groups


def newest(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of each row's newest settings: what a figure, which has no room to tell ages apart, may show side by side."""
    kept = {id(member) for (_, _, words), members in _by_row(records).items() if OLDER not in words for member in members}
    return [record for record in records if id(record) in kept]


def _row(record: dict[str, Any]) -> tuple[str, str, str]:
    cell = cell_of(record)
    return cell["data"], cell["network"], cell["variant"]


def _settings(record: dict[str, Any]) -> str:
    """All that a record depends on but its seed."""
    training = record["config"]["training"]
    training = training | {"loop": training["loop"] | {"seed": None}}
    return json.dumps([record["config"]["model"], training, record["data"]["hash"], list(record["results"]["sets"]), record["config"].get("judgement")], sort_keys=True)


def over_seeds(intervals: Sequence[Sequence[float | None]]) -> tuple[float | None, float | None]:
    """From the lowest to the highest bound of all seeds: each interval is of the scans alone."""
    bounds = [(low, high) for low, high in intervals if low is not None and high is not None]
    return (min(low for low, _ in bounds), max(high for _, high in bounds)) if bounds else (None, None)


Pick = Callable[[dict[str, Any]], Any]


def _paper_rows(groups: dict[tuple[str, str, str], list[dict[str, Any]]], name: str) -> list[str]:
    columns = ("accuracy", "precision", "f1", "tp_percent", "fp_percent")
    rows = []
    for key, members in groups.items():
        sets = [m["results"]["sets"][name] for m in members]
        for level, of in (("item", "per_item"), ("segment", "per_segment"), ("scan", "per_scan")):
            if of == "per_segment" and sets[0][of]["n"] == sets[0]["per_item"]["n"]:
                continue  # object level: the segment is the item
            intervals = [interval(over_seeds([s[of]["intervals"][c] for s in sets])) for c in ("tp_percent", "fp_percent")]
            rows.append([*_names(key), level, *(spread([s[of][c] for s in sets]) for c in columns), *intervals])
    return table_lines(["data", "network", "level", "A", "P", "F1", "TP %", "FP %", "95 % of TP", "95 % of FP"], rows)


def _beyond(groups: dict[tuple[str, str, str], list[dict[str, Any]]], name: str) -> list[str]:
    rows, levels, parts, apart, views = [], [], [], [], []
    rows_of = [*STRATA, "50 and above"]
    for key, members in groups.items():
        sets = [m["results"]["sets"][name] for m in members]
        item: Pick = lambda s: s["per_item"]  # noqa: E731
        first = sets[0]
        rows.append(
            [
                *_names(key),
                spread([item(s)["auroc"] for s in sets]),
                interval(over_seeds([item(s)["intervals"]["auroc"] for s in sets])),
                spread([s["trivial_baseline"] for s in sets]),
                spread([item(s)["average_precision"] for s in sets]),
                spread([item(s)["fpr_at_95_tpr"] for s in sets]),
                interval(over_seeds([item(s)["intervals"]["fpr_at_95_tpr"] for s in sets])),
                spread([item(s)["fpr_at_99_tpr"] for s in sets]),
                spread([s["per_segment"]["n"] / item(s)["n"] for s in sets]),
                _localised(sets),
                spread([s["reliability"]["ece"] for s in sets]),
                spread([s["seconds_per_item"] for s in sets]),
                spread([m["results"]["seconds"]["all"] / 60 for m in members]),
            ]
        )
        of_level: Callable[[str, str], str] = lambda level, what: spread([s[level][what] for s in sets])  # noqa: E731, B023
        levels.append(
            [
                *_names(key),
                *(
                    text
                    for level, control in (("per_segment", "darkness"), ("per_scan", "trivial_baseline"))
                    for text in (
                        f"{of_level(level, 'auroc')} ({interval(over_seeds([s[level]['intervals']['auroc'] for s in sets]))})",
                        spread([s[level].get(control) for s in sets]),
                        *(of_level(level, what) for what in ("average_precision", "fpr_at_95_tpr", "fpr_at_99_tpr")),
                    )
                ),
            ]
        )
        views.append([*_names(key), *(spread([s["views"][v] for s in sets]) for v in first["views"])])
        of = lambda x, name: spread([s["strata"][x][name] for s in sets])  # noqa: E731, B023
        percent = lambda x, name: spread([s["strata"][x].get(name, {"percent": None})["percent"] for s in sets])  # noqa: E731, B023
        lost: Callable[[str], Any] = lambda x: first["strata"][x].get("not_shown", "?")  # noqa: E731, B023
        shown: Callable[[str], Any] = lambda x: first["strata"][x]["tp"]["n"]  # noqa: E731, B023
        parts.append(
            [
                *_names(key),
                *(
                    f"{percent(x, 'tp')} of {shown(x)}, {percent(x, 'tp_of_all')} of {shown(x)} + {lost(x)} ({of(x, 'auroc')}, {of(x, 'fpr_at_99_tpr')})" if shown(x) else "-"
                    for x in rows_of
                ),
            ]
        )
        apart.append([*_names(key), *(_group([s["groups"][g] for s in sets]) for g in first["groups"])])
    out = table_lines(
        [
            "data",
            "network",
            "AUROC item",
            "95 %",
            "statistics alone",
            "AP",
            "FPR@95",
            "95 %",
            "FPR@99",
            "parts an item that count",
            "AUROC item, detected (true masks of the same)",
            "ECE item",
            "s an item",
            "minutes",
        ],
        rows,
    )
    out += ["By segment, and by scan:", ""]
    controls = (("segment", "darkness alone"), ("scan", "statistics alone"))
    out += table_lines(["data", "network", *(f"{what} {level}" for level, control in controls for what in ("AUROC (95 %)", control, "AP", "FPR@95", "FPR@99"))], levels)
    out += ["AUROC of scans by one view, and by both:", ""]
    out += table_lines(["data", "network", *next(iter(groups.values()))[0]["results"]["sets"][name]["views"]], views)
    out += [
        "By area CNR of the anomaly, at the threshold of the table above: TP % of the n items that show it, TP % of these + the m views in which none does, all of them "
        "missed (AUROC and FPR at 99 % TPR, of items that show it):",
        "",
    ]
    out += table_lines(["data", "network", *rows_of], parts)
    titles = list(next(iter(groups.values()))[0]["results"]["sets"][name]["groups"])
    out += ["TP % / FP % (AUROC) of items, apart:", ""]
    return out + table_lines(["data", "network", *titles], apart)


def _group(found: Sequence[dict[str, Any]]) -> str:
    tp, fp = (spread([g[rate]["percent"] for g in found]) for rate in ("tp", "fp"))
    return f"{tp} / {fp} ({spread([g['auroc'] for g in found])})"


def _localised(sets: Sequence[dict[str, Any]]) -> str:
    """AUROC of the devices that the detector found under its masks, and of the same devices under the true ones."""
    if "missed" not in sets[0].get("detected", {}):  # judged before the two were the same devices
        return "-"
    found, true = (spread([s["detected"][name]["auroc"] for s in sets]) for name in ("detected", "true masks"))
    return f"{found} ({true})"


def _names(key: tuple[str, str, str]) -> list[str]:
    data, network, variant = key
    return [data, network + (f", {variant}" if variant else "")]


def spread(values: Sequence[float | None]) -> str:
    """Mean of seeds and their standard deviation; the figure alone where there is one seed."""
    known = np.array([v for v in values if v is not None], float)
    if not len(known):
        return "-"
    digits = 3 if abs(known).max() <= 1 else 1
    return f"{known.mean():.{digits}f}" + (f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else "")


def interval(pair: Sequence[float | None]) -> str:
    """``low-high``."""
    low, high = pair
    if low is None or high is None:
        return "-"
    digits = 3 if abs(high) <= 1 else 1
    return f"{low:.{digits}f}-{high:.{digits}f}"


def table_lines(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(map(str, row)) + " |" for row in rows), ""]
