"""Measure the speed of kernels, as ratios within one run, since the machines are shared.

python -m experiments.kernels [--quick]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage.segmentation import slic as skimage_slic
from torch.nn import functional as F

from bagscan.association import Grid
from bagscan.core import View
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig
from bagscan.regions import grid
from bagscan.regions.kernel import iterate_numba
from bagscan.regions.ssn import soft_slic
from experiments.engine import Run, keep


def interleaved(repeats: int, **contenders: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of each contender.

    Contenders take turns, so that a slow period of the machine affects all of them.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for action in contenders.values():
        action()
    for _ in range(repeats):
        for name, action in contenders.items():
            started = time.perf_counter()
            action()
            taken[name].append(time.perf_counter() - started)
    return {name: float(np.median(times)) for name, times in taken.items()}


def textured(channels: int, height: int, width: int) -> np.ndarray:
    """Return a (C, H, W) float32 texture in [0, 1]: soft blobs with noise, like packed clutter."""
    generator = torch.Generator().manual_seed(0)
    blobs = F.interpolate(
        torch.rand(1, channels, height // 16, width // 16, generator=generator),
        size=(height, width),
        mode="bicubic",
    )
    grain = 0.02 * torch.randn(1, channels, height, width, generator=generator)
    return (blobs + grain).clamp(0, 1)[0].numpy()


def sparse_soft_slic(features: torch.Tensor, grid: Grid, iterations: int) -> torch.Tensor:
    """Run soft SLIC on explicit lists of pixel-candidate pairs, with gathers and scatters."""
    _, dim, height, width = features.shape
    left, _, top, _ = grid.padding
    row = ((torch.arange(height) + top) // grid.cell_h)[:, None].expand(height, width)
    col = ((torch.arange(width) + left) // grid.cell_w)[None].expand(height, width)
    pixel, candidate = [], []
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            inside = (
                (row + dr >= 0) & (row + dr < grid.rows) & (col + dc >= 0) & (col + dc < grid.cols)
            )
            candidate.append(((row + dr) * grid.cols + col + dc)[inside])
            pixel.append(inside.reshape(-1).nonzero()[:, 0])
    pixels, candidates = torch.cat(pixel), torch.cat(candidate)
    flat = features[0].reshape(dim, -1).T.contiguous()
    own = (row * grid.cols + col).reshape(-1)
    counts = torch.zeros(grid.n).index_add_(0, own, torch.ones(len(own)))
    centres = torch.zeros(grid.n, dim).index_add_(0, own, flat) / counts[:, None]
    weight = torch.zeros(0)
    for _ in range(iterations):
        distance = (flat[pixels] - centres[candidates]).square().sum(1)
        raw = (-distance).exp()
        weight = raw / torch.zeros(height * width).index_add_(0, pixels, raw)[pixels].clamp(
            min=1e-30
        )
        mass = torch.zeros(grid.n).index_add_(0, candidates, weight)
        centres = torch.zeros(grid.n, dim).index_add_(
            0, candidates, weight[:, None] * flat[pixels]
        ) / mass[:, None].clamp(min=1e-8)
    return weight


def iterations_speed(repeats: int) -> dict[str, float]:
    """Compare the kernels with scikit-image's SLIC on one thread.

    480 x 320 pixels, K = 320, 10 iterations; 20 feature channels against 3 for SLIC.
    """
    torch.set_num_threads(1)
    cells = Grid.for_count(320, 480, 320)
    image = textured(3, 320, 480)
    ys, xs = np.mgrid[:320, :480].astype(np.float32) * 2.5 / cells.cell_h
    features = np.concatenate([ys[None], xs[None], image * 26, textured(15, 320, 480) * 2])
    tensor = torch.from_numpy(features)[None]
    rgb = image.transpose(1, 2, 0)
    with torch.no_grad():
        seconds = interleaved(
            repeats,
            fused=lambda: iterate_numba(features, cells, 10),
            batched=lambda: soft_slic(tensor, cells, 10),
            sparse=lambda: sparse_soft_slic(tensor, cells, 10),
            skimage=lambda: skimage_slic(
                rgb,
                cells.n,
                max_num_iter=10,
                channel_axis=-1,
                enforce_connectivity=False,
                start_label=0,
            ),
        )
    return {
        **{f"{name}_s": value for name, value in seconds.items()},
        "fused_over_skimage": seconds["fused"] / seconds["skimage"],
        "sparse_over_fused": seconds["sparse"] / seconds["fused"],
        "sparse_over_batched": seconds["sparse"] / seconds["batched"],
    }


def pooled_against_crop(repeats: int) -> dict[str, float]:
    """Compare pooled features with crops per region, with ResNet-50 on two threads.

    About 100 regions of a 640 x 480 view at the default working size.
    """
    torch.set_num_threads(2)
    side = InputConfig().working_side_px
    height, width = round(side * (480 / 640) ** 0.5), round(side * (640 / 480) ** 0.5)
    view = View(textured(3, height, width), ("red", "green", "blue"), "pseudo_colour")
    regions = grid.build(grid.Config(n_superpixels=115)).regions(view)
    image = torch.from_numpy(np.array(view.pixels))[None]
    models = {
        name: Model(ModelConfig(encoder={"name": name, "backbone": "resnet50"})).eval()
        for name in ("pooled", "crop")
    }
    seconds = interleaved(
        repeats, **{name: lambda m=m: m.score_image(image, regions) for name, m in models.items()}
    )
    return {
        "segments": regions.n,
        **{f"{k}_s": v for k, v in seconds.items()},
        "crop_over_pooled": seconds["crop"] / seconds["pooled"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="repeat less often")
    quick = parser.parse_args().quick
    data = {"name": "made-up textures", "hash": "seed 0", "counts": {}}
    keep(Run("kernels", {"measured": "iterations"}), iterations_speed(3 if quick else 9), data=data)
    keep(
        Run("kernels", {"measured": "pooled_against_crop"}),
        pooled_against_crop(1 if quick else 3),
        data=data,
    )


if __name__ == "__main__":
    main()
