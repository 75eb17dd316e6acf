"""Copy a trained model into the package, its weights in 16 bits: ``python benchmarks/ship.py RUN/model colour``."""

import sys
from pathlib import Path

from bagscan.model import SHIPPED, Model


def main(source: str, name: str) -> None:
    model = Model.load(source)
    model.half_weights = True
    model.about["trained on"] = "simulated scans alone (bagscan simulate --preset deei)"
    model.save(SHIPPED / name)
    size = (SHIPPED / name / "weights.safetensors").stat().st_size
    print(f"{SHIPPED / name}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(sys.argv[1], str(Path(sys.argv[2])))
