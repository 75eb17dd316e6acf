"""Superpixel sampling network: differentiable SLIC on learned features.

Source: Jampani et al., "Superpixel Sampling Networks" (ECCV 2018), equations 3-7, with the network
of Bhowmik & Breckon, Fig. 2. The 9 candidates of a pixel are fixed by its initial cell. The image
is therefore processed as a batch of cells, with two small matrix products and a 3x3 fold per
iteration.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bagscan.association import (
    Grid,
    candidate_index,
    gather_neighbours,
    pool,
    to_cells,
)
from bagscan.backbones import create_backbone
from bagscan.contracts import SoftRegioner
from bagscan.core import Regions, View
from bagscan.regions.superpixels import POSITION_SCALE, Config, cut, grid_for, prepare

CARD = {
    "paper": "Jampani et al., Superpixel Sampling Networks, ECCV 2018",
    "channels": "any",
    "weights": "trained by the user; none shipped",
    "limits": "superpixels extend at most one cell from their initial cell",
}


def _conv(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(inplace=True),
    )


def _output(c_in: int, n_features: int) -> nn.Conv2d:
    # Small initial weights, so that training starts from plain SLIC and not from noise.
    conv = nn.Conv2d(c_in, n_features, 3, padding=1)
    nn.init.normal_(conv.weight, std=1e-3)
    nn.init.constant_(conv.bias, 0.1)  # type: ignore[arg-type]
    return conv


class FeatureNet(nn.Module):
    """Seven convolutions at three scales (SSN, Fig. 3; Bhowmik & Breckon, Fig. 2)."""

    def __init__(self, c_in: int, width: int, n_features: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(_conv(c_in, width), _conv(width, width))
        self.middle = nn.Sequential(_conv(width, width), _conv(width, width))
        self.coarse = nn.Sequential(_conv(width, width), _conv(width, width))
        self.out = _output(c_in + 3 * width, n_features)
        self.to(memory_format=torch.channels_last)  # faster training on CPU

    def forward(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Compute learned features.

        Args:
            x: (B, c_in, H, W) colour features.
            pixels: ignored.

        Returns:
            (B, n_features, H, W), non-negative.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        size = x.shape[-2:]
        c2 = self.fine(x)
        c4 = self.middle(F.max_pool2d(c2, 3, 2, 1))
        c6 = self.coarse(F.max_pool2d(c4, 3, 2, 1))
        up = [F.interpolate(c, size=size, mode="bilinear", align_corners=False) for c in (c4, c6)]
        return F.relu(self.out(torch.cat([x, c2, *up], 1)))


class BackboneFeatureNet(nn.Module):
    """Features from the maps of a backbone up to stride 16, in place of :class:`FeatureNet`.

    The maps are combined from coarse to fine. A pretrained backbone already responds to object
    borders, which :class:`FeatureNet` must learn from scratch.
    """

    def __init__(
        self, c_in: int, width: int, n_features: int, backbone: str, pretrained: bool
    ) -> None:
        super().__init__()
        self.backbone, widths, strides = create_backbone(backbone, c_in, pretrained)
        self.used = [i for i, s in enumerate(strides) if s <= 16]
        self.lateral = nn.ModuleList(nn.Conv2d(widths[i], width, 1) for i in self.used)
        self.mix = nn.ModuleList(_conv(width, width) for _ in self.used)
        self.fine = _conv(c_in, 16)
        self.out = _output(c_in + 16 + width, n_features)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Compute learned features.

        Args:
            x: (B, c_in, H, W) colour features.
            pixels: (B, c_in, H, W) in [0, 1].

        Returns:
            (B, n_features, H, W), non-negative.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        maps = self.backbone((2 * pixels - 1).contiguous(memory_format=torch.channels_last))
        top = self.mix[-1](self.lateral[-1](maps[self.used[-1]]))
        for k in range(len(self.used) - 2, -1, -1):
            side = self.lateral[k](maps[self.used[k]])
            top = self.mix[k](
                side
                + F.interpolate(top, size=side.shape[-2:], mode="bilinear", align_corners=False)
            )
        up = F.interpolate(top, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return F.relu(self.out(torch.cat([x, self.fine(x), up], 1)))


def soft_slic(features: Tensor, grid: Grid, iterations: int) -> Tensor:
    """Run differentiable SLIC (SSN equations 4-6).

    Args:
        features: (B, D, H, W), including the position; squared distances measure dissimilarity.
        grid: grid of initial cells, with height H and width W.
        iterations: number of updates of the centres.

    Returns:
        q (B, rows, cols, 9, p), the soft association of :mod:`bagscan.association`.
    """
    cells = to_cells(F.pad(features, grid.padding), grid)
    inside = to_cells(F.pad(torch.ones_like(features[:1, :1]), grid.padding), grid)
    outside_grid = (candidate_index(grid, features) < 0)[None, ..., None]
    centres = (cells * inside).sum(-1) / inside.sum(-1).clamp(min=1)
    q: Tensor = cells
    for _ in range(iterations):
        near = gather_neighbours(centres)
        # |F - S|^2 without |F|^2, which is equal for all 9 candidates and cancels in the softmax.
        affinity = 2 * near @ cells - near.square().sum(-1, keepdim=True)
        q = affinity.masked_fill(outside_grid, -torch.inf).softmax(-2) * inside
        centres = pool(q, cells)
    return q


class SSN(SoftRegioner):
    """Regioner by differentiable SLIC on learned features. See :class:`Config`."""

    kind = "superpixel"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.net: nn.Module | None = None
        if config.backbone:
            self.net = BackboneFeatureNet(
                config.channels, config.width, config.n_features, config.backbone, config.pretrained
            )
        elif config.width:
            self.net = FeatureNet(config.channels, config.width, config.n_features)

    def prepare(self, pixels: Tensor, quantity: str, channels: tuple[str, ...]) -> Tensor:
        """Compute colour features; see :func:`bagscan.regions.superpixels.prepare`."""
        prepared: Tensor = prepare(pixels, quantity, channels, self.config)
        return prepared

    def grid(self, prepared: Tensor, n_superpixels: int | None = None) -> Grid:
        """Return the grid for an image of :meth:`prepare`."""
        return grid_for(prepared.shape[-2], prepared.shape[-1], self.config, n_superpixels)

    def features(self, prepared: Tensor, grid: Grid) -> Tensor:
        """Return position, colour and learned features of an image of :meth:`prepare`.

        Returns:
            (B, 2 + C + n_features, h, w).
        """
        channels = self.config.channels
        image, pixels = prepared[:, :channels], prepared[:, channels:]
        scale = POSITION_SCALE / min(grid.cell_h, grid.cell_w)
        ys = torch.arange(grid.height, dtype=image.dtype, device=image.device) * scale
        xs = torch.arange(grid.width, dtype=image.dtype, device=image.device) * scale
        position = torch.stack(torch.meshgrid(ys, xs, indexing="ij")).expand(len(image), -1, -1, -1)
        x = torch.cat([position, image], 1)
        if self.net is None:
            return x
        # Unlike in SSN, positions are not an input of the network: their range grows with the size
        # of the image, so a network trained on crops would meet unseen values in inference.
        return torch.cat([x, self.net(image, pixels)], 1)

    def forward(
        self, prepared: Tensor, n_superpixels: int | None = None
    ) -> tuple[Tensor, Grid, Tensor]:
        """Compute the soft association of a batch from :meth:`prepare`.

        Returns:
            The association q (B, rows, cols, 9, p), its grid, and the features (B, D, h, w).
        """
        grid = self.grid(prepared, n_superpixels)
        features = self.features(prepared, grid)
        iterations = self.config.train_iterations if self.training else self.config.iterations
        return soft_slic(features, grid, iterations), grid, features

    @property
    def graphs(self) -> tuple[str, ...]:
        """Names of the exported graphs: the network, if there is one."""
        return ("learned",) if self.config.width else ()

    @torch.no_grad()
    def regions(self, view: View, n_superpixels: int | None = None) -> Regions:
        """Split a view into connected superpixels."""
        network = self._run_network if self.net is not None else None
        return cut(view, self.config, network, n_superpixels)

    def _run_network(self, colour: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        assert self.net is not None
        device = next(self.net.parameters()).device
        inputs = (torch.from_numpy(array).to(device) for array in (colour, pixels))
        return np.asarray(self.net(*inputs).float().cpu().numpy())


def build(config: Config) -> SSN:
    return SSN(config)


def tiny() -> Config:
    return Config(n_superpixels=16, width=8, n_features=4)
