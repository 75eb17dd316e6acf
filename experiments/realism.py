"""Measure how well a classifier distinguishes crops of simulated and of real scans.

    python -m experiments.realism SET [SET ...] [--scans 200] [--keep NAME] [--pictures FOLDER]

The classifier is a logistic regression on pooled features of a frozen ImageNet network
(EfficientNet-Lite0), cross-validated by scan. AUROC 0.5 means that simulated crops look real, 1
that they never do. Simulated scans are drawn on random displays, as in training; all crops are
stored as JPEG of the same quality. Real scans of one source share a display, which random displays
never match as a whole; so the same is done with crops in grey, and with the two sources of real
scans against each other as a control. A change of the simulator counts only if a detector that was
trained with it also ranks real objects better (:mod:`experiments.real_scans`). The real scans are
in ``BAGSCAN_DATA``; the network is in the extra ``imagenet``.
"""

from __future__ import annotations

import argparse
import functools
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bagscan.backbones import create_backbone
from bagscan.datasets.packed import read_packed
from bagscan.datasets.record import Record
from bagscan.detector.features import COLOUR_SCALE, recolour
from bagscan.detector.sampling import whole_view
from bagscan.evaluation.metrics import auroc
from bagscan.imaging.contact_sheet import draw_contact_sheet
from bagscan.imaging.display import draw_display
from bagscan.training.samples import subsample_evenly
from experiments.engine import Run, keep
from experiments.real_scans import read_real, real_scans

CROP_PX, CROPS_PER_SCAN, MIN_INK, JPEG_QUALITY, FOLDS = 192, 3, 0.5, 80, 5
WHITE = 235  # a pixel with all colours above shows air
MEAN, STD = 0.5, 0.5  # of the colours that EfficientNet-Lite was trained on
SHOWN = 20  # crops in a picture


@dataclass(frozen=True)
class Crops:
    """Crops of scans.

    Attributes:
        pixels: (n, 192, 192, 3) uint8 colours.
        scans: (n,) number of the scan of each crop.
    """

    pixels: np.ndarray
    scans: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, help="packed simulated sets")
    parser.add_argument("--scans", type=int, default=200, help="scans of each kind")
    parser.add_argument("--keep", default="", help="name of the sets in the table realism")
    parser.add_argument("--pictures", type=Path, help="draw the most and the least real crops")
    arguments = parser.parse_args()
    sources = {
        "simulated": draw_crops(simulated_views(arguments.sets, arguments.scans)),
        **{
            name: draw_crops(real_views(records))
            for name, records in real_scans(arguments.scans).items()
        },
    }
    features = {
        name: {look: features_of(show(crops.pixels)) for look, show in LOOKS.items()}
        for name, crops in sources.items()
    }
    for first, second in itertools.combinations(sources, 2):
        sizes = [len(sources[name].scans) for name in (first, second)]
        truth = np.arange(sum(sizes)) < sizes[0]
        result = {}
        for look in LOOKS:
            scores = classify(
                sources[first], features[first][look], sources[second], features[second][look]
            )
            result[look] = float(auroc(truth, scores))
            result[f"{look}_distance"] = measure_distance(scores[truth], scores[~truth])
            if arguments.pictures and first == "simulated":
                draw_extremes(
                    sources[first].pixels, scores[truth], arguments.pictures / f"{second}_{look}"
                )
        print(f"{first} against {second}: " + " ".join(f"{k} {v:.3f}" for k, v in result.items()))
        if arguments.keep:
            settings = {"sets": arguments.keep, "first": first, "second": second}
            counts = {first: int(truth.sum()), second: int((~truth).sum())}
            data = {"name": arguments.keep, "hash": "-", "counts": counts}
            keep(Run("realism", settings), result, data=data)


def measure_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the difference of two samples' means in standard deviations; it does not saturate."""
    deviation = np.sqrt((first.var() + second.var()) / 2)
    return float(abs(first.mean() - second.mean()) / deviation)


