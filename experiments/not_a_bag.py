"""Measure the plausibility check on directories of scans and of other pictures.

    python -m experiments.not_a_bag --set photographs=FOLDER --set figures=docs/figures

Every directory has one record: its number of files, the share that the check would send to REVIEW,
and the reason codes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from bagscan.core.errors import ReadError
from bagscan.formats import find_scans, read_scan
from bagscan.plausibility import unfit
from experiments.engine import Run, keep


def reviewed(folder: Path, most: int = 0) -> dict[str, Any]:
    """Check the files of a directory.

    Args:
        folder: the directory.
        most: number of files to check, evenly spaced; 0 for all.

    Returns:
        ``files``, ``review_percent``, ``codes`` (number of files by code) and ``examples`` (up to
        40 names).
    """
    files = find_scans([folder])
    files = files[:: max(1, len(files) // most)] if most else files
    codes, flagged, examples = Counter[str](), 0, list[str]()
    for path in files:
        try:
            reasons = {str(reason.code) for reason in unfit(read_scan(path).views[0])}
        except ReadError:
            reasons = {"unreadable"}
        codes.update(reasons)
        flagged += bool(reasons)
        if reasons and len(examples) < 40:
            examples.append(path.name)
    return {
        "files": len(files),
        "review_percent": 100 * flagged / max(1, len(files)),
        "codes": dict(codes),
        "examples": examples,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", action="append", default=[], help="NAME=FOLDER", dest="sets")
    parser.add_argument(
        "--most", type=int, default=0, help="files per directory, evenly spaced; 0 for all"
    )
    arguments = parser.parse_args()
    for text in arguments.sets:
        name, _, folder = text.partition("=")
        found = reviewed(Path(folder), arguments.most)
        keep(
            Run("not_a_bag", {"set": name}),
            {key: value for key, value in found.items() if key != "examples"},
        )
        print(
            f"{name}: {found['files']} files, {found['review_percent']:.2f} % REVIEW, "
            f"{found['codes']} {found['examples']}"
        )


if __name__ == "__main__":
    main()
