"""Measure the time of ``bagscan --help`` and of screening a single scan, as whole processes.

    make demo
    FOLDER=demo-out/simulated
    python -m experiments.start_up $FOLDER/raw/00002_below.tif $FOLDER/colour/00002_below.png

The first round is reported separately, since it may compile the kernels. The disk cache is warm.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from experiments.engine import Run, keep


def seconds(command: list[str]) -> float:
    """Return the wall-clock time of a process in seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scans",
        type=Path,
        nargs="+",
        help="scans, each screened by a separate process; preferably with a device in them",
    )
    parser.add_argument("--bagscan", default=".venv-light/bin/bagscan")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = {
            "--help": ["--help"],
            **{
                f"screen one scan, {path.parent.name}": [
                    "screen",
                    str(path),
                    "--out",
                    str(folder / "out"),
                ]
                for path in arguments.scans
            },
        }
        counts = {"rounds": arguments.rounds}
        data = {"name": "simulated demo", "hash": "-", "counts": counts}
        for name, command in commands.items():
            times = [seconds([arguments.bagscan, *command]) for _ in range(arguments.rounds)]
            results = {
                "first, s": round(times[0], 2),
                "median, s": round(statistics.median(times[1:]), 2),
                "least, s": round(min(times[1:]), 2),
            }
            run = Run("start_up", {"command": name})
            keep(run, results, data=data, notes=["Light install."])


if __name__ == "__main__":
    main()
