"""Map the colours of each real scanner to those of training, and measure what it is worth.

    python -m experiments.adapted MODEL [--limit 300] [--keep]

The scans of a scanner are split in halves that keep near-duplicates together: colours come from one
(``bagscan adapt --map-colours``), and the other is compared, with the within-bag protocol of
:mod:`experiments.real_scans`. No label is used. The licences of the scans forbid publishing the
adapted model, which is deleted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bagscan.datasets.record import Record
from bagscan.datasets.splits import make_split
from bagscan.detector.model import Detector
from bagscan.training.adapt import as_it_is, map_colours
from bagscan.training.samples import subsample_evenly
from experiments.engine import Run, keep
from experiments.real_scans import measure_model, read_real, real_scans

HALVES = {"adapted": 0.5, "compared": 0.5}
CHECKED = 10  # scans that the agreement is measured on
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
    """Map the colours of some scans and return the figures of others, before and after.

    Args:
        folder: model folder.
        adapted: scans that the colours come from; the agreement is measured on some of them.
        compared: other scans.
    """
    views = [view for record in adapted if (view := read_real(record))]
    used, checked = views[CHECKED:], views[:CHECKED]
    detector = Detector.load(folder)
    result = map_colours(detector, as_it_is(detector, used, checked), used, checked)
    with tempfile.TemporaryDirectory() as out:
        detector.save(Path(out))
        figures = {
            "": measure_model(compared, Path(out)),
            "_before": measure_model(compared, folder),
        }
    return {
        "scans": result.scans,
        "agreement_before": result.agreement_before,
        "agreement": result.agreement,
    } | {f"{name}{when}": measured[name] for when, measured in figures.items() for name in FIGURES}


if __name__ == "__main__":
    main()
