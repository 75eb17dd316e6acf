"""Superpixel quality on BSDS500 val: SSN against the same algorithm without its network, and SLIC.

    python benchmarks/superpixels.py runs/ssn_bsds500 runs/ssn_bsds500_imagenet [--images 100]

Writes benchmarks/results/superpixels.json. Always against the real count of superpixels.
"""

import argparse
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from bagscan.config import fill, read_yaml
from bagscan.datasets import bsds500
from bagscan.evaluation.results import make_record, write_record
from bagscan.regions import slic, ssn
from bagscan.training.experiment import data_folder
from bagscan.training.ssn import evaluate_superpixels

# SSN leaves as many as it is asked for; SLIC is asked for what comes out near the same counts,
# found on the training images.
ASKED = {"ssn": (100, 235, 440, 945), "slic": (140, 310, 560, 1100)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of bagscan train configs/ssn_*.yaml")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/superpixels.json"))
    arguments = parser.parse_args()
    methods: dict[str, Any] = {}
    digests = {}
    for run in arguments.runs:
        config = fill(ssn.Config, read_yaml(run / "config.yaml")[0]["regioner"] | {"pretrained": False})
        trained = ssn.build(config).eval()
        weights = run / "regioner.safetensors"
        trained.load_state_dict(load_file(weights))
        name = f"ssn over {config.backbone}" if config.backbone else "ssn"
        methods[name] = trained.regions
        digests[name] = {"regioner": dataclasses.asdict(config), "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    methods["ssn without network"] = ssn.build(ssn.Config(width=0)).eval().regions
    methods["slic"] = slic.build(slic.Config()).regions
    images = bsds500.load(data_folder() / "bsds500", arguments.split)[: arguments.images]
    results: dict[str, list[dict[str, float]]] = {}
    for name, segment in methods.items():
        for asked in ASKED["slic" if name == "slic" else "ssn"]:
            row = {"asked": asked, **evaluate_superpixels(segment, images, asked)}
            results.setdefault(name, []).append(row)
            print(f"{name:22s}", "  ".join(f"{k} {v:.4f}" if k not in ("asked", "count") else f"{k} {v:.0f}" for k, v in row.items()), flush=True)
    record = make_record(
        "superpixels",
        results,
        data={"name": f"BSDS500 {arguments.split}", "hash": "public", "counts": {"images": len(images)}},
        config=digests,
        seeds=[0],
        notes=["Boundary scores at a radius of 1 px; every score is the mean over annotators, then over images."],
    )
    write_record(arguments.out, record)


if __name__ == "__main__":
    main()
