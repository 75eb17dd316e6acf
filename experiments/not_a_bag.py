"""How often a picture is taken for a scan that is none, and a scan for none: the one plausibility check on whole sets.

    python -m experiments.not_a_bag --set photographs=../shared/data/bsds500/images/train --set figures=docs/figures --set sixray=...

Every folder leaves one record: how many files, how many of them would be REVIEW, and by which codes.
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
    """Share of a folder's files that would be REVIEW, and why.

    Args:
        most: files to look at, spread evenly; 0 for all.
    """
    files = find_scans([folder])
    files = files[:: max(1, len(files) // most)] if most else files
    codes, flagged, examples = Counter[str](), 0, []
    for path in files:
        try:
            found = {str(reason.code) for reason in unfit(read_scan(path).views[0])}
        except ReadError:
            found = {"unreadable"}
        codes.update(found)
        flagged += bool(found)
        examples += [path.name] if found and len(examples) < 40 else []
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
        "--most", type=int, default=0, help="files of each folder, spread evenly; 0 for all"
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
            f"{name}: {found['files']} files, {found['review_percent']:.2f} % REVIEW, {found['codes']} {found['examples']}"
        )


if __name__ == "__main__":
    main()