def remove_colours(crops: np.ndarray) -> np.ndarray:
    """Return (n, h, w, 3) crops without their colours."""
    return np.repeat(crops.mean(3, keepdims=True).astype(np.uint8), 3, 3)


# Looks of the crops that the classifier is trained on.
LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "colour": np.asarray,
    "grey": remove_colours,
}


def simulated_views(sets: Sequence[Path], scans: int) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) colours of a view of each benign scan, on a random display."""
    rng = np.random.default_rng(0)
    scenes = [scene for folder in sets for scene in read_packed(folder, ("train", "val"))]
    for scene in subsample_evenly(scenes, scans):
        raw, _ = whole_view(scene.views[int(rng.integers(len(scene.views)))], False)
        absorbed = recolour(raw, draw_display(rng)) / COLOUR_SCALE
        yield np.rint(255 * (1 - absorbed)).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def real_views(records: Sequence[Record]) -> Iterator[np.ndarray]:
    """Yield (H, W, 3) colours of real scans; those that cannot be read are left out."""
    for record in records:
        if (view := read_real(record)) is not None:
            yield np.rint(255 * view.pixels).astype(np.uint8).transpose(1, 2, 0)


def draw_crops(views: Iterator[np.ndarray]) -> Crops:
    """Draw crops of which at least half is not air; scans without such a place have none."""
    rng, crops, numbers = np.random.default_rng(1), [], []
    for number, view in enumerate(views):
        height, width = view.shape[:2]
        if min(height, width) < CROP_PX:
            continue
        found = 0
        for _ in range(10 * CROPS_PER_SCAN):
            top, left = (int(rng.integers(side - CROP_PX + 1)) for side in (height, width))
            crop = view[top : top + CROP_PX, left : left + CROP_PX]
            if (crop < WHITE).any(2).mean() >= MIN_INK:
                crops.append(_compress(crop))
                numbers.append(number)
                found += 1
            if found == CROPS_PER_SCAN:
                break
    return Crops(np.array(crops), np.array(numbers))


def _compress(crop: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file))


@functools.cache
def _imagenet_network() -> torch.nn.Module:
    return create_backbone("tf_efficientnet_lite0", 3, True)[0].eval()


@torch.inference_mode()
def features_of(crops: np.ndarray, batch: int = 32) -> np.ndarray:
    """Return (n, c) deviations and means of all stages of an ImageNet network."""
    backbone, rows = _imagenet_network(), []
    for first in range(0, len(crops), batch):
        pixels = (crops[first : first + batch].astype(np.float32) / 255 - MEAN) / STD
        stages = backbone(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
        pooled = [torch.cat(torch.std_mean(stage, (2, 3)), 1) for stage in stages]
        rows.append(torch.cat(pooled, 1).numpy())
    return np.concatenate(rows)


def classify(
    first: Crops, first_features: np.ndarray, second: Crops, second_features: np.ndarray
) -> np.ndarray:
    """Return the cross-validated log-odds that each crop is of the first source, first crops first.

    Args:
        first: crops of a source.
        first_features: (n, c) their features.
        second: crops of another source.
        second_features: (m, c) their features.
    """
    features = np.concatenate([first_features, second_features])
    truth = np.arange(len(features)) < len(first_features)
    groups = np.concatenate([first.scans, second.scans + first.scans.max() + 1])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    scores: np.ndarray = cross_val_predict(
        classifier, features, truth, groups=groups, cv=GroupKFold(FOLDS), method="decision_function"
    )
    return scores


def draw_extremes(crops: np.ndarray, scores: np.ndarray, folder: Path) -> None:
    """Draw the simulated crops that look most real, and those that look least real."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort(scores)
    for name, chosen in (("most_real", order[:SHOWN]), ("least_real", order[::-1][:SHOWN])):
        pictures = [(Image.fromarray(crops[k]), f"{scores[k]:.1f}") for k in chosen]
        draw_contact_sheet(pictures, 5, (200, 200)).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
