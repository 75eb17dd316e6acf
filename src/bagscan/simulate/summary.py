"""Summary of a simulated dataset: counts, strata by kind and concealment, trivial baseline."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core.errors import DataError
from bagscan.core.files import atomic_write
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.render import STRATA

log = logging.getLogger(__name__)

FOLDS = 5
ENOUGH_FOR_BASELINE = 100


def read_scans(out: Path) -> list[dict[str, Any]]:
    """Return the records of all scans of a dataset, in order."""
    return [record for records in read_scenes(out) for record in records]


def read_scenes(out: Path, part: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of the scans of each scene of a dataset, in order.

    Args:
        out: folder of the dataset.
        part: split, ``train``, ``val`` or ``test``; None for all.

    Raises:
        DataError: a file is truncated or altered.
    """
    for path in sorted((out / "scans").glob("*.json")):
        records: list[dict[str, Any]] = read_json(path)["scans"]
        if part in (None, records[0]["part"]):
            yield records


def read_json(path: Path) -> dict[str, Any]:
    """Load a JSON object that the simulator has written.

    Raises:
        DataError: the file is truncated or altered.
    """
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            f"{path}: invalid JSON ({error}); delete the file and run the same command again"
        ) from error
    if not isinstance(found, dict):
        raise DataError(
            f"{path}: not a JSON object; delete the file and run the same command again"
        )
    return found


def summarise(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Write ``dataset.json`` and the merged COCO file of each split.

    Args:
        recipe: settings of the dataset.
        out: folder of the dataset.

    Returns:
        The contents of ``dataset.json``.
    """
    records = read_scans(out)
    for part in sorted({r["part"] for r in records}):
        _merge(out, part, [r for r in records if r["part"] == part])
    summary = {
        "scans": len(records),
        "views": sum(len(r["views"]) for r in records),
        "profile": recipe.profile,
        "profile_sha256": recipe.profile_sha256,
        "parts": dict(Counter(f"{r['part']}/{r['label']}" for r in records)),
        "devices": dict(Counter(r["device"] for r in records)),
        "strata": dict(
            Counter(r["anomaly"]["stratum"] for r in records if r["label"] == "anomalous")
        ),
        "strata_by_kind": _table(records, "kind"),
        "strata_by_way": _table(records, "way"),
        "no_place_found": sum(bool(r.get("no_place_found")) for r in records),
        "ambiguous_views": sum(bool(v["ambiguous"]) for r in records for v in r["views"].values()),
        "statistics_auc": statistics_auc(records),
    }
    (out / "dataset.json").write_text(json.dumps(summary, indent=1))
    log.info(text(summary))
    return summary


def text(summary: dict[str, Any]) -> str:
    """Format a summary as text."""
    rows = [
        f"{summary['scans']} scans, {summary['views']} views: "
        + ", ".join(f"{n} {name}" for name, n in sorted(summary["parts"].items()))
    ]
    names = [name for _, name in STRATA]
    # A table of fewer anomalies is meaningless.
    if sum(summary["strata"].values()) >= ENOUGH_FOR_BASELINE // 2:
        rows.append("anomalies by area contrast-to-noise ratio in their better view:")
        rows.append(f"  {'':20s}" + "".join(f"{name:>12s}" for name in names))
        for table, title in (("strata_by_kind", "by kind"), ("strata_by_way", "by concealment")):
            rows.append(f" {title}")
            rows += [
                f"  {label:20s}" + "".join(f"{row.get(name, 0):12d}" for name in names)
                for label, row in sorted(summary[table].items())
            ]
        rows.append(
            f"  {'all':20s}" + "".join(f"{summary['strata'].get(name, 0):12d}" for name in names)
        )
    if summary["no_place_found"]:
        rows.append(
            f"{summary['no_place_found']} scans are benign because no place was found "
            "for their anomaly"
        )
    auc = summary["statistics_auc"]
    if auc is not None:
        rows.append(f"AUROC of a classifier on whole-image statistics: {auc:.2f}")
    return "\n".join(rows)


def _table(records: list[dict[str, Any]], key: str) -> dict[str, dict[str, int]]:
    rows: dict[str, Counter[str]] = {}
    for record in records:
        if record["label"] == "anomalous":
            rows.setdefault(record["anomaly"][key], Counter())[record["anomaly"]["stratum"]] += 1
    return {name: dict(row) for name, row in rows.items()}


def statistics_auc(records: list[dict[str, Any]]) -> float | None:
    """Compute the cross-validated AUROC of a baseline on size, brightness and histogram of views.

    The baseline is the better of two classifiers. Folds have disjoint families of devices, so twins
    are in the same fold.

    Args:
        records: records of the scans.

    Returns:
        The AUROC, or None if there are too few scans or families.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    truth = np.array([r["label"] == "anomalous" for r in records])
    if min(truth.sum(), (~truth).sum()) < ENOUGH_FOR_BASELINE / 2:
        return None
    features = np.array(
        [[value for view in r["views"].values() for value in view["statistics"]] for r in records]
    )
    groups = np.array([r["family"] for r in records])
    if len(set(groups)) < FOLDS:
        return None
    models = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        RandomForestClassifier(200, min_samples_leaf=3, random_state=0),
    )
    scores = [
        cross_val_predict(
            model, features, truth, groups=groups, cv=GroupKFold(FOLDS), method="predict_proba"
        )[:, 1]
        for model in models
    ]
    return float(max(roc_auc_score(truth, s) for s in scores))


def _merge(out: Path, part: str, records: list[dict[str, Any]]) -> None:
    """Write the COCO file of a split as a stream, because it can exceed the memory."""
    names = sorted({e["category"] for _, e in _entries(out, records)})
    number = {name: k + 1 for k, name in enumerate(names)}
    path = out / f"annotations_{part}.json"
    with atomic_write(path) as temporary, temporary.open("w") as file:
        images = list(_images(out, records))
        file.write(
            '{"images": '
            + json.dumps(images)
            + ', "categories": '
            + json.dumps([{"id": k, "name": name} for name, k in number.items()])
            + ', "annotations": ['
        )
        for k, (_, entry) in enumerate(_entries(out, records)):
            entry = {"category_id": number[entry.pop("category")], **entry}
            file.write((",\n" if k else "\n") + json.dumps(entry))
        file.write("\n]}")


def _truths(out: Path, records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for record in records:
        for view in record["views"]:
            yield json.loads((out / "truth" / f"{record['id']}_{view}.json").read_text())


def _images(out: Path, records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for truth in _truths(out, records):
        yield {**truth["image"], "file_name": "raw/" + truth["image"]["file_name"]}


def _entries(out: Path, records: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for truth in _truths(out, records):
        for entry in truth["annotations"]:
            yield truth["image"]["id"], entry
