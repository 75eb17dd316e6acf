"""How long a command takes that screens one scan, and one that only tells of itself: whole processes, disk warm.

    make demo && python -m experiments.start_up demo-out/simulated/raw/00002_below.tif demo-out/simulated/colour/00002_below.png

The first round is told apart: it compiles the kernel where that was never done.
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
    """One process, from start to end."""
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
        help="each is screened by a process of its own; best ones in which an item is found",
    )
    parser.add_argument("--bagscan", default=".venv-light/bin/bagscan")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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
        for result, line in commands.items():
            taken = [seconds([arguments.bagscan, *line]) for _ in range(arguments.rounds)]
            found = {
                "first, s": round(taken[0], 2),
                "median, s": round(statistics.median(taken[1:]), 2),
                "least, s": round(min(taken[1:]), 2),
            }
            keep(
                Run("start_up", {"command": result}),
                found,
                data={
                    "name": "simulated demo",
                    "hash": "-",
                    "counts": {"rounds": arguments.rounds},
                },
                notes=["Light install."],
            )


if __name__ == "__main__":
    main()
