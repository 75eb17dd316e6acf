"""Superpixels at equal speed: ours with and without its network against scikit-image's SLIC and OpenCV's LSC and SEEDS, on BSDS500.

    pip install opencv-contrib-python-headless
    bagscan train --preset ssn_bsds500 --out runs/ssn_small --set regioner='{width: 16, stride: 2}'
    python -m experiments.superpixel_speed --network runs/ssn_small/regioner.safetensors [--images 100]

The network is of the size that the models which come along have.

One thread; methods take turns on every image. Ours are asked for exactly as many as SLIC gave for it; LSC and SEEDS come in steps, and are
asked for what comes out near.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from safetensors.torch import load_file

from bagscan.core import View
from bagscan.datasets import bsds500
from bagscan.datasets.record import data_folder
from bagscan.evaluation.superpixels import superpixel_scores
from bagscan.regions import slic, superpixels
from experiments.engine import Run, keep

WANTED = (100, 235, 440)
# What each is asked for, so that about as many come out; found on training images. SEEDS knows 260 and 530 or 600 there, nothing between.
ASKED = {
    "scikit-image SLIC": {100: 140, 235: 310, 440: 560},
    "OpenCV LSC": {100: 110, 235: 260, 440: 470},
    "OpenCV SEEDS": {100: 170, 235: 370, 440: 740},
}
Segment = Callable[[View, int], np.ndarray]


def ours(view: View, n: int) -> np.ndarray:
    return superpixels.cut(view, superpixels.Config(width=0), None, n).labels


def with_network(path: Path, stride: int) -> Segment:
    """A trained superpixel network at one pixel in ``stride`` a side, run as models in use run theirs: by ONNX Runtime on one thread."""
    import torch

    from bagscan.export.graphs import superpixel_graph
    from bagscan.regions import ssn
    from bagscan.runtime.engines import OnnxRuntime

    config = superpixels.Config(width=16, stride=stride)
    built = ssn.build(config)
    built.load_state_dict(load_file(path))
    torch.set_num_threads(1)
    engine = OnnxRuntime({"learned": superpixel_graph(built.eval(), 3).SerializeToString()})
    return lambda view, n: (
        superpixels.cut(
            view, config, lambda colour, _: engine.run("learned", {"colour": colour})["features"], n
        ).labels
    )


def skimage_slic(view: View, n: int) -> np.ndarray:
    return slic.build(slic.Config()).regions(view, n).labels


def lsc(view: View, n: int) -> np.ndarray:
    lab = _lab(view)
    side = max(4, round((view.shape[0] * view.shape[1] / n) ** 0.5))
    found = cv2.ximgproc.createSuperpixelLSC(lab, side, 0.075)
    found.iterate(10)
    found.enforceLabelConnectivity(25)
    return found.getLabels()


def seeds(view: View, n: int) -> np.ndarray:
    lab = _lab(view)
    found = cv2.ximgproc.createSuperpixelSEEDS(lab.shape[1], lab.shape[0], 3, n, 4, 2, 5)
    found.iterate(lab, 10)
    return found.getLabels()


def _lab(view: View) -> np.ndarray:
    return cv2.cvtColor((view.pixels.transpose(1, 2, 0) * 255).astype(np.uint8), cv2.COLOR_RGB2LAB)


SLIC = "scikit-image SLIC"
METHODS: dict[str, Segment] = {
    SLIC: skimage_slic,
    "ours, without network": ours,
    "OpenCV LSC": lsc,
    "OpenCV SEEDS": seeds,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument(
        "--network", type=Path, help="regioner.safetensors of width 16 and stride 2"
    )
    arguments = parser.parse_args()
    methods = dict(METHODS)
    if arguments.network:
        methods |= {
            "ours, with network": with_network(arguments.network, 2),
            "ours, with network at full size": with_network(arguments.network, 1),
        }
    cv2.setNumThreads(1)
    images = bsds500.load(data_folder() / "bsds500", "val")[: arguments.images]
    data = {"name": "BSDS500 val", "hash": "public", "counts": {"images": len(images)}}
    notes = [
        "One thread, milliseconds an image (median), methods in turns; ours without network is soft SLIC and its joins, with network what models in use do, "
        "at half the pixels a side, or at all of them (with the same weights, which were trained at half)."
    ]
    for wanted in WANTED:
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
        for image in images:
            view = View(
                np.ascontiguousarray(image.rgb.transpose(2, 0, 1), dtype=np.float32) / 255,
                ("red", "green", "blue"),
                "pseudo_colour",
            )
            for name, segment in methods.items():
                started = time.perf_counter()
                labels = segment(
                    view, ASKED[name][wanted] if name in ASKED else int(rows[SLIC][-1]["count"])
                )
                seconds = time.perf_counter() - started
                compact = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
                rows[name].append(
                    {
                        "ms": 1000 * seconds,
                        "count": float(compact.max() + 1),
                        **superpixel_scores(compact, image.segmentations),
                    }
                )
        for name, found in rows.items():
            result = {
                key: float(
                    np.median([row[key] for row in found])
                    if key == "ms"
                    else np.mean([row[key] for row in found])
                )
                for key in found[0]
            }
            keep(
                Run("superpixel_speed", {"method": name, "wanted": wanted}),
                {key: round(value, 4) for key, value in result.items()},
                data=data,
                notes=notes,
            )


if __name__ == "__main__":
    main()
