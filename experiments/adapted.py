"""Adapt a detector to each real scanner without labels, and measure what it is worth.

    python -m experiments.adapted MODEL [--limit 300] [--keep]

The scans of a scanner are split in halves that keep near-duplicates together: the model is adapted
to one (``bagscan adapt``) and compared on the other, with the within-bag protocol of
:mod:`experiments.real_scans`. The licences of the scans forbid publishing the adapted model, which
is deleted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bagscan.core.errors import DataError
from bagscan.datasets.record import Record
from bagscan.datasets.splits import make_split
from bagscan.training import adapt as adapting
from bagscan.training.samples import subsample_evenly
from experiments.engine import Run, keep
from experiments.real_scans import measure_model, real_scans

HALVES = {"adapted": 0.5, "compared": 0.5}
FIGURES = ("auroc", "auroc_low", "auroc_high", "hit_at_1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="detector for pseudo-colour with item classes")
    parser.add_argument("--limit", type=int, default=300, help="scans of each half of a scanner")
    parser.add_argument("--keep", action="store_true", help="store in the table adapted")
    arguments = parser.parse_args()
    scanners: dict[str, list[Record]] = defaultdict(list)
    for records in real_scans(0).values():
        for record in records:
            scanners[record.scanner].append(record)
    for name, records in scanners.items():
        split = make_split(records, HALVES)
        halves = [subsample_evenly(split.select(records, part), arguments.limit) for part in HALVES]
        result = compare(arguments.model, *halves)
        print(name, result, flush=True)
        if arguments.keep:
            data = {"name": name, "hash": split.data_hash, "counts": {"views": len(halves[1])}}
            keep(Run("adapted", {"scanner": name}), result, data=data)


def compare(folder: Path, adapted: Sequence[Record], compared: Sequence[Record]) -> dict[str, Any]:
    """Adapt to some scans and return the figures of others, before and after.

    Args:
        folder: model folder.
        adapted: scans to adapt to.
        compared: other scans.
    """
    result: dict[str, Any] = {"refused": False}
    with tempfile.TemporaryDirectory() as folder_of_result:
        out = Path(folder_of_result) / "model"
        try:
            result |= asdict(adapting.adapt(folder, [r.path for r in adapted], out))
            after = measure_model(compared, out)
        except DataError as error:
            print(error)
            result, after = {"refused": True, "scans": len(adapted)}, {}
    before = measure_model(compared, folder)
    result |= {f"{name}_before": before[name] for name in FIGURES}
    return result | {name: after[name] for name in FIGURES if after}


if __name__ == "__main__":
    main()
