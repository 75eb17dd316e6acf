"""Compare the quality of SSN, SSN without its network, and SLIC on BSDS500.

    python -m experiments.superpixels runs/ssn_bsds500 runs/ssn_bsds500_imagenet [--images 100]

Records hold the actual number of superpixels beside the requested one.
"""

import argparse
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from bagscan.config import fill, read_yaml
from bagscan.datasets import bsds500
from bagscan.datasets.record import data_folder
from bagscan.regions import slic, ssn, superpixels
from bagscan.training.ssn import evaluate_superpixels
from experiments.engine import Run, keep

# SSN returns the requested number. The requests to SLIC return about the same numbers, as found on
# the training images.
ASKED = {"ssn": (100, 235, 440, 945), "slic": (140, 310, 560, 1100)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", help="directories of bagscan train --preset ssn_*"
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--split", default="val")
    arguments = parser.parse_args()
    methods: dict[str, Any] = {}
    digests = {}
    for run in arguments.runs:
        settings = read_yaml(run / "config.yaml")[0]["regioner"] | {"pretrained": False}
        config = fill(superpixels.Config, settings)
        trained = ssn.build(config).eval()
        weights = run / "regioner.safetensors"
        trained.load_state_dict(load_file(weights))
        name = f"ssn over {config.backbone}" if config.backbone else "ssn"
        methods[name] = trained.regions
        digests[name] = {
            "regioner": dataclasses.asdict(config),
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }
    methods["ssn without network"] = ssn.build(superpixels.Config(width=0)).eval().regions
    methods["slic"] = slic.build(slic.Config()).regions
    images = bsds500.load(data_folder() / "bsds500", arguments.split)[: arguments.images]
    note = (
        "Boundary scores have a radius of 1 px. "
        "Every score is the mean over annotators, then over images."
    )
    data = {
        "name": f"BSDS500 {arguments.split}",
        "hash": "public",
        "counts": {"images": len(images)},
    } | digests
    for name, segment in methods.items():
        for asked in ASKED["slic" if name == "slic" else "ssn"]:
            keep(
                Run("superpixels", {"method": name, "asked": asked}),
                evaluate_superpixels(segment, images, asked),
                data=data,
                notes=[note],
            )


if __name__ == "__main__":
    main()
