"""Print the paths of a few test scans of a split, one a line: what ``make demo`` screens."""

import sys
from pathlib import Path

from bagscan.datasets import sixray
from bagscan.datasets.splits import read_split
from bagscan.training.experiment import data_folder


def main(split: str, count: int) -> None:
    records = sixray.load(data_folder() / "sixray").records
    for record in read_split(split).select(records, "test")[:count]:
        print(Path(record.path).resolve())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
